"""A store is what its author says it is."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from mcp_orchestra.stores import CacheStore
from mcp_orchestra.testing.cache_stores.contract import ABILITIES
from mcp_orchestra.testing.cache_stores.place import Place, entry
from mcp_orchestra.testing.cache_stores.rules import StoreTests, needs

__all__ = ["TruthTests"]


class TruthTests(StoreTests):
    """What decides which of the other tests apply."""

    def test_it_has_the_methods_of_a_store(self, store: CacheStore) -> None:
        assert isinstance(store, CacheStore)

    def test_it_has_the_abilities_that_are_declared_and_no_others(self, store: CacheStore) -> None:
        assert {one.__name__ for one in ABILITIES if isinstance(store, one)} == {one.__name__ for one in self.abilities}

    def test_a_new_store_is_empty(self, store: CacheStore) -> None:
        assert store.count(0.0) == 0

    def test_it_has_its_entries_after_a_reopening_if_and_only_if_it_is_declared_persistent(self, place: Place) -> None:
        store = place.open()
        store.set_many({"a": entry()})
        assert bool(place.reopen(store).get_many(["a"])) == self.persistent

    @needs("openable twice")
    def test_two_open_stores_have_one_place_if_and_only_if_they_are_declared_shared(self, place: Place) -> None:
        one, other = place.open(), place.open()
        one.set_many({"a": entry()})
        assert bool(other.get_many(["a"])) == self.shared
