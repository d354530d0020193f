"""Of all who want to fetch one thing, one at a time is let, and none whose result is no longer wanted."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

import time
from functools import partial
from operator import methodcaller
from typing import Protocol, cast

import pytest

from mcp_orchestra.stores import CacheStore, GrantsLeases
from mcp_orchestra.testing.cache_stores.place import Place, entry, tomorrow, until
from mcp_orchestra.testing.cache_stores.rules import StoreTests, needs
from mcp_orchestra.testing.cache_stores.threads import in_threads
from mcp_orchestra.testing.hammering import acquire_all

__all__ = ["LeaseTests"]

_LONG = 3600.0
_SHORT = 0.3
_RENEWABLE = 1.5  # longer than a busy machine takes to come round to renewing it


class Leasing(CacheStore, GrantsLeases, Protocol):
    """A store that grants leases, for those who check types."""


class LeaseTests(StoreTests):
    """`GrantsLeases`."""

    @pytest.fixture
    def leasing(self, store: CacheStore) -> Leasing:
        """Return the store, known to grant leases."""
        return cast("Leasing", store)

    @needs(GrantsLeases)
    def test_a_lease_is_one_holders_alone(self, leasing: Leasing) -> None:
        assert leasing.acquire("a", "one", _LONG) is True
        assert leasing.acquire("a", "other", _LONG) is False
        assert leasing.acquire("a", "one", _LONG) is True
        assert leasing.acquire("a", "other", _LONG) is False

    @needs(GrantsLeases)
    def test_each_key_has_a_lease_of_its_own(self, leasing: Leasing) -> None:
        keys = ["", "a", "A", "a:b", "a*", "\0", "\ud800", "k" * 10_000]
        assert [leasing.acquire(key, f"holder {n}", _LONG) for n, key in enumerate(keys)] == [True] * len(keys)
        assert [leasing.acquire(key, "other", _LONG) for key in keys] == [False] * len(keys)

    @needs(GrantsLeases)
    def test_a_lease_is_no_entry(self, leasing: Leasing) -> None:
        leasing.acquire("a", "one", _LONG)
        assert dict(leasing.get_many(["a"])) == {}
        assert (leasing.count(0.0), leasing.purge(tomorrow())) == (0, 0)
        assert leasing.delete_many(["a"]) == 0

    @needs(GrantsLeases)
    def test_a_lease_and_an_entry_do_not_mind_each_other(self, leasing: Leasing) -> None:
        leasing.set_many({"a": entry()})
        assert leasing.acquire("a", "one", _LONG) is True
        assert dict(leasing.get_many(["a"])) == {"a": entry()}
        leasing.release("a", "one")
        assert dict(leasing.get_many(["a"])) == {"a": entry()}

    @needs(GrantsLeases)
    def test_only_the_holder_releases_a_lease(self, leasing: Leasing) -> None:
        leasing.acquire("a", "one", _LONG)
        leasing.release("a", "other")
        leasing.release("b", "one")
        assert leasing.acquire("a", "other", _LONG) is False
        leasing.release("a", "one")
        assert leasing.acquire("a", "other", _LONG) is True
        leasing.release("a", "one")
        assert leasing.renew("a", "other", _LONG) is True

    @needs(GrantsLeases)
    def test_only_the_holder_renews_a_lease(self, leasing: Leasing) -> None:
        assert leasing.renew("a", "one", _LONG) is False
        assert leasing.acquire("a", "other", _LONG) is True
        assert leasing.renew("a", "one", _LONG) is False
        assert leasing.renew("a", "other", _LONG) is True
        leasing.release("a", "other")
        assert leasing.renew("a", "other", _LONG) is False

    @needs(GrantsLeases)
    def test_a_lease_ends_by_itself_and_not_before_its_time(self, leasing: Leasing) -> None:
        start = time.monotonic()
        leasing.acquire("a", "one", _SHORT)
        until(lambda: leasing.acquire("a", "other", _LONG), "a lease ends by itself")
        assert time.monotonic() - start > _SHORT * 0.9  # what is left is for clocks that do not agree
        assert leasing.renew("a", "one", _LONG) is False
        assert leasing.set_held("a", entry(), "one") is None
        assert dict(leasing.get_many(["a"])) == {}

    @needs(GrantsLeases)
    def test_a_lease_that_ended_is_not_renewed(self, leasing: Leasing) -> None:
        leasing.acquire("a", "one", _SHORT)
        leasing.acquire("same time", "one", _SHORT)
        until(lambda: leasing.acquire("same time", "other", _LONG), "a lease ends by itself")
        assert leasing.renew("a", "one", _LONG) is False

    @needs(GrantsLeases)
    def test_a_lease_that_was_renewed_lasts_longer(self, leasing: Leasing) -> None:
        for key in ("renewed", "acquired again", "left alone"):
            assert leasing.acquire(key, "one", _RENEWABLE) is True
        assert leasing.renew("renewed", "one", _LONG) is True
        assert leasing.acquire("acquired again", "one", _LONG) is True
        until(lambda: leasing.acquire("left alone", "other", _LONG), "a lease ends by itself")
        for key in ("renewed", "acquired again"):
            assert leasing.acquire(key, "other", _LONG) is False
            assert leasing.set_held(key, entry(), "one") == 0

    @needs(GrantsLeases)
    def test_the_holder_stores_once_and_has_no_lease_then(self, leasing: Leasing) -> None:
        leasing.acquire("a", "one", _LONG)
        evicted = leasing.set_held("a", entry(b"\0\xff", 0.1), "one")
        assert type(evicted) is int
        assert evicted == 0
        assert dict(leasing.get_many(["a"])) == {"a": entry(b"\0\xff", 0.1)}
        assert leasing.renew("a", "one", _LONG) is False
        assert leasing.set_held("a", entry(b"again"), "one") is None
        assert dict(leasing.get_many(["a"])) == {"a": entry(b"\0\xff", 0.1)}
        assert leasing.acquire("a", "other", _LONG) is True
        assert leasing.set_held("a", entry(b"replaced"), "other") == 0
        assert dict(leasing.get_many(["a"])) == {"a": entry(b"replaced")}

    @needs(GrantsLeases)
    def test_nobody_but_the_holder_stores(self, leasing: Leasing) -> None:
        assert leasing.set_held("a", entry(), "one") is None
        leasing.acquire("a", "other", _LONG)
        leasing.acquire("b", "one", _LONG)
        assert leasing.set_held("a", entry(), "one") is None
        assert dict(leasing.get_many(["a", "b"])) == {}
        assert leasing.set_held("a", entry(), "other") == 0

    @needs(GrantsLeases)
    @pytest.mark.parametrize("key", ["", "\ud800\0", "{a}:*", "k" * 10_000], ids=["empty", "odd", "braces", "long"])
    def test_an_entry_of_any_key_can_be_stored_by_its_holder(self, leasing: Leasing, key: str) -> None:
        leasing.acquire(key, "h\n\0é:*", _LONG)
        assert leasing.set_held(key, entry(), "h\n\0é") is None
        assert leasing.set_held(key, entry(), "h\n\0é:*") == 0
        assert dict(leasing.get_many([key])) == {key: entry()}

    @needs(GrantsLeases)
    @pytest.mark.parametrize("there", [True, False], ids=["an_entry_was_there", "no_entry_was_there"])
    @pytest.mark.parametrize("change", ["set_many", "delete_many", "clear"])
    def test_a_change_revokes_the_lease(self, leasing: Leasing, change: str, there: bool) -> None:
        if there:
            leasing.set_many({"a": entry(b"before")})
        leasing.acquire("a", "one", _LONG)
        _change(leasing, change)
        after = dict(leasing.get_many(["a"]))
        assert leasing.renew("a", "one", _LONG) is False
        assert leasing.set_held("a", entry(b"outdated"), "one") is None
        assert dict(leasing.get_many(["a"])) == after
        assert leasing.acquire("a", "other", _LONG) is True

    @needs(GrantsLeases, "shared")
    @pytest.mark.parametrize("change", ["set_many", "delete_many", "clear"])
    def test_a_change_by_another_store_revokes_the_lease(self, place: Place, change: str) -> None:
        one, other = cast("Leasing", place.open()), cast("Leasing", place.open())
        one.acquire("a", "one", _LONG)
        _change(other, change)
        after = dict(one.get_many(["a"]))
        assert one.set_held("a", entry(b"outdated"), "one") is None
        assert dict(one.get_many(["a"])) == after

    @needs(GrantsLeases)
    def test_a_change_of_other_keys_revokes_nothing(self, leasing: Leasing) -> None:
        leasing.set_many({"a": entry(b"expired", -9)})
        leasing.acquire("a", "one", _LONG)
        leasing.acquire("b", "one", _LONG)
        leasing.set_many({"b": entry()})
        leasing.delete_many(["b", "c"])
        leasing.purge(tomorrow(-9))
        leasing.set_many({})
        leasing.delete_many([])
        assert leasing.acquire("a", "other", _LONG) is False
        assert leasing.set_held("a", entry(), "one") == 0

    @needs(GrantsLeases)
    def test_of_threads_that_want_a_lease_one_gets_it(self, leasing: Leasing) -> None:
        keys = [f"key {n}" for n in range(20)]
        won: list[str] = []
        in_threads(lambda number: won.extend(acquire_all(leasing, keys, f"holder {number}", _LONG)))
        assert sorted(won) == sorted(keys)

    @needs(GrantsLeases, "shared")
    def test_of_two_processes_that_want_a_lease_one_gets_it(self, place: Place) -> None:
        keys = [f"key {n}" for n in range(200)]
        with place.process() as process, place.process() as other:
            process.call(methodcaller("count", 0.0))  # both are open and have warmed up when they begin
            other.call(methodcaller("count", 0.0))
            process.begin(partial(acquire_all, keys=keys, holder="one", seconds=_LONG))
            other.begin(partial(acquire_all, keys=keys, holder="other", seconds=_LONG))
            won = [*cast("list[str]", process.result()), *cast("list[str]", other.result())]
        assert sorted(won) == sorted(keys)

    @needs(GrantsLeases, "shared")
    def test_the_lease_of_a_process_that_was_killed_ends(self, place: Place) -> None:
        store = cast("Leasing", place.open())
        with place.process() as process:
            assert process.call(methodcaller("acquire", "a", "one", 1.0)) is True
            process.kill()
        until(lambda: store.acquire("a", "other", _LONG), "the lease of a process that was killed ends")
        assert store.set_held("a", entry(), "other") == 0


def _change(store: CacheStore, change: str) -> None:
    if change == "set_many":
        store.set_many({"a": entry(b"changed"), "b": entry()})
    elif change == "delete_many":
        store.delete_many(["a", "b"])
    else:
        store.clear()
