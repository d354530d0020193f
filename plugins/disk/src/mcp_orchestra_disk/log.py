"""The log of a database (``-wal``): what was committed and is not written into the database yet.

SQLite begins it anew once all of it was written back and nobody reads it any more. One process that is stopped in the
middle of reading makes it grow with every change.
"""

import sqlite3
from pathlib import Path

__all__ = ["LogInUseError", "empty_log", "log_limit", "log_size"]

_MOST = 16 * 1024 * 1024


class LogInUseError(Exception):
    """The log cannot be begun anew because somebody is reading it."""


def log_limit(max_bytes: int) -> int:
    """Return how many of a cache's bytes on disk are for the log."""
    return min(_MOST, max_bytes // 8)


def log_size(path: Path) -> int:
    """Return how many bytes the log of the database takes up."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0  # SQLite creates it with the first change


def empty_log(connection: sqlite3.Connection) -> None:
    """Write all of the log into the database and cut it off.

    Raises:
        LogInUseError: Somebody is reading it, or is writing.
    """
    ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy:
        raise LogInUseError
