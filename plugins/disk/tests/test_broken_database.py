"""Whatever becomes of the file: the service goes on, and what is read is what was written."""

import os

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

KEYS = [f"key {n}" for n in range(50)]


def entry(value: bytes = b"value", expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(value, expires_at)


ENTRIES = {key: entry(key.encode() * 1500, 5e9 + n) for n, key in enumerate(KEYS)}


def broken(directory) -> list[str]:
    return sorted(file.name for file in directory.iterdir() if ".broken-" in file.name)


def assert_it_works(store: DiskStore) -> None:
    store.set_many(ENTRIES)
    assert store.get_many(KEYS) == ENTRIES
    assert store.delete_many(KEYS) == len(KEYS)
    assert store.acquire("a", "holder", 5.0)


@pytest.fixture
def filled(directory):
    """A database that was closed properly, all in one file."""
    store = DiskStore(directory, timeout=5.0)
    store.set_many(ENTRIES)
    store.close()
    return directory / "cache.db"


@pytest.fixture
def overwrite(run_elsewhere):
    """Write into a file that is open here: to open and close it in this process would release SQLite's locks on it."""

    def write(path, start, data: bytes) -> None:
        run_elsewhere(
            "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2]));"
            " f.write(bytes.fromhex(sys.argv[3]) * int(sys.argv[4])); f.close()",
            path,
            start,
            data[:512].hex(),
            max(1, len(data) // 512),
        )

    return write


def test_it_is_reopened_with_what_was_in_it(filled, open_store):
    store = open_store()

    assert store.get_many(KEYS) == ENTRIES
    assert store.notices() == []


@pytest.mark.parametrize("content", [b"", b"\0" * 50_000, b"not a database " * 5000, b"SQLite format 3\0", b"{}"])
def test_a_file_that_is_no_database_is_moved_aside(directory, open_store, content):
    directory.mkdir(mode=0o700)
    (directory / "cache.db").write_bytes(content)
    store = open_store()
    assert_it_works(store)

    (name,) = broken(directory)
    assert (directory / name).read_bytes() == content
    (notice,) = store.notices()
    assert str(directory / name) in notice


@pytest.mark.parametrize("eighth", range(8))
def test_of_a_truncated_database_nothing_wrong_is_read(filled, open_store, eighth):
    os.truncate(filled, filled.stat().st_size * eighth // 8)
    store = open_store()
    for key in KEYS:
        assert store.get_many([key]).get(key, ENTRIES[key]) == ENTRIES[key]
    assert_it_works(store)
    assert_it_works(open_store())


@pytest.mark.parametrize("eighth", range(8))
def test_of_a_database_that_is_truncated_while_it_is_open_nothing_wrong_is_read(filled, open_store, eighth):
    store, other = open_store(), open_store()
    assert store.get_many(KEYS[:1])
    os.truncate(filled, filled.stat().st_size * eighth // 8)
    for key in KEYS:
        assert store.get_many([key]).get(key, ENTRIES[key]) == ENTRIES[key]
    for one in (store, other):
        assert_it_works(one)


@pytest.mark.parametrize("data", [b"\0" * 16384, b"\xff" * 16384, b"overwritten " * 1366], ids=["0", "ff", "text"])
@pytest.mark.parametrize("page", [0, 1, 2, 5, 9, 14, 27])
def test_of_a_page_that_is_overwritten_while_it_is_open_nothing_wrong_is_read(
    filled, open_store, overwrite, data, page
):
    store, other = open_store(), open_store()
    overwrite(filled, page * 16384, data)
    for key in KEYS:
        assert store.get_many([key]).get(key, ENTRIES[key]) == ENTRIES[key]
    store.delete_many(KEYS[:25])
    assert other.get_many(KEYS[:25]) == {}
    store.clear()
    for one in (store, other):
        assert_it_works(one)


def test_a_lost_part_of_a_value_is_noticed_though_the_database_is_in_order(directory, open_store, overwrite):
    store = DiskStore(directory, timeout=5.0)
    big = {f"{n}": entry(bytes([n]) * 1_000_000) for n in (1, 2)}
    store.set_many(big)
    store.close()
    content = (directory / "cache.db").read_bytes()
    overwrite(directory / "cache.db", content.rindex(b"\1" * 512), b"\0" * 512)
    store = open_store()

    assert store.get_many(["1", "2"]) == {"2": big["2"]}
    assert broken(directory) == []


def test_everyone_who_has_a_broken_database_open_goes_over_to_the_next(filled, open_store, directory):
    stores = [open_store() for _ in range(3)]
    for store in stores:
        assert store.get_many(KEYS) == ENTRIES
    os.truncate(filled, 20_000)
    stores[0].set_many({"a": entry()})

    assert [store.get_many(["a"]) for store in stores] == [{"a": entry()}] * 3
    assert len([name for name in broken(directory) if not name.endswith("-wal")]) == 1
    assert [len(store.notices()) for store in stores] == [1, 1, 1]
    stores[1].delete_many(["a"])
    assert [store.get_many(["a"]) for store in stores] == [{}] * 3


def test_of_broken_databases_the_last_is_kept(directory):
    for number in range(5):
        DiskStore(directory, timeout=5.0).close()
        (directory / "cache.db").write_bytes(b"broken %d" % number)
    DiskStore(directory, timeout=5.0).close()

    assert [(directory / name).read_bytes() for name in broken(directory)] == [b"broken 4"]


def test_what_is_cleared_is_in_no_broken_database_either(directory, open_store):
    DiskStore(directory, timeout=5.0).close()
    (directory / "cache.db").write_bytes(b"private")
    store = open_store()
    assert len(store.notices()) == len(broken(directory)) == 1
    store.clear()

    assert broken(directory) == []
    (notice,) = store.notices()
    assert notice.startswith("1 times something could not be used as the cache database; it was deleted")


def test_of_a_broken_database_that_was_deleted_there_is_no_more_talk(directory, open_store):
    DiskStore(directory, timeout=5.0).close()
    (directory / "cache.db").write_bytes(b"broken")
    store = open_store()
    assert len(store.notices()) == 1
    for name in broken(directory):
        (directory / name).unlink()

    assert store.notices() == []


def test_the_log_of_a_database_that_was_deleted_is_not_taken_for_that_of_the_next(directory, open_store, run_elsewhere):
    run_elsewhere(
        """if True:
        import os, sys
        from mcp_orchestra import StoredEntry
        from mcp_orchestra_disk import DiskStore
        DiskStore(sys.argv[1], timeout=5.0).set_many({"a": StoredEntry(b"old", 5e9)})
        os._exit(0)
        """,
        directory,
    )
    assert (directory / "cache.db-wal").stat().st_size > 0
    (directory / "cache.db").unlink()
    store = open_store()

    assert store.get_many(["a"]) == {}
    assert_it_works(store)
    assert broken(directory) == []


def test_what_a_crash_left_half_made_is_cleared_away(directory, open_store):
    directory.mkdir(mode=0o700)
    (directory / "cache.db.new").write_bytes(b"half")
    (directory / "cache.db.new-journal").write_bytes(b"half")
    assert_it_works(open_store())

    assert not list(directory.glob("cache.db.new*"))
