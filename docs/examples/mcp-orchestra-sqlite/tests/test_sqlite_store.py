import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_sqlite import SqliteStore


def test_nobody_else_may_read_what_is_cached(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "cache.db")) as store:
        store.set_many({"a": StoredEntry(b"private", 9e9)})
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_database_that_is_locked_is_one_that_cannot_be_reached_for_now(tmp_path: Path) -> None:
    entry = StoredEntry(b"value", 9e9)
    with (
        closing(SqliteStore(tmp_path / "cache.db")) as store,
        closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError, match="locked by another process"):
            store.set_many({"a": entry})
        other.execute("ROLLBACK")
        store.set_many({"a": entry})
        assert store.get_many(["a"]) == {"a": entry}
