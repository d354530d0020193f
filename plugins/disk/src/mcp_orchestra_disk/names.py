"""The names of our files, and how to be rid of what else may stand under them."""

import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["BESIDE", "BROKEN", "DATABASE", "LOCK", "VERSION", "aside", "clear_away", "clear_foreign", "is_ours", "name"]

VERSION = 1
"""The version of the tables, and of what stands in them."""

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite adds to a database's name for its other files."""

BROKEN = ".broken-"


def name(version: int) -> str:
    """Return what the database is called: two versions on one directory never meet the other's.

    The first has the name that the tools of ``diskcache`` look for; all begin with it.
    """
    return "cache.db" if version == 1 else f"cache.db.v{version}"


DATABASE = name(VERSION)
LOCK = DATABASE + ".lock"


def is_ours(found: os.stat_result) -> bool:
    """Whether it is a file, and of this user's: not a link, a directory or a pipe."""
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def aside(path: Path) -> Path:
    """Return a new name for what is to be moved out of the way."""
    return path.with_name(f"{DATABASE}{BROKEN}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def clear_away(path: Path) -> None:
    """Delete what stands there, be it nothing; a directory is given another name."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        path.rename(aside(path))


def clear_foreign(path: Path) -> None:
    """Clear away what stands there unless it is a file of ours. Nothing that a link leads to is touched."""
    with suppress(FileNotFoundError):
        if not is_ours(path.lstat()):
            clear_away(path)
