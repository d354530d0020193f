"""The tables: those of ``diskcache``, so that its tools can read them, and one for leases."""

import os
import sqlite3
from typing import Any

from diskcache import Cache  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from mcp_orchestra_disk.safe_disk import RawDisk

__all__ = ["ForeignDatabaseError", "check_tables", "create_tables", "set_up"]

_APPLICATION_ID = 0x4D43504F  # "MCPO"
_VERSION = 1
_COLUMNS = {
    "Cache": (
        *("rowid", "key", "raw", "store_time", "expire_time", "access_time", "access_count"),
        *("tag", "size", "mode", "filename", "value"),
    ),
    "Leases": ("key", "holder", "until"),
}
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
    "sqlite_page_size": 16384,  # large values are read twice as fast as with 4096
    "sqlite_synchronous": 2,
}


class ForeignDatabaseError(Exception):
    """A database is none of ours."""


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
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("UPDATE Settings SET value = 'wal' WHERE key = 'sqlite_journal_mode'")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = wal")


def set_up(connection: sqlite3.Connection) -> None:
    """Prepare a connection; what the database's own table of settings says is never looked at."""
    connection.text_factory = bytearray  # whatever somebody planted can be read, and is not taken for bytes
    for pragma in (
        "trusted_schema = off",  # a planted trigger or view calls no function that does anything
        "cell_size_check = on",
        "cache_size = -16000",
        "mmap_size = 0",  # a mapped file that somebody truncates would end the process
        "synchronous = normal",
        "wal_autocheckpoint = 512",  # pages: 8 MiB
        "journal_size_limit = 8388608",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def check_tables(connection: sqlite3.Connection) -> None:
    """Check that a database is ours.

    Raises:
        ForeignDatabaseError: It is not.
        sqlite3.Error: It cannot be read.
    """
    if _number(connection, "application_id") != _APPLICATION_ID or _number(connection, "user_version") != _VERSION:
        raise ForeignDatabaseError
    kinds = dict(connection.execute("SELECT CAST(name AS BLOB), CAST(type AS BLOB) FROM sqlite_master").fetchall())
    for table, columns in _COLUMNS.items():
        if kinds.get(table.encode()) != b"table":  # a view by that name could run anything
            raise ForeignDatabaseError
        found = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if tuple(bytes(column[1]).decode() for column in found) != columns:
            raise ForeignDatabaseError


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    ((number,),) = connection.execute(f"PRAGMA {pragma}").fetchall()
    return int(number)
