"""CVE-2025-69872: whoever can write to the database must not be able to run code or to reach other files."""

import os
import pickle
from contextlib import closing, suppress

import diskcache
import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk.safe_disk import RawDisk, RefusedRowError

COLUMNS = "key, raw, expire_time, tag, mode, filename, value"


def entry(value: bytes = b"value", expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(value, expires_at)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def traces(tmp_path):
    return tmp_path / "traces"


@pytest.fixture
def bomb(traces) -> bytes:
    return pickle.dumps(Bomb(traces))


@pytest.fixture
def plant(sql):
    """Change the row of the key a, which was stored properly."""

    def change(**columns) -> None:
        for column, value in columns.items():
            sql(f"UPDATE Cache SET {column} = ? WHERE key = ?", value, b"a")

    return change


def assert_refused(store, sql) -> None:
    assert store.get_many(["a", "b"]) == {"b": entry(b"other")}
    assert sql("SELECT key FROM Cache") == [(b"b",)]
    assert "1 entries in" in store.notices()[0]
    store.set_many({"a": entry(b"new")})
    assert store.get_many(["a"]) == {"a": entry(b"new")}


@pytest.fixture
def store(open_store):
    store = open_store()
    store.set_many({"a": entry(), "b": entry(b"other")})
    return store


def test_a_pickled_value_is_refused(store, plant, sql, bomb, traces):
    plant(mode=4, value=bomb)

    assert_refused(store, sql)
    assert not traces.exists()


def test_a_value_that_is_pickled_in_a_file_is_refused_and_the_file_left_alone(
    store, plant, sql, bomb, traces, directory
):
    (directory / "bomb.val").write_bytes(bomb)
    plant(mode=4, filename="bomb.val", value=None)

    assert_refused(store, sql)
    assert not traces.exists()
    assert (directory / "bomb.val").exists()


def test_a_pickled_key_is_refused(store, sql, bomb, traces):
    sql("UPDATE Cache SET raw = 0 WHERE key = ?", b"a")
    sql("INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 1, 'x')", bomb)

    assert store.get_many(["a"]) == {}
    assert store.get_many([bomb.decode("latin-1")]) == {}
    assert store.count(0.0) == 1
    store.purge(6e9)
    store.clear()
    assert not traces.exists()


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_a_file_outside_of_the_directory_is_neither_read_nor_removed(store, plant, sql, tmp_path, mode):
    (tmp_path / "secret").write_text("secret")
    plant(mode=mode, filename="../secret")

    assert_refused(store, sql)
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_link_out_of_the_directory_is_not_followed(store, plant, sql, tmp_path, directory):
    (tmp_path / "secret").write_text("secret")
    (directory / "link.val").symlink_to(tmp_path / "secret")
    plant(mode=2, filename="link.val", value=None)

    assert_refused(store, sql)
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize(
    "columns",
    [
        {"value": "text"},
        {"value": 5},
        {"value": None},
        {"value": b"other"},
        {"expire_time": None},
        {"expire_time": 6e9},
        {"expire_time": "soon"},
        {"tag": None},
        {"tag": "text"},
        {"mode": "1.5"},
        {"raw": 2},
        {"filename": ""},
    ],
    ids=str,
)
def test_a_row_that_was_changed_is_refused(store, plant, sql, columns):
    plant(**columns)

    assert_refused(store, sql)


def test_text_that_is_no_text_is_refused(store, sql):
    sql("UPDATE Cache SET filename = CAST(x'ff00fe' AS TEXT) WHERE key = ?", b"a")

    assert_refused(store, sql)


def test_a_row_under_the_key_of_another_is_refused(store, sql):
    sql("DELETE FROM Cache WHERE key = ?", b"a")
    sql("UPDATE Cache SET key = ? WHERE key = ?", b"a", b"b")

    assert store.get_many(["a", "b"]) == {}


def test_what_is_refused_while_nothing_can_be_deleted_is_a_miss_all_the_same(open_store, store, plant, sql):
    impatient = open_store(timeout=0.01)
    plant(mode=4)
    store._database.read(lambda connection: connection.execute("BEGIN IMMEDIATE"))

    assert impatient.get_many(["a", "b"]) == {"b": entry(b"other")}
    store._database.read(lambda connection: connection.execute("ROLLBACK"))
    assert store.get_many(["a", "b"]) == {"b": entry(b"other")}


def test_planted_settings_have_no_effect(open_store, sql, directory):
    open_store().close()
    for key, value in {
        "size_limit": 1,
        "cull_limit": "ten",
        "eviction_policy": "least-recently-used",
        "disk_min_file_size": 0,
        "disk_pickle_protocol": "x",
        "disk_unknown": 1,
        "sqlite_mmap_size": 2**26,
        "sqlite_journal_mode": "off; DROP TABLE Cache",
        "sqlite_synchronous": 0,
        "close": "x",
        "size": -(2**60),
        "page_size": 1,
    }.items():
        sql("INSERT OR REPLACE INTO Settings VALUES (?, ?)", key, value)
    store = open_store(max_bytes=2**20 * 8 // 7)
    store.set_many({f"{n}": entry(b"x" * 300_000) for n in range(20)})

    assert store._database.read(lambda connection: connection.execute("PRAGMA mmap_size").fetchone()) == (0,)
    assert store._database.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (1,)
    assert 0 < len(store.get_many([f"{n}" for n in range(20)])) < 4
    assert {file.name for file in directory.iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm", "cache.db.lock"}


def test_a_value_is_covered_by_the_checksum_whatever_its_size(store, plant, sql):
    value = bytes(500_000)
    store.set_many({"a": entry(value)})
    plant(value=value[:250_001] + b"x" + value[250_002:])

    assert_refused(store, sql)


def test_nothing_in_the_database_is_a_pickle(store, sql):
    rows = sql(f"SELECT {COLUMNS} FROM Cache")

    assert {(raw, mode, filename) for _, raw, _, _, mode, filename, _ in rows} == {(1, 1, None)}
    assert {(key, value) for key, *_, value in rows} == {(b"a", b"value"), (b"b", b"other")}


def test_the_tools_of_diskcache_can_read_it_and_the_store_goes_on(store, directory, open_store):
    with closing(diskcache.Cache(str(directory))) as cache:
        assert dict.fromkeys(cache) == dict.fromkeys([b"a", b"b"])
        assert cache[b"a"] == b"value"
    store.set_many({"c": entry()})

    assert store.get_many(["a", "c"]) == {"a": entry(), "c": entry()}
    assert open_store().get_many(["a", "c"]) == {"a": entry(), "c": entry()}


def test_with_our_disk_they_neither_unpickle_nor_touch_files(store, plant, sql, directory, tmp_path, bomb, traces):
    (tmp_path / "secret").write_text("secret")
    plant(mode=4, value=bomb)
    sql("UPDATE Cache SET mode = 2, filename = '../secret' WHERE key = ?", b"b")
    sql("INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 1, 'x')", bomb)
    with closing(diskcache.Cache(str(directory), disk=RawDisk)) as cache:
        assert (cache.get(b"a"), cache.get(b"b")) == (None, None)
        with pytest.raises(RefusedRowError):
            list(cache)
        with pytest.raises(TypeError):
            cache.set(b"c", {"an": "object"})
        with pytest.raises(TypeError):
            cache.set(("a", "key"), b"value")
        cache.set(b"c", b"x" * 100_000)
        assert cache.get(b"c") == b"x" * 100_000
        with suppress(RefusedRowError):
            cache.clear()

    assert not traces.exists()
    assert (tmp_path / "secret").read_text() == "secret"
