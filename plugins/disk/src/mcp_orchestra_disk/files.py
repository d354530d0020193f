"""The files of a database: created for us alone, moved aside when broken, removed when in the way.

All of this happens under `mcp_orchestra_disk.directory.sole_access`. No existing database is ever opened and closed
here but by SQLite: closing it would release the locks that other connections of this process have on it.
"""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from mcp_orchestra_disk.layout import create_tables
from mcp_orchestra_disk.names import BESIDE, BROKEN, aside, clear_away, clear_foreign, is_ours

__all__ = [
    "Identity",
    "broken_files",
    "close_to_others",
    "ensure_database",
    "identity_of",
    "move_aside",
    "remove_broken_files",
    "remove_database",
]


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
    """Create the database if it is not there, and make sure that its files are files of ours.

    SQLite would follow a link in the place of its log, and write to where it leads.

    Returns:
        Which file it is.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is not None and not is_ours(found):
        _set_aside(path)  # a link, a directory or another user's file
        found = None
    if found is None:
        _create(path)
    for file in _beside(path):
        clear_foreign(file)
    created = path.lstat()
    return Identity(created.st_dev, created.st_ino)


def close_to_others(path: Path) -> None:
    """Let nobody else read the files of the database: only once it is known to be ours."""
    for file in (path, *_beside(path)):
        # Linux says of a link that was put there just now that it is not implemented.
        with suppress(FileNotFoundError, NotImplementedError):
            if stat.S_IMODE(file.lstat().st_mode) & 0o177:
                # Not with fchmod: closing the file would release the locks that SQLite has on it.
                os.chmod(file, 0o600, follow_symlinks=False)  # noqa: PTH101  # Path.chmod has the same, by another name


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
        found = [file for file in path.parent.iterdir() if file.name.startswith(path.name + BROKEN)]
        return sorted(file for file in found if not file.name.endswith(BESIDE))
    return []


def remove_broken_files(path: Path, keep: int = 0) -> int:
    """Delete what was moved aside, but for the newest ones, and return how many it were; a directory stays."""
    files = broken_files(path)
    removed = 0
    for old in files[: len(files) - keep]:
        with suppress(OSError):
            old.unlink()
            removed += 1
        for file in _beside(old):
            with suppress(OSError):
                file.unlink()
    return removed


def _create(path: Path) -> None:
    """Create a database under another name first, so that nobody ever sees half of it."""
    _remove_beside(path)  # SQLite would take the log of a deleted database for that of the new one
    new = path.with_name(path.name + ".new")
    for left_behind in (new, *_beside(new)):
        clear_away(left_behind)
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
    new = aside(path)
    path.rename(new)
    with suppress(FileNotFoundError):
        Path(f"{path}-wal").rename(f"{new}-wal")
    _remove_beside(path)
    remove_broken_files(path, keep=1)


def _remove_beside(path: Path) -> None:
    for file in _beside(path):
        clear_away(file)


def _beside(path: Path) -> list[Path]:
    return [Path(f"{path}{ending}") for ending in BESIDE]
