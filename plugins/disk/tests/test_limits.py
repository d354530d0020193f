"""How much is kept, and what goes first."""

import errno
import gc
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore
from mcp_orchestra_disk.log import log_size

MIB = 2**20
WITH_LOG = MIB * 8 // 7
"""What leaves a MiB for the entries."""


def disk_usage(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def statements(store: DiskStore, beginning: str) -> list[str]:
    """Return a list that the statements are added to, from now on, that begin like this."""
    found = []

    def note(statement: str) -> None:
        if statement.startswith(beginning):
            found.append(statement[:100])

    store._database.read(lambda connection: connection.set_trace_callback(note))
    return found


@pytest.fixture
def reading(directory):
    """Begin to read in another connection, which does not finish."""
    connections = []

    def begin() -> sqlite3.Connection:
        connections.append(sqlite3.connect(directory / "cache.db", isolation_level=None))
        connections[-1].execute("BEGIN")
        connections[-1].execute("SELECT COUNT(*) FROM Cache").fetchall()
        return connections[-1]

    yield begin
    for connection in connections:
        connection.close()


def entry(size: int = 5, expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(b"x" * size, expires_at)


def test_beyond_max_bytes_what_was_stored_least_recently_goes_first(open_store):
    store = open_store(max_bytes=WITH_LOG)
    for key in "abc":
        assert store.set_many({key: entry(200_000)}) == 0
    store.set_many({"a": entry(200_001)})
    store.get_many(["b"])

    assert store.set_many({"d": entry(600_000)}) == 2
    assert set(store.get_many([*"abcd"])) == {"a", "d"}


def test_the_order_does_not_depend_on_the_clock(open_store, sql):
    store = open_store(max_bytes=WITH_LOG)
    store.set_many({key: entry(250_000) for key in "abc"})
    sql("UPDATE Cache SET store_time = 9e9, access_time = 9e9 WHERE key = ?", b"a")
    store.set_many({"d": entry(250_000)})

    assert set(store.get_many([*"abcd"])) == {"b", "c", "d"}


def test_an_entry_that_would_not_fit_alone_is_not_kept_and_nothing_goes_for_it(open_store):
    store = open_store(max_bytes=WITH_LOG)
    store.set_many({"a": entry()})

    assert store.set_many({"b": entry(MIB)}) == 0
    assert set(store.get_many(["a", "b"])) == {"a"}


def test_an_entry_that_is_too_large_takes_the_old_one_under_its_key_with_it(open_store):
    store = open_store(max_bytes=WITH_LOG)
    store.set_many({"a": entry()})

    assert store.set_many({"a": entry(MIB)}) == 0
    assert store.get_many(["a"]) == {}


def test_a_held_entry_that_is_too_large_ends_its_lease(open_store):
    store = open_store(max_bytes=WITH_LOG)
    store.acquire("a", "one", 5.0)

    assert store.set_held("a", entry(MIB), "one") == 0
    assert store.get_many(["a"]) == {}
    assert store.acquire("a", "other", 5.0)


@pytest.mark.parametrize(("size", "calls"), [(10, 400), (5_000, 20), (100_000, 2), (700_000, 1)])
def test_the_file_does_not_outgrow_its_limit(open_store, directory, size, calls):
    store = open_store(max_bytes=WITH_LOG)
    evicted = sum(store.set_many({f"{call} {n}": entry(size) for n in range(50)}) for call in range(calls))
    kept = store.count(0.0)
    store.close()

    assert kept + evicted == calls * 50
    assert 1 <= kept < calls * 50
    assert (directory / "cache.db").stat().st_size <= MIB


@pytest.mark.parametrize(
    "drop",
    [
        DiskStore.clear,
        lambda store: store.purge(6e9),
        lambda store: store.delete_many([f"{n}" for n in range(50)]),
    ],
    ids=["clear", "purge", "delete_many"],
)
def test_what_is_dropped_is_given_back_to_the_file_system_at_once(open_store, directory, drop):
    store = open_store()
    store.set_many({f"{n}": entry(MIB) for n in range(50)})
    assert disk_usage(directory) > 50 * MIB
    drop(store)

    assert store.count(0.0) == 0
    assert disk_usage(directory) < MIB


def test_much_is_dropped_in_short_transactions_so_that_others_have_their_turn(open_store):
    store = open_store(max_bytes=64 * MIB)
    entries = {f"{n}": entry(MIB) for n in range(20)}
    store.set_many(entries)
    begun = statements(store, "BEGIN")
    store.purge(6e9)
    assert len(begun) > 5
    store.set_many(entries)
    begun.clear()
    assert store.delete_many(entries) == 20

    assert len(begun) >= 5
    assert store.count(0.0) == 0


def test_while_a_process_does_not_finish_reading_the_log_stays_within_the_limit(open_store, directory, reading):
    store = open_store(max_bytes=8 * MIB, timeout=0.02)
    store.set_many({"a": entry(MIB)})
    reader = reading()
    stored = 0
    for n in range(30):
        with suppress(OSError):
            stored += store.set_many({f"{n % 5}": entry(MIB // 2)}) == 0

    assert 0 < stored < 30
    assert disk_usage(directory) < 8 * MIB
    with pytest.raises(OSError, match="another process does not finish reading") as raised:
        store.acquire("b", "one", 5.0)
    assert raised.value.errno == errno.ENOSPC
    assert set(store.get_many(["a"])) == {"a"}
    reader.close()
    assert store.set_many({"b": entry(MIB // 2)}) == 0
    assert log_size(directory / "cache.db") <= MIB


def test_a_full_log_does_not_keep_an_entry_alive(open_store, reading):
    store, other = open_store(max_bytes=8 * MIB, timeout=0.02), open_store(timeout=0.02)
    store.set_many({"a": entry(), "b": entry()})
    reading()
    store.set_many({"c": entry(3 * MIB)})
    with pytest.raises(OSError, match="does not finish reading"):
        store.set_many({"a": entry()})

    assert store.delete_many(["a", "x"]) == 1
    assert other.get_many([*"abc"]) == {}
    assert store.set_many({"a": entry()}) == 0
    assert set(other.get_many(["a"])) == {"a"}


def test_of_a_call_that_stores_more_than_fits_only_what_fits_is_written(open_store):
    store = open_store(max_bytes=8 * MIB)
    written = statements(store, "INSERT INTO Cache")

    assert store.set_many({f"{n}": entry(MIB) for n in range(60)}) == 54
    assert set(store.get_many([f"{n}" for n in range(60)])) == {f"{n}" for n in range(54, 60)}
    assert len(written) <= 7


def test_with_less_room_than_before_it_shrinks_with_the_next_entry(open_store):
    open_store().set_many({f"{n}": entry(100_000) for n in range(50)})
    store = open_store(max_bytes=WITH_LOG)

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
