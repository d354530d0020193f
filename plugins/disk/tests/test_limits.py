"""How much is kept, and what goes first."""

import gc
import os
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry

MIB = 2**20


def entry(size: int = 5, expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(b"x" * size, expires_at)


def test_beyond_max_bytes_what_was_stored_least_recently_goes_first(open_store):
    store = open_store(max_bytes=MIB)
    for key in "abc":
        assert store.set_many({key: entry(200_000)}) == 0
    store.set_many({"a": entry(200_001)})
    store.get_many(["b"])

    assert store.set_many({"d": entry(600_000)}) == 2
    assert set(store.get_many([*"abcd"])) == {"a", "d"}


def test_the_order_does_not_depend_on_the_clock(open_store, sql):
    store = open_store(max_bytes=MIB)
    store.set_many({key: entry(250_000) for key in "abc"})
    sql("UPDATE Cache SET store_time = 9e9, access_time = 9e9 WHERE key = ?", b"a")
    store.set_many({"d": entry(250_000)})

    assert set(store.get_many([*"abcd"])) == {"b", "c", "d"}


def test_an_entry_that_would_not_fit_alone_is_not_kept_and_nothing_goes_for_it(open_store):
    store = open_store(max_bytes=MIB)
    store.set_many({"a": entry()})

    assert store.set_many({"b": entry(MIB)}) == 0
    assert set(store.get_many(["a", "b"])) == {"a"}


def test_an_entry_that_is_too_large_takes_the_old_one_under_its_key_with_it(open_store):
    store = open_store(max_bytes=MIB)
    store.set_many({"a": entry()})

    assert store.set_many({"a": entry(MIB)}) == 0
    assert store.get_many(["a"]) == {}


def test_a_held_entry_that_is_too_large_ends_its_lease(open_store):
    store = open_store(max_bytes=MIB)
    store.acquire("a", "one", 5.0)

    assert store.set_held("a", entry(MIB), "one") == 0
    assert store.get_many(["a"]) == {}
    assert store.acquire("a", "other", 5.0)


@pytest.mark.parametrize(("size", "calls"), [(10, 400), (5_000, 20), (100_000, 2), (700_000, 1)])
def test_the_file_does_not_outgrow_its_limit(open_store, directory, size, calls):
    store = open_store(max_bytes=MIB)
    evicted = sum(store.set_many({f"{call} {n}": entry(size) for n in range(50)}) for call in range(calls))
    kept = store.count(0.0)
    store.close()

    assert kept + evicted == calls * 50
    assert 1 <= kept < calls * 50
    assert (directory / "cache.db").stat().st_size <= MIB


def test_what_is_dropped_is_given_back_to_the_file_system(open_store, directory):
    store = open_store()
    store.set_many({f"{n}": entry(100_000) for n in range(50)})
    store.clear()
    store.close()

    assert (directory / "cache.db").stat().st_size < 300_000


def test_with_less_room_than_before_it_shrinks_with_the_next_entry(open_store):
    open_store().set_many({f"{n}": entry(100_000) for n in range(50)})
    store = open_store(max_bytes=MIB)

    assert store.count(0.0) == 50
    assert store.set_many({"a": entry()}) >= 40
    assert store.count(0.0) <= 10


def test_an_entry_of_many_mib_comes_back(open_store):
    store = open_store()
    value = os.urandom(MIB) * 20 + b"!"
    store.set_many({"a": StoredEntry(value, 5e9)})

    assert store.get_many(["a"])["a"].value == value


def test_expired_entries_are_returned_because_the_cache_decides_what_is_fresh(open_store):
    store = open_store()
    times = {"a": -1e9, "b": 0.0, "c": 1.5, "d": float("inf")}
    store.set_many({key: entry(expires_at=time) for key, time in times.items()})

    assert {key: kept.expires_at for key, kept in store.get_many([*"abcd"]).items()} == times


def test_more_keys_than_one_statement_takes(open_store):
    store = open_store()
    entries = {f"key {n}": entry(expires_at=float(n)) for n in range(3000)}
    store.set_many(entries)

    assert store.get_many([*entries, "another"]) == entries
    assert store.delete_many([*entries, "another"]) == 3000


def test_a_closed_store_is_closed_for_good_and_holds_no_file(open_store):
    before = set(Path("/proc/self/fd").iterdir())
    store = open_store()
    store.set_many({"a": entry()})
    store.close()
    gc.collect()

    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)
    with pytest.raises(ValueError, match="closed"):
        store.get_many(["a"])
    store.close()
