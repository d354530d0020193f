"""What stands where the files of the database belong is neither followed nor in the way."""

import os

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

ENTRIES = {"a": StoredEntry(b"SECRET" * 1000, 5e9)}
NAMES = ["-wal", "-shm", "-journal", ".lock", ".new", ".new-journal"]


@pytest.fixture(params=NAMES)
def place(request, directory):
    """Where a file of the database belongs; of those that are made with the database there is no database yet."""
    store = DiskStore(directory, timeout=5.0)
    store.set_many(ENTRIES)
    store.close()
    place = directory / f"cache.db{request.param}"
    place.unlink(missing_ok=True)
    if ".new" in request.param:
        (directory / "cache.db").unlink()
    return place


def assert_it_works(store: DiskStore) -> None:
    assert store.set_many(ENTRIES) == 0
    assert store.get_many(["a"]) == ENTRIES
    assert store.delete_many(["a"]) == 1
    assert store.get_many(["a"]) == {}


def test_a_link_is_not_followed(place, open_store, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"#!/bin/sh")
    target.chmod(0o755)
    place.symlink_to(target)
    assert_it_works(open_store())

    assert target.read_bytes() == b"#!/bin/sh"
    assert target.stat().st_mode & 0o777 == 0o755
    assert not place.is_symlink()


def test_a_link_that_leads_nowhere_is_not_followed(place, open_store, tmp_path):
    place.symlink_to(tmp_path / "nowhere")
    assert_it_works(open_store())

    assert not (tmp_path / "nowhere").exists()


def test_a_directory_is_moved_aside_and_mentioned(place, open_store):
    place.mkdir()
    (place / "something").touch()
    store = open_store()
    assert_it_works(store)

    (notice,) = store.notices()
    (moved,) = place.parent.glob("cache.db.broken-*")
    assert str(moved) in notice
    assert [file.name for file in moved.iterdir()] == ["something"]


def test_a_pipe_is_taken_away(place, open_store):
    os.mkfifo(place)
    assert_it_works(open_store())
    assert not place.is_fifo()
