"""What is stored comes back, replaced or not, alone or among others, until it is dropped."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from mcp_orchestra.stores import CacheStore, StoredEntry
from mcp_orchestra.testing.cache_stores.place import entry, tomorrow
from mcp_orchestra.testing.cache_stores.rules import StoreTests

__all__ = ["EntryTests"]

_VALUES = {
    "empty": b"",
    "one_nul": b"\0",
    "every_byte": bytes(range(256)),
    "blanks_around": b" \t\r\n\0 value \0\n\r\t ",
    "a_number": b"1234567890",
    "a_float": b"1e400",
    "a_word_that_means_nothing": b"None",
    "json": b'{"v": 1, "key": "a", "expires_at": 0}',
    "not_utf_8": b"\xff\xfe\x80\xc0\xc1",
    "a_byte_order_mark": b"\xef\xbb\xbfvalue",
    "a_pickle": b"cbuiltins\nlen\n(S'x'\ntR.",
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "255_bytes": b"x" * 255,
    "64_kib": b"\r\n" * 32768,
    "1_mib": bytes(range(256)) * 4096,
    "more_than_1_mib": bytes(reversed(range(256))) * 4096 + b"\0",
    "nearly_2_mib": bytes(range(256)) * 8100 + b"\0end",
}

_LARGE_VALUES = {
    "2_mib": bytes(range(256)) * 8192,
    "more_than_16_mib": bytes(range(256)) * 65536 + b"\0end",
}

_NOT_DROPPED = 25


class EntryTests(StoreTests):
    """Values, and calls with several keys."""

    @pytest.mark.parametrize("value", _VALUES.values(), ids=_VALUES)
    def test_a_value_comes_back_byte_for_byte(self, store: CacheStore, value: bytes) -> None:
        store.set_many({"a": entry(value)})
        returned = store.get_many(["a"])["a"].value
        assert type(returned) is bytes
        assert (len(returned), hash(returned)) == (len(value), hash(value))
        assert returned == value

    @pytest.mark.parametrize("value", _LARGE_VALUES.values(), ids=_LARGE_VALUES)
    def test_a_large_value_comes_back_whole_or_not_at_all(self, store: CacheStore, value: bytes) -> None:
        store.set_many({"a": entry(b"old")})
        store.set_many({"a": entry(value)})
        returned = store.get_many(["a"])
        if "a" in returned:
            found = returned["a"].value
            assert (type(found), len(found), hash(found)) == (bytes, len(value), hash(value))

    def test_an_entry_comes_back_as_a_stored_entry(self, store: CacheStore) -> None:
        store.set_many({"a": entry()})
        returned = store.get_many(["a"])
        assert isinstance(returned, Mapping)
        assert dict(returned) == {"a": entry()}
        assert type(returned["a"]) is StoredEntry

    def test_several_entries_come_back_in_one_call(self, store: CacheStore) -> None:
        entries = {f"key {n}": entry(b"%d" % n, n) for n in range(20)}
        store.set_many(entries)
        assert dict(store.get_many(list(entries))) == entries

    @pytest.mark.parametrize("number", [32, 500, 2000])
    def test_a_call_may_have_many_keys(self, store: CacheStore, number: int) -> None:
        keys = [f"key {n}" for n in range(number)]
        some = {key: entry(key.encode(), 1) for key in keys[:: -(-number // 20)]}
        store.set_many(some)
        assert dict(store.get_many(keys)) == some
        assert store.delete_many(keys) == len(some)
        assert dict(store.get_many(keys)) == {}
        every = {key: entry(key.encode(), 2) for key in keys}
        assert type(store.set_many(every)) is int
        returned = dict(store.get_many(keys))
        assert len(returned) >= _NOT_DROPPED
        assert returned == {key: every[key] for key in returned}
        assert store.count(0.0) == store.delete_many(keys) == len(returned)
        assert dict(store.get_many(keys)) == {}

    def test_keys_without_an_entry_are_absent(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"1"), "b": entry(b"2")})
        assert dict(store.get_many(["x", "b", "y"])) == {"b": entry(b"2")}
        assert dict(store.get_many(["x"])) == {}

    def test_asking_for_nothing_returns_nothing(self, store: CacheStore) -> None:
        store.set_many({"a": entry()})
        assert dict(store.get_many([])) == {}

    def test_a_key_that_is_asked_for_twice_is_returned_once(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"1"), "b": entry(b"2")})
        assert dict(store.get_many(["a", "b", "a", "x", "x"])) == {"a": entry(b"1"), "b": entry(b"2")}

    def test_any_sequence_of_keys_will_do(self, store: CacheStore) -> None:
        store.set_many({"a": entry()})
        assert dict(store.get_many(("a",))) == {"a": entry()}
        assert dict(store.get_many(("a", "b"))) == {"a": entry()}

    def test_any_mapping_of_entries_will_do(self, store: CacheStore) -> None:
        store.set_many(MappingProxyType({"a": entry(b"1"), "b": entry(b"2")}))
        assert dict(store.get_many(["a", "b"])) == {"a": entry(b"1"), "b": entry(b"2")}

    def test_storing_nothing_changes_nothing(self, store: CacheStore) -> None:
        store.set_many({"a": entry()})
        assert store.set_many({}) == 0
        assert dict(store.get_many(["a"])) == {"a": entry()}

    def test_a_new_entry_replaces_the_old_one_whole(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"a long old value", 10), "b": entry(b"other")})
        store.set_many({"a": entry(b"new", 5)})
        assert dict(store.get_many(["a", "b"])) == {"a": entry(b"new", 5), "b": entry(b"other")}
        assert store.count(0.0) == 2
        store.set_many({"a": entry(b"", 20)})
        assert dict(store.get_many(["a"])) == {"a": entry(b"", 20)}

    def test_storing_counts_evictions_and_not_what_was_replaced(self, store: CacheStore) -> None:
        for _ in range(2):
            evicted = store.set_many({"a": entry(b"1"), "b": entry(b"2")})
            assert type(evicted) is int
            assert evicted == 0

    def test_what_is_changed_after_it_was_stored_or_returned_changes_nothing(self, store: CacheStore) -> None:
        entries = {"a": entry(b"1")}
        store.set_many(entries)
        entries["a"] = entries["b"] = entry(b"changed")
        returned = store.get_many(["a", "b"])
        if isinstance(returned, dict):
            returned["a"] = returned["b"] = entry(b"changed")
            returned["c"] = entry()
        assert dict(store.get_many(["a", "b", "c"])) == {"a": entry(b"1")}

    def test_deleting_drops_these_entries_and_no_others(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"1"), "b": entry(b"2"), "c": entry(b"3")})
        deleted = store.delete_many(["a", "c"])
        assert type(deleted) is int
        assert deleted == 2
        assert dict(store.get_many(["a", "b", "c"])) == {"b": entry(b"2")}
        assert store.count(0.0) == 1

    def test_deleting_counts_entries_and_not_keys(self, store: CacheStore) -> None:
        store.set_many({"a": entry(), "b": entry()})
        assert store.delete_many(["a", "x", "a", "y"]) == 1
        assert store.delete_many(["a"]) == 0
        assert store.delete_many([]) == 0
        assert store.delete_many(["b"]) == 1

    def test_any_iterable_of_keys_can_be_deleted(self, store: CacheStore) -> None:
        keys = ["a", "b", "c", "d"]
        store.set_many({key: entry() for key in keys})
        assert store.delete_many(key for key in ["a", "b"]) == 2
        assert store.delete_many({"c"}) == 1
        assert store.delete_many({"d": None}.keys()) == 1
        assert dict(store.get_many(keys)) == {}

    def test_a_deleted_entry_can_be_stored_again(self, store: CacheStore) -> None:
        store.set_many({"a": entry(b"old")})
        store.delete_many(["a"])
        store.set_many({"a": entry(b"new")})
        assert dict(store.get_many(["a"])) == {"a": entry(b"new")}

    def test_clearing_drops_everything_and_the_store_goes_on(self, store: CacheStore) -> None:
        keys = ["", "a", "\n", "key 3", "*"]
        store.set_many({key: entry() for key in keys})
        store.clear()
        assert dict(store.get_many(keys)) == {}
        assert store.count(0.0) == 0
        store.set_many({"a": entry(b"new")})
        assert dict(store.get_many(keys)) == {"a": entry(b"new")}
        for _ in range(2):
            store.clear()
            assert dict(store.get_many(keys)) == {}

    def test_what_was_dropped_does_not_count_as_expired(self, store: CacheStore) -> None:
        store.set_many({"a": entry(), "b": entry()})
        store.delete_many(["a"])
        assert store.purge(tomorrow(1)) == 1
