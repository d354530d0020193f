"""What things are called in Redis, and how a value says whose it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis.envelope import HEADER_BYTES, expiry, milliseconds_to_keep, unwrap, wrap
from mcp_orchestra_redis.keys import Keys
from mcp_orchestra_redis.messages import Sender
from mcp_orchestra_redis.topology import slot_of

KEYS = Keys("ns")
any_key = st.text(st.characters(), max_size=20) | st.text("{}:%*[]? \0\ud800\udc00\U00010000\u00e4a", max_size=6)


@given(any_key, any_key)
def test_different_keys_have_different_names(one, other):
    assert (KEYS.entry(one) == KEYS.entry(other)) == (one == other)
    assert KEYS.entry(one) != KEYS.lease(other)


@given(any_key)
def test_an_entry_and_the_lease_on_it_are_in_one_slot(key):
    assert slot_of(KEYS.entry(key)) == slot_of(KEYS.lease(key))


@given(any_key)
def test_names_are_printable_and_need_no_escape_in_a_pattern(key):
    name = KEYS.entry(key).decode("ascii")
    assert name.isprintable()
    assert " " not in name
    assert name.count("{") == name.count("}") == 1
    assert "{}" not in name


def test_what_is_known_of_one_server_is_in_one_slot():
    assert slot_of(KEYS.entry("resources:files")) == slot_of(KEYS.entry("tools:files")) == slot_of(b"files")
    assert KEYS.entry("resources:files@0a") == b"ns:entry:resources:{files@0a}"
    assert len({slot_of(KEYS.entry(f"resources:{n}")) for n in range(50)}) > 40


@given(st.binary(max_size=50), st.floats(allow_nan=False))
def test_a_value_gives_the_entry_back_to_its_own_name_alone(value, expires_at):
    stored = wrap(b"name", StoredEntry(value, expires_at))
    assert unwrap(b"name", stored) == StoredEntry(value, expires_at)
    assert expiry(stored[:HEADER_BYTES]) == expires_at
    for other in (b"nam", b"namf", b"name2", b"", b"name" + value + b"!"):
        assert unwrap(other, stored) is None


@given(st.binary(max_size=40))
def test_what_is_not_ours_is_no_entry(junk):
    assert unwrap(b"name", junk) is None
    assert unwrap(b"", b"\x80\x04" + junk) is None
    assert expiry(b"\x80\x04" + junk) is None


@pytest.mark.parametrize(
    ("left", "seconds"), [(100, 160), (0, 60), (-5, 60), (-math.inf, 60), (math.inf, 31 * 86400 + 60)]
)
def test_redis_keeps_an_entry_a_little_longer_than_it_is_good_for(left, seconds):
    assert milliseconds_to_keep(1000.0 + left, 1000.0) == seconds * 1000


@given(any_key)
def test_a_message_tells_others_and_not_ourselves_which_key_was_changed(key):
    us, them = Sender(), Sender()
    assert them.read(us.written(key)) == [key]
    assert us.read(us.written(key)) == []
    assert them.read(us.written(None)) == [None]
    assert us.read(us.written(None)) == []


@pytest.mark.parametrize("junk", [b"", b"hello", b"hello\0\xff\xfe"])
def test_a_message_that_nobody_understands_may_mean_any_key(junk):
    assert Sender().read(junk) == [None]
