import os
import stat
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore
from mcp_orchestra_disk.directory import UnsafeDirectoryError, prepare_directory, sole_access


def entry(value: bytes = b"value", expires_at: float = 5e9) -> StoredEntry:
    return StoredEntry(value, expires_at)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def modes(directory: Path) -> dict[str, int]:
    return {file.name: mode(file) for file in directory.iterdir()}


OURS_ALONE = {"cache.db": 0o600, "cache.db-wal": 0o600, "cache.db-shm": 0o600, "cache.db.lock": 0o600}


@pytest.mark.parametrize("umask", ["0", "0o22", "0o777"])
def test_nobody_else_can_look_into_it_whatever_the_umask_is(directory, run_elsewhere, umask):
    directory.parent.chmod(0o700)
    run_elsewhere(
        """if True:
        import os, sys
        from mcp_orchestra import StoredEntry
        from mcp_orchestra_disk import DiskStore
        umask = int(sys.argv[2], 0)
        os.umask(umask)
        store = DiskStore(sys.argv[1], timeout=5.0)
        store.set_many({"a": StoredEntry(b"x" * 100_000, 5e9)})
        assert os.umask(0) == umask
        os._exit(0)  # as a crash would, so that all files are left there
        """,
        directory,
        umask,
    )

    assert mode(directory) == 0o700
    assert modes(directory) == OURS_ALONE


def test_a_cache_that_was_opened_to_others_is_closed_again(directory, open_store):
    DiskStore(directory).close()
    directory.chmod(0o755)
    (directory / "cache.db").chmod(0o644)
    store = open_store()
    store.set_many({"a": entry()})

    assert mode(directory) == 0o700
    assert modes(directory) == OURS_ALONE


def test_an_empty_directory_that_is_open_to_others_is_closed(directory, open_store):
    directory.mkdir()
    directory.chmod(0o777)
    open_store()

    assert mode(directory) == 0o700


def test_a_directory_with_other_things_in_it_is_not_touched(directory):
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "something").touch()

    with pytest.raises(UnsafeDirectoryError, match=r"open to other users; name a directory .* or close it with chmod"):
        DiskStore(directory)
    assert mode(directory) == 0o755
    assert modes(directory).keys() == {"something"}


def test_a_directory_that_all_users_share_is_not_taken_from_them(directory):
    directory.mkdir()
    directory.chmod(0o1777)

    with pytest.raises(UnsafeDirectoryError, match="open to other users"):
        DiskStore(directory)
    assert mode(directory) == 0o1777


def test_a_directory_of_ones_own_may_have_other_things_in_it(directory, open_store):
    directory.mkdir(mode=0o700)
    (directory / "something").touch()
    open_store().set_many({"a": entry()})

    assert modes(directory).keys() == OURS_ALONE.keys() | {"something"}


def test_a_symbolic_link_is_refused(directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UnsafeDirectoryError, match="symbolic link"):
        DiskStore(directory)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_that_leads_nowhere_is_refused(directory):
    directory.symlink_to("nowhere")

    with pytest.raises(UnsafeDirectoryError, match="symbolic link"):
        DiskStore(directory)


def test_a_directory_of_another_user_is_refused(directory, monkeypatch):
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: directory.lstat().st_uid + 1)

    with pytest.raises(UnsafeDirectoryError, match="belongs to another user"):
        DiskStore(directory)


@pytest.mark.parametrize("what", ["link", "directory"])
def test_what_stands_in_the_place_of_the_database_is_moved_aside(directory, open_store, tmp_path, what):
    directory.mkdir(mode=0o700)
    (tmp_path / "other.db").write_bytes(b"of somebody else")
    if what == "link":
        (directory / "cache.db").symlink_to(tmp_path / "other.db")
    else:
        (directory / "cache.db").mkdir()
    store = open_store()
    store.set_many({"a": entry()})

    assert store.get_many(["a"]) == {"a": entry()}
    assert (tmp_path / "other.db").read_bytes() == b"of somebody else"
    assert len(store.notices()) == 1


def test_only_one_at_a_time_creates_or_replaces_a_database(directory):
    prepare_directory(directory)
    with sole_access(directory, 5.0):
        with pytest.raises(TimeoutError, match="creating or replacing"), sole_access(directory, 0.02):
            pass
        (directory / "cache.db.lock").unlink()  # the directory was deleted and made anew: this is another lock
        with sole_access(directory, 0.02):
            pass
    with sole_access(directory, 0.02):
        assert modes(directory) == {"cache.db.lock": 0o600}
