"""A database that is locked, deleted, or on a disk that is full, in the middle of work."""

import errno
import shutil
import sqlite3
from contextlib import closing
from threading import Event, Thread

import pytest
from mcp_orchestra import StoredEntry


def entry(value: bytes = b"value", expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(value, expires_at)


@pytest.fixture
def locked(directory):
    """Hold a lock from another connection."""
    connections = []

    def lock(*statements: str) -> sqlite3.Connection:
        connection = sqlite3.connect(directory / "cache.db", isolation_level=None)
        connections.append(connection)
        for statement in statements:
            connection.execute(statement).fetchall()
        return connection

    yield lock
    for connection in connections:
        connection.close()


def test_while_another_process_writes_one_can_read_and_writing_times_out(open_store, locked):
    store = open_store(timeout=0.02)
    store.set_many({"a": entry()})
    other = locked("BEGIN IMMEDIATE")

    assert store.get_many(["a"]) == {"a": entry()}
    assert store.count(0.0) == 1
    for write in (
        lambda: store.set_many({"a": entry(b"new")}),
        lambda: store.delete_many(["a"]),
        lambda: store.purge(0.0),
        lambda: store.acquire("a", "one", 5.0),
    ):
        with pytest.raises(TimeoutError, match="locked by another process"):
            write()
    other.execute("ROLLBACK")
    assert store.set_many({"a": entry(b"new")}) == 0
    assert store.get_many(["a"]) == {"a": entry(b"new")}


def test_everything_can_be_dropped_though_another_process_writes(open_store, locked):
    store, other = open_store(timeout=0.02), open_store(timeout=0.02)
    store.set_many({"a": entry()})
    store.acquire("b", "one", 5.0)
    writer = locked("BEGIN IMMEDIATE", "UPDATE Cache SET store_time = 0")
    store.clear()
    writer.execute("COMMIT")

    assert other.get_many(["a"]) == store.get_many(["a"]) == {}
    assert store.set_held("b", entry(), "one") is None


def test_a_database_that_cannot_even_be_read_times_out(open_store, locked):
    open_store(timeout=0.02).close()
    other = locked("PRAGMA locking_mode = exclusive", "BEGIN EXCLUSIVE")
    store = open_store(timeout=0.02)

    with pytest.raises(TimeoutError, match="locked by another process"):
        store.get_many(["a"])
    other.close()
    assert store.get_many(["a"]) == {}


def test_a_lock_that_is_given_up_in_time_is_waited_for(open_store, locked):
    store = open_store(timeout=30.0)
    other = locked("BEGIN IMMEDIATE")
    begun, stored = Event(), Event()

    def store_it() -> None:
        begun.set()
        store.set_many({"a": entry()})
        stored.set()

    thread = Thread(target=store_it)
    thread.start()
    assert begun.wait(30.0)
    assert not stored.is_set()
    other.execute("COMMIT")
    thread.join(30.0)
    assert store.get_many(["a"]) == {"a": entry()}


def test_a_thread_that_is_at_it_for_long_makes_the_others_time_out(open_store):
    store = open_store(timeout=0.02)
    begun, end = Event(), Event()

    def take_long(connection: sqlite3.Connection) -> None:
        begun.set()
        assert end.wait(30.0)

    thread = Thread(target=lambda: store._database.read(take_long))
    thread.start()
    assert begun.wait(30.0)
    with pytest.raises(TimeoutError, match="busy in other threads"):
        store.get_many(["a"])
    end.set()
    thread.join(30.0)
    assert store.get_many(["a"]) == {}


def test_a_directory_that_was_deleted_is_made_anew(open_store, directory):
    stores = [open_store(), open_store()]
    stores[0].set_many({"a": entry()})
    assert stores[1].get_many(["a"]) == {"a": entry()}
    shutil.rmtree(directory)

    assert [store.get_many(["a"]) for store in stores] == [{}, {}]
    stores[0].set_many({"b": entry()})
    assert stores[1].get_many(["a", "b"]) == {"b": entry()}
    assert directory.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(directory)
    assert stores[1].set_many({"c": entry()}) == 0
    assert stores[0].get_many(["a", "b", "c"]) == {"c": entry()}
    assert [store.notices() for store in stores] == [[], []]


def test_closing_what_was_deleted_does_not_harm_what_is_in_its_place(open_store, directory):
    old, new = open_store(), open_store()
    old.set_many({"a": entry()})
    shutil.rmtree(directory)
    new.set_many({"b": entry()})
    old.close()  # SQLite deletes the log of a database when its last user closes it

    assert (directory / "cache.db-wal").stat().st_size > 0
    assert open_store().get_many(["a", "b"]) == {"b": entry()}


def test_as_long_as_the_directory_cannot_be_made_it_is_an_os_error(open_store, directory):
    store = open_store()
    shutil.rmtree(directory)
    directory.symlink_to(directory.parent)
    with pytest.raises(PermissionError, match="symbolic link"):
        store.get_many(["a"])
    directory.unlink()
    directory.touch()
    with pytest.raises(NotADirectoryError):
        store.set_many({"a": entry()})
    directory.unlink()

    assert store.set_many({"a": entry()}) == 0
    assert store.get_many(["a"]) == {"a": entry()}


def full(store, pages: int = 0) -> None:
    """Let the database not grow beyond what it is, or what is given, as on a full disk."""
    store._database.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages or 1}"))


