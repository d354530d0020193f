"""Whatever somebody adds to the tables has no effect: triggers, indexes, views, columns."""

import sqlite3
import time
from contextlib import closing

import diskcache
import pytest
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra_disk import DiskStore
from mcp_orchestra_disk.names import VERSION, name

DELETED = "CREATE TRIGGER t BEFORE DELETE ON Cache BEGIN"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c"
CACHE = (
    "rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_time REAL,"
    " access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT,"
    " value BLOB"
)
PLANTED = {
    "a deletion that is ignored": [f"{DELETED} SELECT RAISE(IGNORE); END"],
    "a deletion that is refused": [f"{DELETED} SELECT RAISE(ABORT, 'no'); END"],
    "a deletion that is rolled back": [f"{DELETED} SELECT RAISE(ROLLBACK, 'no'); END"],
    "a reference to nothing": [f"{DELETED} INSERT INTO nowhere VALUES (1); END"],
    "an unsafe function": [f"{DELETED} SELECT load_extension('x'); END"],
    "an endless trigger": [f"CREATE TRIGGER t BEFORE INSERT ON Cache BEGIN SELECT x FROM ({ENDLESS}); END"],
    "a lease that is not revoked": ["CREATE TRIGGER t BEFORE DELETE ON Leases BEGIN SELECT RAISE(IGNORE); END"],
    "a unique index": ["CREATE UNIQUE INDEX u ON Cache (mode)"],
    "another table": ["CREATE TABLE another (x)"],
    "a view": ["CREATE VIEW another AS SELECT 1"],
    "no table": ["DROP TABLE Cache"],
    "no index": ["DROP INDEX Cache_key_raw"],
    "a view in place of a table": ["DROP TABLE Cache", "CREATE VIEW Cache AS SELECT 1 AS rowid, x'61' AS key"],
    "a view in place of the leases": ["DROP TABLE Leases", "CREATE VIEW Leases AS SELECT 1 AS rowid, x'61' AS key"],
    "a virtual table": ["DROP TABLE Leases", "CREATE VIRTUAL TABLE Leases USING fts4(key, holder, until)"],
    "a column that fills the disk": [
        "DROP TABLE Cache",
        f"CREATE TABLE Cache ({CACHE}, boom BLOB GENERATED ALWAYS AS (zeroblob(50000000)) STORED)",
        "CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
        "CREATE INDEX Cache_expire_time ON Cache (expire_time)",
    ],
}


def entry(value: bytes = b"value", expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(value, expires_at)


@pytest.fixture(params=PLANTED)
def plant(request, sql):
    def do_it() -> None:
        for statement in PLANTED[request.param]:
            sql(statement)

    return do_it


def assert_it_works_in_an_empty_database(store: DiskStore) -> None:
    assert store.delete_many(["a"]) == 0
    assert store.get_many(["a"]) == {}
    assert store.set_held("lease", entry(), "one") is None
    assert store.acquire("b", "one", 30.0)
    assert store.delete_many(["b"]) == 0
    assert store.set_held("b", entry(), "one") is None
    assert store.set_many({"c": entry(), "d": entry()}) == 0
    assert store.get_many(["a", "b", "c", "d"]) == {"c": entry(), "d": entry()}
    (notice,) = store.notices()
    assert ".broken-" in notice


def test_what_was_planted_before_it_is_opened_has_no_effect(open_store, plant):
    open_store().set_many({"a": entry()})
    plant()

    assert_it_works_in_an_empty_database(open_store())


def test_what_is_planted_while_it_is_open_has_no_effect(open_store, plant):
    store = open_store()
    store.set_many({"a": entry()})
    assert store.acquire("lease", "one", 30.0)
    plant()

    assert_it_works_in_an_empty_database(store)


def test_what_is_planted_while_it_is_open_has_no_effect_on_reading(open_store, plant):
    store = open_store()
    store.set_many({"a": entry()})
    plant()

    assert store.get_many(["a"]) == {}
    assert store.count(0.0) == 0


def test_an_invalidated_entry_does_not_come_back(open_store, sql):
    cache = ResourceCache(ttl_seconds=60, store=open_store(), blocking=True, clock=time.time)
    cache.set("one", {"text": "private"})
    sql(f"{DELETED} SELECT RAISE(IGNORE); END")
    cache.invalidate("one")

    assert cache.get("one") is None


def test_no_statement_goes_on_for_ever(open_store):
    store = open_store()
    with pytest.raises(OSError, match="cannot be read or written"):
        store._database.read(lambda connection: connection.execute(ENDLESS).fetchall())

    assert store.set_many({"a": entry()}) == 0
    assert store.get_many(["a"]) == {"a": entry()}


def test_nothing_longer_than_the_cache_may_be_is_made_up(open_store):
    store = open_store(max_bytes=2**20)
    with pytest.raises(sqlite3.DataError, match="too big"):
        store._database.read(lambda connection: connection.execute("SELECT zeroblob(50000000)").fetchall())

    assert store.notices() == []


def test_with_less_room_than_before_a_large_value_can_still_be_read(open_store):
    large = entry(bytes(40_000_000))
    open_store().set_many({"a": large})

    assert open_store(max_bytes=2**20).get_many(["a"]) == {"a": large}


@pytest.fixture
def somebody_elses(directory):
    directory.mkdir(mode=0o700)
    with closing(diskcache.Cache(str(directory))) as cache:
        cache["precious"] = {"an": "object"}
    return directory


def contents(directory) -> dict[str, tuple[int, bytes]]:
    files = [file for file in directory.iterdir() if not file.name.endswith(".lock")]
    return {file.name: (file.stat().st_mode, file.read_bytes()) for file in files}


def test_the_cache_of_another_program_is_refused_and_stays_as_it_is(somebody_elses):
    (somebody_elses / "cache.db").chmod(0o644)
    before = contents(somebody_elses)
    with pytest.raises(FileExistsError, match=r"of another program, .*; name another directory, or"):
        DiskStore(somebody_elses, timeout=5.0)

    assert contents(somebody_elses) == before
    with closing(diskcache.Cache(str(somebody_elses))) as cache:
        assert cache["precious"] == {"an": "object"}


def test_its_directory_is_not_closed_to_others(somebody_elses):
    somebody_elses.chmod(0o755)
    with pytest.raises(PermissionError, match="open to other users"):
        DiskStore(somebody_elses)

    assert somebody_elses.stat().st_mode & 0o777 == 0o755


def test_a_database_of_another_program_that_appears_later_stays_as_it_is(open_store, directory):
    store = open_store()
    for file in directory.glob("cache.db*"):
        file.unlink()
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = contents(directory)
    for call in (lambda: store.get_many(["a"]), lambda: store.delete_many(["a"]), store.clear):
        with pytest.raises(FileExistsError, match="of another program"):
            call()

    assert contents(directory) == before


def test_a_database_of_another_version_stays_as_it_is(open_store, sql):
    store = open_store()
    store.set_many({"a": entry()})
    sql("PRAGMA user_version = 2")
    with pytest.raises(FileExistsError, match="of another version"):
        open_store()

    assert sql("SELECT key FROM Cache") == [(b"a",)]


def test_every_version_of_the_tables_has_a_name_of_its_own(open_store, directory):
    open_store()

    assert (directory / name(VERSION)).is_file()
    assert len({name(version) for version in range(1, 20)}) == 19
    assert all(name(version).startswith("cache.db") for version in range(1, 20))
