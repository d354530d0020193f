"""When an entry expires is kept to the last digit, and an expired entry is returned as it is or not at all."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

import math
import time

import pytest

from mcp_orchestra.stores import CacheStore, StoredEntry
from mcp_orchestra.testing.cache_stores.place import entry, tomorrow
from mcp_orchestra.testing.cache_stores.rules import StoreTests

__all__ = ["ExpiryTests"]

_PAST = [0.0, -0.5, -1e9, 1.5, 1e9]


class ExpiryTests(StoreTests):
    """Times and their boundaries.

    An entry that is expired by the real time may be gone; one that is not, has to be there for these tests.
    """

    @pytest.mark.parametrize("seconds", [0.0, 0.1, 1 / 3, 1e-6, 86_400.125, 40 * 86_400.0, 4e9, 1e12])
    def test_an_expiry_comes_back_exactly_as_it_was_given(self, store: CacheStore, seconds: float) -> None:
        expires_at = tomorrow() + seconds
        neighbours = {
            "before": math.nextafter(expires_at, 0.0),
            "at": expires_at,
            "after": math.nextafter(expires_at, 9e99),
        }
        store.set_many({key: StoredEntry(b"value", at) for key, at in neighbours.items()})
        returned = store.get_many(list(neighbours))
        assert {key: found.expires_at for key, found in returned.items()} == neighbours
        assert {type(found.expires_at) for found in returned.values()} == {float}

    @pytest.mark.parametrize("expires_at", _PAST)
    def test_an_expired_entry_is_returned_as_it_is_or_absent(self, store: CacheStore, expires_at: float) -> None:
        expired = StoredEntry(b"old", expires_at)
        assert type(store.set_many({"a": expired})) is int
        assert dict(store.get_many(["a"])) in ({"a": expired}, {})
        assert store.count(expires_at) == 0

    @pytest.mark.parametrize("expires_at", _PAST)
    def test_an_entry_that_was_replaced_by_an_expired_one_does_not_come_back(
        self, store: CacheStore, expires_at: float
    ) -> None:
        store.set_many({"a": entry(b"still fresh"), "b": entry()})
        store.set_many({"a": StoredEntry(b"expired", expires_at)})
        assert dict(store.get_many(["a"])) in ({"a": StoredEntry(b"expired", expires_at)}, {})
        store.purge(max(expires_at, 0.0))
        assert dict(store.get_many(["a", "b"])) == {"b": entry()}

    def test_an_entry_that_expires_by_the_real_time_is_no_other_for_it(self, store: CacheStore) -> None:
        soon = StoredEntry(b"value", time.time() + 0.02)
        store.set_many({"a": soon, "b": entry()})
        while time.time() <= soon.expires_at + 0.02:
            assert dict(store.get_many(["a"])) in ({"a": soon}, {})
        assert dict(store.get_many(["a", "b"])) in ({"a": soon, "b": entry()}, {"b": entry()})

    def test_it_counts_what_expires_after_a_time_and_not_at_it(self, store: CacheStore) -> None:
        store.set_many({"a": entry(plus=1), "b": entry(plus=2.5), "c": entry(plus=2.5)})
        times = [-1e9, 0.0, tomorrow(), tomorrow(0.999), tomorrow(1), tomorrow(2.499), tomorrow(2.5), 1e15]
        counts = [store.count(now) for now in times]
        assert counts == [3, 3, 3, 3, 2, 2, 0, 0]
        assert {type(count) for count in counts} == {int}

    def test_counting_drops_nothing(self, store: CacheStore) -> None:
        store.set_many({"a": entry()})
        store.count(tomorrow(1))
        assert dict(store.get_many(["a"])) == {"a": entry()}

    def test_purging_drops_what_expires_at_a_time_or_before_it(self, store: CacheStore) -> None:
        store.set_many({"a": entry(plus=1), "b": entry(plus=2.5), "c": entry(plus=2.5), "d": entry(plus=2.75)})
        assert store.purge(tomorrow(0.999)) == 0
        purged = store.purge(tomorrow(1))
        assert type(purged) is int
        assert purged == 1
        assert dict(store.get_many(["a", "b"])) == {"b": entry(plus=2.5)}
        assert store.purge(tomorrow(2.499)) == 0
        assert store.purge(tomorrow(2.5)) == 2
        assert store.purge(tomorrow(2.5)) == 0
        assert dict(store.get_many(["a", "b", "c", "d"])) == {"d": entry(plus=2.75)}

    def test_neither_a_count_nor_a_purge_confuses_neighbouring_times(self, store: CacheStore) -> None:
        at = tomorrow(0.1)
        store.set_many({"a": StoredEntry(b"value", at)})
        assert (store.count(math.nextafter(at, 0.0)), store.count(at)) == (1, 0)
        assert (store.purge(math.nextafter(at, 0.0)), store.purge(at)) == (0, 1)

    def test_an_entry_expires_when_its_latest_version_does(self, store: CacheStore) -> None:
        store.set_many({"a": entry(plus=1), "b": entry(plus=9)})
        store.set_many({"a": entry(plus=9), "b": entry(plus=1)})
        assert store.purge(tomorrow(1)) == 1
        assert dict(store.get_many(["a", "b"])) == {"a": entry(plus=9)}

    def test_what_was_purged_can_be_stored_again(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"old", 1)})
        store.purge(tomorrow(1))
        store.set_many({"a": entry(b"new", 1)})
        assert dict(store.get_many(["a"])) == {"a": entry(b"new", 1)}
        assert store.count(tomorrow()) == 1
