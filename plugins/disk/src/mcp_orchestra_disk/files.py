"""The files of a database: created for us alone, moved aside when broken, removed when in the way.

All of this happens under `mcp_orchestra_disk.directory.sole_access`. No existing database is ever opened and closed
here but by SQLite: closing it would release the locks that other connections of this process have on it.
"""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mcp_orchestra_disk.layout import create_tables

__all__ = ["Identity", "broken_files", "ensure_database", "identity_of", "move_aside", "remove_database"]

_BESIDE = ("-wal", "-shm", "-journal")
_BROKEN = ".broken-"
_BROKEN_KEPT = 3


class Identity(NamedTuple):
    """Tells a file from one that is put in its place later."""

    device: int
    inode: int


def identity_of(path: Path) -> Identity | None:
    """Return which file is there; None if there is none."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Identity(found.st_dev, found.st_ino)


def ensure_database(path: Path) -> Identity:
    """Create the database if it is not there, and close its files to others if it is.

    Returns:
        Which file it is.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is not None and not (stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()):
        _set_aside(path)  # a link, a directory or another user's file
        found = None
    if found is None:
        _create(path)
    for file in (path, *_beside(path)):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(file.lstat().st_mode) & 0o177:
                file.chmod(0o600)
    created = path.lstat()
    return Identity(created.st_dev, created.st_ino)


def move_aside(path: Path, broken: Identity | None) -> None:
    """Give a database another name, for somebody to look at, unless another process was faster.

    Args:
        path: The database.
        broken: Which file it was.
    """
    if broken is not None and identity_of(path) == broken:
        _set_aside(path)


def remove_database(path: Path, unwanted: Identity | None) -> None:
    """Delete a database unless it was replaced meanwhile. Who has it open still will notice and open the next one."""
    if unwanted is not None and identity_of(path) == unwanted:
        path.unlink()
        _remove_beside(path)


def broken_files(path: Path) -> list[Path]:
    """Return what was moved aside, oldest first."""
    with suppress(OSError):
        found = [file for file in path.parent.iterdir() if file.name.startswith(path.name + _BROKEN)]
        return sorted(file for file in found if not file.name.endswith(_BESIDE))
    return []


def _create(path: Path) -> None:
    """Create a database under another name first, so that nobody ever sees half of it."""
    _remove_beside(path)  # SQLite would take the log of a deleted database for that of the new one
    new = path.with_name(path.name + ".new")
    for left_behind in (new, *_beside(new)):
        left_behind.unlink(missing_ok=True)
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)  # whatever the umask is; SQLite gives its other files the same mode
    finally:
        os.close(file)
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            create_tables(connection)
        new.rename(path)
    except BaseException:
        for half_made in (new, *_beside(new)):
            half_made.unlink(missing_ok=True)
        raise


def _set_aside(path: Path) -> None:
    name = f"{path.name}{_BROKEN}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    path.rename(path.with_name(name))
    with suppress(FileNotFoundError):
        Path(f"{path}-wal").rename(path.with_name(f"{name}-wal"))
    _remove_beside(path)
    for old in broken_files(path)[:-_BROKEN_KEPT]:
        for file in (old, *_beside(old)):
            with suppress(OSError):
                file.unlink()


def _remove_beside(path: Path) -> None:
    for file in _beside(path):
        file.unlink(missing_ok=True)


def _beside(path: Path) -> list[Path]:
    return [Path(f"{path}{ending}") for ending in _BESIDE]
