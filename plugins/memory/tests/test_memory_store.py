"""The memory backend: bounded, least recently used first, and a well-behaved cache store."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from mcp_orchestra import CacheStore, PluginManager, StoredEntry
from mcp_orchestra.stores import KeepsObjects, StoredObject
from mcp_orchestra_memory import MemoryOptions, MemoryStore
from pydantic import ValidationError


def entry(size: int = 1, expires_at: float = 10.0) -> StoredEntry:
    return StoredEntry(b"x" * size, expires_at)


def keys_of(store: MemoryStore, *keys: str) -> set[str]:
    """Return which of the keys are there, without making them recently used: the store is thrown away after this."""
    return set(store.get_many(keys))


def test_it_is_what_the_cache_expects_of_a_store():
    assert isinstance(MemoryStore(), CacheStore)
    assert isinstance(MemoryStore(), KeepsObjects)


def test_an_object_comes_back_itself_and_never_in_place_of_bytes():
    store = MemoryStore()
    thing = object()
    store.set_objects({"a": StoredObject(thing, 10.0, 1)})
    store.set_many({"b": entry()})

    assert store.get_objects(["a", "b", "c"])["a"].value is thing
    assert set(store.get_objects(["a", "b", "c"])) == {"a"}
    assert keys_of(store, "a", "b", "c") == {"b"}
    assert (store.count(9.5), store.purge(10.0), store.count(0.0)) == (2, 2, 0)


def test_objects_count_as_the_size_that_was_given_and_make_room_like_bytes():
    store = MemoryStore(max_bytes=30)
    store.set_objects({key: StoredObject(key, 10.0, 9) for key in "abc"})
    store.get_objects(["a"])

    assert store.set_objects({"d": StoredObject("d", 10.0, 15)}) == 2
    assert set(store.get_objects([*"abcd"])) == {"a", "d"}
    assert store.set_objects({"d": StoredObject("d", 10.0, 30)}) == 0
    assert set(store.get_objects([*"abcd"])) == {"a"}


def test_what_is_stored_comes_back_and_what_is_not_is_absent():
    store = MemoryStore()

    assert store.set_many({"a": entry(), "b": entry(2)}) == 0
    assert store.get_many(["a", "b", "c"]) == {"a": entry(), "b": entry(2)}


def test_expired_entries_are_returned_because_the_cache_decides_what_is_fresh():
    store = MemoryStore()
    store.set_many({"a": entry(expires_at=-1e9)})

    assert keys_of(store, "a") == {"a"}


def test_beyond_max_entries_the_least_recently_used_go_first():
    store = MemoryStore(max_entries=3)
    store.set_many({"a": entry(), "b": entry(), "c": entry()})
    store.get_many(["a"])
    store.set_many({"b": entry()})

    assert store.set_many({"d": entry(), "e": entry()}) == 2
    assert keys_of(store, *"abcde") == {"b", "d", "e"}


def test_beyond_max_bytes_the_least_recently_used_go_first():
    store = MemoryStore(max_bytes=30)
    store.set_many({"a": entry(9), "b": entry(9), "c": entry(9)})
    store.get_many(["a"])

    assert store.set_many({"d": entry(15)}) == 2
    assert keys_of(store, *"abcd") == {"a", "d"}


def test_keys_count_as_the_bytes_they_are_in_utf_8():
    store = MemoryStore(max_bytes=10)

    store.set_many({"é" * 4: entry(2)})
    assert store.set_many({"a": entry(0)}) == 1


def test_a_key_that_is_not_even_valid_unicode_is_a_key():
    store = MemoryStore()
    store.set_many({"\ud800": entry()})

    assert store.delete_many(["\ud800"]) == 1


def test_an_entry_of_exactly_max_bytes_is_kept():
    store = MemoryStore(max_bytes=10)
    store.set_many({"a": entry(9)})

    assert keys_of(store, "a") == {"a"}


def test_an_entry_larger_than_max_bytes_is_not_kept_and_nothing_goes_for_it():
    store = MemoryStore(max_bytes=10)
    store.set_many({"a": entry(1)})

    assert store.set_many({"b": entry(10)}) == 0
    assert keys_of(store, "a", "b") == {"a"}


def test_an_entry_that_is_too_large_takes_the_old_one_under_its_key_with_it():
    store = MemoryStore(max_bytes=10)
    store.set_many({"a": entry(1)})

    assert store.set_many({"a": entry(10)}) == 0
    assert keys_of(store, "a") == set()


def test_replacing_an_entry_is_no_eviction():
    store = MemoryStore(max_entries=1)
    store.set_many({"a": entry(1)})

    assert store.set_many({"a": entry(2)}) == 0
    assert store.get_many(["a"]) == {"a": entry(2)}


def test_an_entry_expires_at_its_time_and_not_only_after_it():
    store = MemoryStore()
    store.set_many({"a": entry(expires_at=10.0), "b": entry(expires_at=10.5)})

    assert (store.count(9.5), store.count(10.0), store.count(10.5)) == (2, 1, 0)
    assert (store.purge(9.5), store.purge(10.0)) == (0, 1)
    assert keys_of(store, "a", "b") == {"b"}


def test_a_closed_store_holds_nothing():
    store = MemoryStore()
    store.set_many({"a": entry()})
    store.close()

    assert store.count(0.0) == 0


@pytest.mark.parametrize("bounds", [{"max_entries": 0}, {"max_bytes": 0}, {"max_entries": -1}])
def test_a_store_without_room_for_anything_is_refused(bounds):
    with pytest.raises(ValueError, match="at least 1"):
        MemoryStore(**bounds)
    with pytest.raises(ValidationError):
        MemoryOptions(**bounds)


@pytest.mark.parametrize("options", [{"max_entries": "5"}, {"max_entries": 1.5}, {"max_byts": 5}, {"max_bytes": True}])
def test_options_of_a_wrong_type_or_name_are_refused(options):
    with pytest.raises(ValidationError):
        MemoryOptions.model_validate(options)


def test_the_backend_is_found_by_its_name_and_opens_with_its_options():
    plugins = PluginManager()
    plugins.discover()
    backend = plugins.cache_backend("memory")
    store = backend.open(backend.options.model_validate({"max_entries": 1}))
    store.set_many({"a": entry(), "b": entry()})

    assert (backend.blocking, backend.persistent) == (False, False)
    assert keys_of(store, "a", "b") == {"b"}
    assert keys_of(backend.open(None), "a", "b") == set()


def test_it_is_registered_like_any_other_plug_in():
    (found,) = entry_points(group="mcp_orchestra", name="memory")

    assert found.value == "mcp_orchestra_memory"


class StoreAgainstDict(RuleBasedStateMachine):
    """The dict holds entries in the order of last use."""

    keys = st.sampled_from(["", "a", "b", "c", "d", "long key"])
    entries = st.builds(entry, size=st.integers(0, 40), expires_at=st.integers(0, 20).map(float))

    @initialize(max_entries=st.integers(1, 6), max_bytes=st.integers(1, 100))
    def start(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.store = MemoryStore(max_entries=max_entries, max_bytes=max_bytes)
        self.model: OrderedDict[str, StoredEntry] = OrderedDict()

    def size(self) -> int:
        return sum(len(key) + len(kept.value) for key, kept in self.model.items())

    @rule(entries=st.dictionaries(keys, entries, max_size=4))
    def set_many(self, entries: dict[str, StoredEntry]) -> None:
        evicted = 0
        for key, new in entries.items():
            self.model.pop(key, None)
            if len(key) + len(new.value) > self.max_bytes:
                continue
            self.model[key] = new
            while len(self.model) > self.max_entries or self.size() > self.max_bytes:
                self.model.popitem(last=False)
                evicted += 1
        assert self.store.set_many(entries) == evicted

    @rule(keys=st.lists(keys, max_size=4))
    def get_many(self, keys: list[str]) -> None:
        found = {key: self.model[key] for key in keys if key in self.model}
        assert self.store.get_many(keys) == found
        for key in keys:
            if key in found:
                self.model.move_to_end(key)

    @rule(keys=st.lists(keys, max_size=4))
    def delete_many(self, keys: list[str]) -> None:
        gone = {key for key in keys if self.model.pop(key, None) is not None}
        assert self.store.delete_many(iter(keys)) == len(gone)

    @rule(now=st.integers(0, 20))
    def purge(self, now: int) -> None:
        gone = [key for key, kept in self.model.items() if kept.expires_at <= now]
        for key in gone:
            del self.model[key]
        assert self.store.purge(now) == len(gone)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.model.clear()

    @invariant()
    def it_counts_what_is_not_expired(self) -> None:
        for now in (-1, 10, 20):
            assert self.store.count(now) == sum(kept.expires_at > now for kept in self.model.values())


StoreAgainstDict.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_the_store_behaves_like_a_dict_in_the_order_of_last_use = StoreAgainstDict.TestCase


def test_threads_do_not_disturb_each_other_and_the_bounds_hold():
    store = MemoryStore(max_entries=5, max_bytes=200)
    keys = [f"key {n}" for n in range(10)]

    def work(number: int) -> int:
        stored_less_dropped = 0
        for n in range(500):
            key = keys[(n * 7 + number) % len(keys)]
            stored_less_dropped -= store.delete_many([key])
            store.get_many(keys)
            assert store.count(0.0) <= 5
            store.purge(0.0)
            store.set_many({key: entry(n % 60)})
        return stored_less_dropped

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    kept = store.get_many(keys)
    assert len(kept) <= 5
    assert sum(len(key) + len(value.value) for key, value in kept.items()) <= 200
    assert store.delete_many(keys) == len(kept)
    assert store.set_many({"all the room": entry(200 - len("all the room"))}) == 0
    assert keys_of(store, "all the room") == {"all the room"}