def test_on_a_full_disk_storing_is_an_error_and_nothing_of_it_is_kept(open_store):
    store = open_store()
    store.set_many({"a": entry(b"old")})
    full(store)
    with pytest.raises(OSError, match="no space is left") as raised:
        store.set_many({"a": entry(b"new"), "b": entry(b"x" * 10**6)})

    assert raised.value.errno == errno.ENOSPC
    assert store.get_many(["a", "b"]) == {"a": entry(b"old")}


PROGRAM = """
import resource, sys
from contextlib import suppress
from pathlib import Path
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

directory, action = Path(sys.argv[1]), sys.argv[2]
store = DiskStore(directory, timeout=5.0)
store.set_many({key: StoredEntry(key.encode() * 100_000, 5e9) for key in "abc"})
size = 400_000  # a new database fits, but not the log of what there is
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))
try:
    if action == "set":
        for n in range(100):
            store.set_many({"a": StoredEntry(b"%02d" % n * 50_000, 5e9)})
    elif action == "delete":
        for n in range(100):
            assert store.delete_many(["a", "x"]) == (n == 0), n
            with suppress(OSError):
                store.set_many({"b": StoredEntry(b"bb", 5e9)})
    elif action == "clear":
        store.clear()
    print("done")
except OSError as error:
    print(type(error).__name__)
print(sorted((key, kept.value[:2], len(set(kept.value))) for key, kept in store.get_many([*"abc"]).items()))
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
print(store.set_many({"a": StoredEntry(b"again", 5e9)}), store.get_many(["a"])["a"].value)
store.close()
"""


@pytest.mark.parametrize("action", ["set", "delete", "clear"])
def test_when_no_more_can_be_written_nothing_is_torn_and_what_is_to_go_goes(run_elsewhere, directory, action):
    outcome, kept, after = run_elsewhere(PROGRAM, directory, action).splitlines()

    assert after == "0 b'again'"
    if action == "set":
        assert outcome == "OSError"
        assert "('b', b'bb', 1), ('c', b'cc', 1)" in kept
    else:
        assert outcome == "done"
        assert "'a'" not in kept


def test_a_full_disk_does_not_keep_an_entry_alive(open_store, monkeypatch, directory):
    store, other = open_store(), open_store()
    store.set_many({key: entry(key.encode()) for key in "abc"})
    store.acquire("d", "one", 5.0)
    other.get_many(["a"])

    def no_space(connection: sqlite3.Connection, *arguments: object) -> int:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE more AS SELECT zeroblob(10000000)")
        raise AssertionError("there was room")

    with monkeypatch.context() as patch:
        patch.setattr("mcp_orchestra_disk.rows.delete_some", no_space)
        assert store.delete_many(["a", "b", "x"]) == 2
    assert other.get_many([*"abc"]) == {}
    assert store.set_held("d", entry(), "one") is None
    assert store.set_many({"a": entry(b"new")}) == 0
    assert other.get_many([*"abc"]) == {"a": entry(b"new")}


def test_of_a_batch_with_a_fault_in_it_nothing_is_stored(open_store):
    store = open_store()
    store.set_many({"a": entry()})
    store.acquire("b", "one", 5.0)
    with pytest.raises(TypeError, match="values are bytes"):
        store.set_many({"a": entry(b"new"), "b": StoredEntry("no bytes", 5e9)})

    assert store.get_many(["a", "b"]) == {"a": entry()}
    assert store.renew("b", "one", 5.0)


def test_the_files_are_those_of_an_intact_database(open_store, directory):
    store = open_store()
    store.set_many({f"{n}": entry(b"x" * n * 100) for n in range(100)})
    store.delete_many([f"{n}" for n in range(0, 100, 3)])
    store.close()
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
