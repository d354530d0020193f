"""The tables: those of ``diskcache``, so that its tools can read them, and one for leases."""

import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from diskcache import Cache  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from mcp_orchestra_disk.log import log_limit
from mcp_orchestra_disk.names import VERSION
from mcp_orchestra_disk.safe_disk import RawDisk

__all__ = ["AlteredDatabaseError", "ForeignDatabaseError", "check_tables", "create_tables", "schema_version", "set_up"]

_APPLICATION_ID = 0x4D43504F  # "MCPO"
_PAGE_SIZE = 16384  # large values are read twice as fast as with 4096
_LONGEST_STATEMENT = 50_000_000  # of SQLite's instructions, about a second; ours take four for each entry at most
_LONGEST_KEY = 16 * 1024 * 1024  # in a question; what is kept is subject to max_bytes
_SETTINGS: dict[str, Any] = {
    "cull_limit": 0,
    "eviction_policy": "none",  # DiskStore evicts; this keeps diskcache's own tools from doing it, and saves an index
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 0,
    "disk_pickle_protocol": 0,
    "sqlite_auto_vacuum": 1,  # what is dropped is given back to the file system
    "sqlite_cache_size": -16_000,
    "sqlite_journal_mode": "delete",  # until all is there
    "sqlite_mmap_size": 0,
    "sqlite_page_size": _PAGE_SIZE,
    "sqlite_synchronous": 2,
}


_Objects = frozenset[tuple[bytes | None, ...]]


class ForeignDatabaseError(FileExistsError):
    """A database is in order and none of ours, so that it must not be touched; the message says what to do."""


class AlteredDatabaseError(Exception):
    """A database is ours, but there are other tables, indexes or triggers in it than this cache makes."""


class _Tables(Cache):  # type: ignore[misc]  # diskcache has no types
    """Has ``diskcache`` create its tables by way of a connection of ours."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # It creates this directory if it is not there, and uses it for nothing else here.
        super().__init__(os.sep, disk=RawDisk, **_SETTINGS)  # pyright: ignore[reportUnknownMemberType]  # as above

    @property
    def _con(self) -> sqlite3.Connection:
        return self._connection

    def close(self) -> None:
        """Leave the connection open."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create all tables in a new database."""
    for pragma in ("sqlite_page_size", "sqlite_auto_vacuum"):  # not possible in a transaction
        connection.execute(f"PRAGMA {pragma.removeprefix('sqlite_')} = {_SETTINGS[pragma]}")
    connection.execute("BEGIN")  # diskcache would wait for the disk after each of its forty statements
    _Tables(connection)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        # They count entries at the price of two more updates for each; diskcache restores them if it needs them.
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("CREATE TABLE Leases (key BLOB PRIMARY KEY, holder BLOB, until REAL) WITHOUT ROWID")
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("UPDATE Settings SET value = 'wal' WHERE key = 'sqlite_journal_mode'")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = wal")


def set_up(connection: sqlite3.Connection, max_bytes: int, size: int) -> None:
    """Prepare a connection; what the database's own table of settings says is never looked at.

    Args:
        connection: Was just opened.
        max_bytes: What the cache may take up on disk.
        size: Bytes that the database takes up: no value of ours is longer, and nothing else may be.
    """
    connection.text_factory = bytearray  # whatever somebody planted can be read, and is not taken for bytes
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(max(max_bytes, size) + _LONGEST_KEY, 2**31 - 1))
    connection.set_progress_handler(_interrupt, _LONGEST_STATEMENT)
    log_bytes = log_limit(max_bytes) // 2  # it may take twice as much before anybody has to wait for it
    for pragma in (
        "trusted_schema = off",  # a planted trigger or view calls no function that does anything
        "cell_size_check = on",
        "secure_delete = fast",  # to overwrite what is given back anyway would write everything into the log first
        "cache_size = -16000",
        "mmap_size = 0",  # a mapped file that somebody truncates would end the process
        "synchronous = normal",
        f"wal_autocheckpoint = {log_bytes // _PAGE_SIZE}",
        f"journal_size_limit = {log_bytes}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the number that changes with every change of the tables."""
    return _number(connection, "schema_version")


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a database is ours, with exactly what this cache makes in it.

    Args:
        connection: To the database.
        path: What to call it.

    Raises:
        ForeignDatabaseError: It is somebody else's.
        AlteredDatabaseError: It is ours, or there is nothing in it, but it cannot be used.
        sqlite3.Error: It cannot be read.
    """
    must_be, may_be = _ours()
    found = _objects(connection, len(may_be) + 1)
    if _number(connection, "application_id") != _APPLICATION_ID or _number(connection, "user_version") != VERSION:
        if found:
            raise ForeignDatabaseError(
                f"{path} is the database of another program, or of another version of this one;"
                " name another directory, or delete the file"
            )
        raise AlteredDatabaseError
    if not must_be <= found <= may_be:
        raise AlteredDatabaseError


@cache
def _ours() -> tuple[_Objects, _Objects]:
    """Return what must be in a database, and what may be: the tools of ``diskcache`` restore their triggers."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection)
        must_be = _objects(connection)
        _Tables(connection)
        return must_be, _objects(connection)


def _objects(connection: sqlite3.Connection, most: int = -1) -> _Objects:
    columns = ", ".join(f"CAST({column} AS BLOB)" for column in ("type", "name", "tbl_name", "sql"))
    return frozenset(connection.execute(f"SELECT {columns} FROM sqlite_master LIMIT {most}"))  # noqa: S608  # all fixed


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    ((number,),) = connection.execute(f"PRAGMA {pragma}").fetchall()
    return int(number)


def _interrupt() -> bool:
    return True
