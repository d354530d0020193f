"""The store on a real server: what it keeps, what it leaves alone, threads and forks."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp_orchestra import CacheStore, StoredEntry
from mcp_orchestra.stores import GrantsLeases, KeepsObjects, TellsOfChanges

ODD = ["", ":", "::", "{", "}{", "a:{b}", "%", "\0", " ", "ä:ö", "\ud800", "\ud800\udc00", "\U00010000", "k" * 5000]


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_can_do_what_core_looks_for(store):
    assert isinstance(store, CacheStore)
    assert isinstance(store, GrantsLeases)
    assert isinstance(store, TellsOfChanges)
    assert not isinstance(store, KeepsObjects)


@pytest.mark.parametrize("value", [b"", b"\0\r\n$-1\r\n", bytes(range(256)), b"x" * (1 << 20)])
def test_bytes_come_back_as_they_were_with_their_expiry(store, value):
    stored = StoredEntry(value, time.time() + 100.125)
    assert store.set_many({"key": stored}) == 0
    assert store.get_many(["key", "other"]) == {"key": stored}


def test_odd_keys_are_keys_as_any_other(store):
    entries = {key: entry(str(n).encode()) for n, key in enumerate(ODD)}
    store.set_many(entries)
    assert store.get_many(ODD) == entries
    assert store.delete_many(ODD) == len(ODD)
    assert store.get_many(ODD) == {}


def test_nothing_asked_for_is_nothing_found(store):
    assert store.get_many([]) == {}
    assert store.set_many({}) == 0
    assert store.delete_many([]) == 0


def test_a_key_given_twice_counts_once(store):
    store.set_many({"a": entry()})
    assert list(store.get_many(["a", "a"])) == ["a"]
    assert store.delete_many(iter(["a", "a"])) == 1


def test_more_keys_than_are_sent_at_once(store):
    entries = {f"resources:{n}": entry(str(n).encode()) for n in range(1300)}
    store.set_many(entries)
    assert store.get_many(list(entries)) == entries
    assert store.count(time.time()) == 1300
    assert store.delete_many(entries) == 1300
    assert store.count(0) == 0


def test_an_expired_entry_is_there_for_a_while_and_counts_as_expired(store):
    now = time.time()
    store.set_many({"old": StoredEntry(b"", now - 10), "now": StoredEntry(b"", now), "new": StoredEntry(b"", now + 10)})
    assert set(store.get_many(["old", "now", "new"])) == {"old", "now", "new"}
    assert store.count(now) == 1
    assert store.purge(now) == 2
    assert set(store.get_many(["old", "now", "new"])) == {"new"}
    assert store.purge(now) == 0


def test_redis_forgets_by_itself_what_nobody_purges(store, raw, namespace):
    store.set_many({"key": entry(seconds=100)})
    (name,) = raw.keys(f"{namespace}:*")
    assert 100_000 < raw.pttl(name) <= 160_000


def test_purge_leaves_an_entry_that_was_replaced_meanwhile(store, open_store, monkeypatch):
    other = open_store()
    store.set_many({"key": entry(seconds=-1)})
    headers = store._headers

    def replaced_after_reading():
        found = headers()
        other.set_many({"key": entry(b"new")})
        return found

    monkeypatch.setattr(store, "_headers", replaced_after_reading)
    assert store.purge(time.time()) == 0
    assert store.get_many(["key"])["key"].value == b"new"


def test_nothing_but_its_own_keys_is_touched(store, open_store, raw, namespace):
    neighbours = [open_store(namespace=f"{namespace}:more"), open_store(namespace=f"{namespace}x")]
    for neighbour in neighbours:
        neighbour.set_many({"key": entry(b"theirs")})
    raw.set(f"{namespace}:other", "foreign")
    store.set_many({"key": entry(b"ours"), "old": entry(seconds=-1)})
    assert store.count(0) == 2
    assert store.purge(time.time()) == 1
    store.clear()
    assert store.get_many(["key"]) == {}
    for neighbour in neighbours:
        assert neighbour.get_many(["key"])["key"].value == b"theirs"
    assert raw.get(f"{namespace}:other") == b"foreign"
    raw.delete(f"{namespace}:other")


@pytest.mark.parametrize("junk", [b"", b"junk", b"mco\x01", b"\x80\x04\x95"])
def test_what_somebody_else_put_under_our_name_is_a_miss(store, raw, namespace, junk):
    raw.set(f"{namespace}:entry:{{key}}", junk)
    assert store.get_many(["key"]) == {}
    assert store.count(0) == 0
    store.set_many({"key": entry(b"ours")})
    assert store.get_many(["key"])["key"].value == b"ours"


def test_a_value_of_another_type_is_a_miss_and_can_be_replaced(store, raw, namespace):
    raw.lpush(f"{namespace}:entry:{{key}}", "a list")
    assert store.get_many(["key"]) == {}
    assert store.count(0) == 0
    assert store.purge(1e12) == 0
    store.set_many({"key": entry(b"ours")})
    assert store.get_many(["key"])["key"].value == b"ours"


def test_a_value_that_was_stored_under_another_key_is_a_miss(store, raw, namespace):
    store.set_many({"other": entry(b"secret")})
    raw.copy(f"{namespace}:entry:{{other}}", f"{namespace}:entry:{{key}}")
    assert store.get_many(["key", "other"]).keys() == {"other"}


def test_scripts_that_the_server_has_forgotten_are_told_again(store, raw):
    store.set_many({"a": entry()})
    raw.script_flush()
    store.set_many({"a": entry(b"1"), "b": entry(b"2")})
    raw.script_flush()
    assert store.acquire("a", "me", 10)
    assert store.delete_many(["a", "b"]) == 2


def test_threads_do_not_get_each_others_answers(open_store):
    store = open_store(max_connections=3)

    def work(number: int) -> None:
        for n in range(100):
            key, value = f"{number}:{n % 7}", b"%d %d" % (number, n)
            store.set_many({key: entry(value)})
            assert store.get_many([key, "absent"])[key].value == value

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.count(0) == 8 * 7


FORK = """
import os, sys, time
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis import RedisOptions, RedisStore

store = RedisStore(RedisOptions(url=sys.argv[1], namespace=sys.argv[2], socket_timeout=5.0))
store.set_many({f"key {n}": StoredEntry(b"%d" % n, time.time() + 100) for n in range(50)})
child = os.fork()
for n in range(50):
    key = f"key {n}"
    if store.get_many([key])[key].value != b"%d" % n:
        os._exit(2)
if child:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    store.close()
    os._exit(status)
os._exit(0)
"""


def test_parent_and_child_of_a_fork_do_not_share_connections(shared_server, namespace):
    command = [sys.executable, "-c", FORK, shared_server.url, namespace]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_nothing_is_left_open_after_it_was_closed(open_store, raw):
    before = descriptors()
    store = open_store()
    store.watch(lambda _: None)
    store.set_many({"a": entry()})
    store.close()
    assert descriptors() == before
