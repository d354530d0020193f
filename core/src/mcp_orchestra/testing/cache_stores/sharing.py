"""What outlives a store, and what several stores on one place see of each other, in one process and in two."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

import time
from functools import partial
from operator import methodcaller

from mcp_orchestra.stores import StoredEntry
from mcp_orchestra.testing.cache_stores.place import Place, entry, tomorrow, until
from mcp_orchestra.testing.cache_stores.rules import StoreTests, needs
from mcp_orchestra.testing.cache_stores.threads import in_threads
from mcp_orchestra.testing.hammering import hammer, number_of, write_on

__all__ = ["SharingTests"]

_ENTRIES = {
    "": entry(b"", 0.1),
    "a": entry(bytes(range(256)), 1 / 3),
    "\ud800\0\n*{a}:é": entry(b"\xff\x00" * 50_000, 9),
    "k" * 10_000: entry(b"long key"),
}


class SharingTests(StoreTests):
    """Reopening, two stores at once, and other processes."""

    @needs("persistent")
    def test_what_was_stored_is_there_after_a_reopening(self, place: Place) -> None:
        store = place.open()
        store.set_many(_ENTRIES)
        store.set_many({"a": entry(b"replaced", 2)})
        store = place.reopen(store)
        assert dict(store.get_many(list(_ENTRIES))) == {**_ENTRIES, "a": entry(b"replaced", 2)}
        assert store.count(0.0) == len(_ENTRIES)

    @needs("persistent")
    def test_what_was_dropped_stays_away_after_a_reopening(self, place: Place) -> None:
        store = place.open()
        store.set_many({"a": entry(), "b": entry(), "c": entry(plus=-9)})
        assert (store.delete_many(["a"]), store.purge(tomorrow(-9))) == (1, 1)
        store = place.reopen(store)
        assert dict(store.get_many(["a", "b", "c"])) == {"b": entry()}
        store.clear()
        assert place.reopen(store).count(0.0) == 0

    @needs("persistent")
    def test_what_was_dropped_before_a_process_was_killed_does_not_come_back(self, place: Place) -> None:
        store = place.open()
        store.set_many({"deleted": entry(), "replaced": entry(b"old"), "purged": entry(plus=-9), "kept": entry()})
        place.close(store)
        with place.process() as process:
            assert process.call(methodcaller("delete_many", ["deleted"])) <= 1
            process.call(methodcaller("set_many", {"replaced": entry(b"new")}))
            process.call(methodcaller("purge", tomorrow(-9)))
            process.kill()
        store = place.open()
        returned = dict(store.get_many(["deleted", "replaced", "purged", "kept"]))
        there = {"replaced": entry(b"new"), "kept": entry()}  # or not there: it may have dropped them
        assert returned == {key: there.get(key) for key in returned}
        store.set_many({"deleted": entry(b"the place is usable")})
        place.close(store)
        with place.process() as process:
            process.call(methodcaller("clear"))
            process.kill()
        assert dict(place.open().get_many(["deleted", "replaced", "kept"])) == {}

    @needs("persistent")
    def test_a_place_where_a_process_was_killed_while_it_wrote_can_be_opened(self, place: Place) -> None:
        keys = [f"worker {n}" for n in range(4)]
        for seconds in (0.05, 0.1, 0.15):
            with place.process() as process:
                process.call(methodcaller("clear"))  # it is open
                process.begin(partial(write_on, keys=4, expires_at=tomorrow()))
                time.sleep(seconds)  # anything may have been written by then, or nothing
                process.kill()
            store = place.open()
            for key, found in store.get_many(keys).items():
                assert number_of(key, found, tomorrow()) > 0
            store.set_many({keys[0]: entry(b"the place is usable")})
            assert dict(store.get_many(keys[:1])) == {keys[0]: entry(b"the place is usable")}
            place.close(store)

    @needs("shared")
    def test_each_of_two_stores_sees_at_once_what_the_other_changed(self, place: Place) -> None:
        one, other = place.open(), place.open()
        keys = ["a", "b", "c"]
        one.set_many({key: entry(b"1") for key in keys})
        assert dict(other.get_many(keys)) == {key: entry(b"1") for key in keys}
        other.set_many({"a": entry(b"2", 1)})
        assert dict(one.get_many(keys)) == {"a": entry(b"2", 1), "b": entry(b"1"), "c": entry(b"1")}
        assert one.count(tomorrow()) == 1
        assert other.delete_many(["b"]) == 1
        assert dict(one.get_many(["b"])) == {}
        assert one.purge(tomorrow()) == 1
        assert dict(other.get_many(keys)) == {"a": entry(b"2", 1)}
        other.clear()
        assert dict(one.get_many(keys)) == {}
        assert one.count(0.0) == 0

    @needs("shared")
    def test_a_store_goes_on_when_another_one_on_its_place_is_closed(self, place: Place) -> None:
        one, other = place.open(), place.open()
        one.set_many({"a": entry()})
        place.close(other)
        assert dict(one.get_many(["a"])) == {"a": entry()}
        one.set_many({"b": entry()})
        assert dict(place.open().get_many(["b"])) == {"b": entry()}

    @needs("shared")
    def test_threads_may_each_use_a_store_of_their_own(self, place: Place) -> None:
        stores = [place.open() for _ in range(4)]
        in_threads(lambda number: hammer(stores[number], number, of=4, expires_at=tomorrow()), 4)

    @needs("shared")
    def test_two_processes_see_what_each_other_changed(self, place: Place) -> None:
        store = place.open()
        with place.process() as process:
            assert process.call(methodcaller("set_many", _ENTRIES)) == 0
            assert dict(store.get_many(list(_ENTRIES))) == _ENTRIES
            store.set_many({"a": entry(b"replaced", 1)})
            assert store.delete_many([""]) == 1
            there: dict[str, StoredEntry] = process.call(methodcaller("get_many", ["", "a", "x"]))
            assert dict(there) == {"a": entry(b"replaced", 1)}
            assert process.call(methodcaller("count", 0.0)) == len(_ENTRIES) - 1
            process.call(methodcaller("clear"))
            assert dict(store.get_many(list(_ENTRIES))) == {}

    @needs("shared")
    def test_processes_that_write_at_once_get_what_was_stored_under_the_keys_they_ask_for(self, place: Place) -> None:
        store = place.open()
        with place.process() as process:
            process.begin(partial(hammer, worker=1, of=2, expires_at=tomorrow(), rounds=60))
            hammer(store, 0, of=2, expires_at=tomorrow(), rounds=60)
            assert isinstance(process.result(), int)

    @needs("shared")
    def test_a_process_that_is_killed_while_it_writes_leaves_whole_entries(self, place: Place) -> None:
        store = place.open()
        keys = [f"worker {n}" for n in range(4)]
        for _ in range(3):
            store.clear()
            with place.process() as process:
                process.begin(partial(write_on, keys=4, expires_at=tomorrow()))
                until(lambda: len(store.get_many(keys)) == 4, "another process stores entries")
                process.kill()
            for key, found in store.get_many(keys).items():
                assert number_of(key, found, tomorrow()) > 0
            store.set_many({keys[0]: entry(b"the place is usable")})
            assert dict(store.get_many(keys[:1])) == {keys[0]: entry(b"the place is usable")}
