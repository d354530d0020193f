"""Reads small text files, and says in our own words why one cannot be read."""

import errno
import os
import stat
from pathlib import Path

from mcp_orchestra.config.tree import mark_at

__all__ = ["FileProblemError", "Stamp", "read_text", "stamp_of"]

Stamp = tuple[int, int, int]
"""What a file looks like from outside: changes when it is changed or replaced."""


class FileProblemError(Exception):
    """A file cannot be used.

    Args:
        reason: What is wrong with it: the rest of a sentence that starts with the file's name.
        line: Where in the file, if it is its content that is wrong.
        column: Likewise.
    """

    def __init__(self, reason: str, line: int | None = None, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def stamp_of(path: Path) -> Stamp | None:
    """Return what a file looks like from outside, or None if it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_text(path: Path, max_bytes: int) -> str:
    """Read a regular UTF-8 file, with or without a byte order mark.

    Args:
        path: The file.
        max_bytes: How large it may be, in bytes; more is not read.

    Raises:
        FileProblemError: The file is missing, a directory, a pipe or device, unreadable, too large or not UTF-8.
    """
    reason = ""
    data = b""
    try:
        data = _read(path, max_bytes)
    except FileNotFoundError:
        reason = "does not exist"
    except PermissionError:
        reason = "may not be read by this user"
    except OSError as error:
        reason = f"cannot be read ({errno.errorcode.get(error.errno or 0, 'input/output error')})"
    except ValueError:  # a null byte in the name
        reason = "does not exist"
    if reason:
        raise FileProblemError(reason)
    return _decode(data)


def _read(path: Path, max_bytes: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise FileProblemError("is a directory; expected a file")
        if not stat.S_ISREG(mode):
            raise FileProblemError("is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise FileProblemError(f"is larger than {max_bytes:,} bytes".replace(",", " "))
    return data


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileProblemError("is UTF-16; save it as UTF-8")
    before = data[:start].decode("utf-8-sig")
    raise FileProblemError("is not UTF-8 here; save it as UTF-8", *mark_at(before, len(before)))
