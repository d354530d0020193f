"""Leases are dated on the wall clock, which may be set."""

import pytest
from mcp_orchestra import StoredEntry

ENTRY = StoredEntry(b"value", 5e9)


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(open_store, clock):
    return open_store(clock=clock)


def test_a_lease_ends_at_its_time_and_not_only_after_it(store, clock):
    assert store.acquire("a", "one", 5.0)
    clock.now += 4.9
    assert not store.acquire("a", "other", 5.0)
    clock.now += 0.1
    assert not store.renew("a", "one", 5.0)
    assert store.set_held("a", ENTRY, "one") is None
    assert store.acquire("a", "other", 5.0)


def test_no_lease_is_for_longer_than_a_minute(store, clock):
    store.acquire("a", "one", 1e6)
    store.acquire("b", "one", 5.0)
    store.renew("b", "one", 1e6)
    clock.now += 60.0

    assert store.acquire("a", "other", 5.0)
    assert store.acquire("b", "other", 5.0)


def test_a_clock_that_is_set_back_does_not_prolong_leases(store, clock):
    store.acquire("a", "one", 5.0)
    clock.now -= 3600.0

    assert not store.renew("a", "one", 5.0)
    assert store.set_held("a", ENTRY, "one") is None
    assert store.acquire("a", "other", 5.0)


def test_a_clock_that_is_set_forward_ends_them(store, clock):
    store.acquire("a", "one", 5.0)
    clock.now += 3600.0

    assert store.acquire("a", "other", 5.0)


@pytest.mark.parametrize(
    "change", ["until = 'never'", "until = NULL", "until = 9e99", "holder = 'one'", "holder = NULL"]
)
def test_a_lease_that_was_changed_is_not_the_holders(store, sql, change):
    store.acquire("a", "one", 5.0)
    sql(f"UPDATE Leases SET {change}")

    assert store.set_held("a", ENTRY, "one") is None
    assert store.get_many(["a"]) == {}


def test_what_is_left_of_ended_leases_goes_with_the_expired_entries(store, clock, sql):
    for key, seconds in {"a": 1.0, "b": 30.0}.items():
        store.acquire(key, "one", seconds)
    clock.now += 1.0

    assert store.purge(0.0) == 0
    assert sql("SELECT key FROM Leases") == [(b"b",)]


def test_holders_may_be_called_anything(store):
    for holder in ("", "\ud800", "a\0b"):
        assert store.acquire(holder, holder, 5.0)
        assert not store.acquire(holder, "another", 5.0)
        assert store.set_held(holder, ENTRY, holder) == 0


def test_after_a_broken_database_nobody_holds_a_lease(store, directory):
    store.acquire("a", "one", 5.0)
    (directory / "cache.db").rename(directory / "cache.db.elsewhere")

    assert store.set_held("a", ENTRY, "one") is None
    assert store.acquire("a", "other", 5.0)
