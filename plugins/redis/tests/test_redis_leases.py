"""Leases: one holder at a time, gone by themselves, and worth nothing once somebody has changed the key."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mcp_orchestra import StoredEntry


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


def test_a_lease_is_one_holders_until_it_is_released(store, open_store):
    other = open_store()
    assert store.acquire("key", "me", 10)
    assert not other.acquire("key", "you", 10)
    assert store.acquire("key", "me", 10)
    other.release("key", "you")
    assert not other.acquire("key", "you", 10)
    store.release("key", "me")
    assert other.acquire("key", "you", 10)


def test_of_many_who_ask_at_once_one_is_given_it(open_store):
    store = open_store(max_connections=8)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: store.acquire("key", f"holder {n}", 30), range(40)))
    assert given.count(True) == 1


def test_a_lease_ends_by_itself_and_lasts_while_it_is_renewed(store, raw, namespace):
    assert store.acquire("key", "me", 0.001)
    deadline = time.monotonic() + 10
    while not store.acquire("key", "you", 30):
        assert time.monotonic() < deadline
    assert not store.renew("key", "me", 30)
    assert store.renew("key", "you", 60)
    assert 30_000 < raw.pttl(f"{namespace}:lease:{{key}}") <= 60_000


def test_nobody_can_renew_what_nobody_holds(store):
    assert not store.renew("key", "me", 10)
    assert store.acquire("key", "you", 10)


def test_the_holder_stores_its_result_and_ends_the_lease_in_one_step(store):
    assert store.acquire("key", "me", 10)
    assert store.set_held("key", entry(b"mine"), "me") == 0
    assert store.get_many(["key"])["key"].value == b"mine"
    assert store.acquire("key", "you", 10)


def test_one_who_does_not_hold_it_stores_nothing(store):
    assert store.set_held("key", entry(), "me") is None
    assert store.acquire("key", "you", 10)
    assert store.set_held("key", entry(), "me") is None
    assert store.get_many(["key"]) == {}
    assert store.renew("key", "you", 10)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.set_many({"a": entry(), "resources:key": entry(b"newer")}),
        lambda store: store.delete_many(["resources:key"]),
        lambda store: store.clear(),
    ],
)
def test_who_changes_a_key_revokes_the_lease_on_it(store, open_store, change):
    assert store.acquire("resources:key", "me", 10)
    assert store.acquire("another", "me", 10)
    change(open_store())
    assert store.set_held("resources:key", entry(b"too late"), "me") is None
    assert store.get_many(["resources:key"]).get("resources:key", entry()).value != b"too late"


def test_a_purge_revokes_nothing(store):
    store.set_many({"key": entry(seconds=-1)})
    assert store.acquire("key", "me", 10)
    assert store.purge(time.time()) == 1
    assert store.set_held("key", entry(), "me") == 0


def test_leases_are_no_entries(store):
    assert store.acquire("key", "me", 10)
    assert store.count(0) == 0
    assert store.delete_many(["key"]) == 0


def test_holders_and_keys_may_be_any_text(store):
    for text in ("", "\ud800", "a b\0"):
        assert store.acquire(text, text, 10)
        assert not store.acquire(text, text + "!", 10)
        assert store.set_held(text, entry(), text) == 0


@pytest.mark.parametrize("plant", ["without an end", "for an hour", "of another type"])
def test_what_cannot_be_a_lease_is_in_nobodys_way(store, open_store, raw, namespace, plant):
    name = f"{namespace}:lease:{{key}}"
    if plant == "of another type":
        raw.lpush(name, "a list")
    else:
        raw.set(name, "somebody", ex=3600 if plant == "for an hour" else None)
    assert store.set_held("key", entry(), "me") is None
    if plant == "of another type":
        assert not store.renew("key", "me", 10)
        store.release("key", "me")
    assert store.acquire("key", "me", 10)
    assert not open_store().acquire("key", "you", 10)
    assert store.set_held("key", entry(b"mine"), "me") == 0


def test_a_lease_is_for_a_minute_at_most(store, raw, namespace):
    assert store.acquire("key", "me", 3600)
    assert 30_000 < raw.pttl(f"{namespace}:lease:{{key}}") <= 60_000
    assert store.renew("key", "me", 3600)
    assert 30_000 < raw.pttl(f"{namespace}:lease:{{key}}") <= 60_000
    assert not store.acquire("key", "you", 3600)
