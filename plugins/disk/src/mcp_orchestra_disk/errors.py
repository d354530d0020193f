"""What an error of the database means."""

import errno
import sqlite3
from pathlib import Path

from mcp_orchestra_disk.layout import AlteredDatabaseError
from mcp_orchestra_disk.log import LogInUseError

__all__ = ["is_broken", "is_locked", "translated"]

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_UNREACHABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
_OF_THE_CALL = {sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}
_NOT_BROKEN = {sqlite3.SQLITE_FULL, *_LOCKED, *_UNREACHABLE, *_OF_THE_CALL}


def is_locked(error: Exception) -> bool:
    """Whether another process, or thread, had the database in use for too long."""
    return isinstance(error, LogInUseError) or _code(error) in _LOCKED


def is_broken(error: Exception) -> bool:
    """Whether the database cannot be used as it is, now or later.

    Our statements are fixed, and none fails on tables of ours: one that does met something that was planted.
    """
    code = _code(error)
    return isinstance(error, AlteredDatabaseError) or (code is not None and code not in _NOT_BROKEN)


def translated(error: Exception, path: Path) -> Exception:
    """Return what to raise in place of an error of the database's.

    Args:
        error: The error.
        path: The database.

    Returns:
        An `OSError` in our own words if the database could not be reached; else the error as it is.
    """
    code = _code(error)
    if isinstance(error, LogInUseError):
        return OSError(errno.ENOSPC, "no space is left in the log: another process does not finish reading", str(path))
    if code in _LOCKED:
        return TimeoutError(f"{path} is locked by another process")
    if code == sqlite3.SQLITE_FULL:
        return OSError(errno.ENOSPC, "no space is left on the disk", str(path))
    if code in _UNREACHABLE or is_broken(error):
        return OSError(errno.EIO, "the cache database cannot be read or written", str(path))
    return error


def _code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None  # the rest is detail
