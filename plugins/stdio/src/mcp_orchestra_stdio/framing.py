"""Cuts a stream of bytes into lines, in linear time and bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["CutLine", "Lines"]

_HEAD = 4096


@dataclass(frozen=True)
class CutLine:
    """A line that is longer than the limit: only its beginning was kept."""

    head: bytes


class Lines:
    """Collects chunks and yields each line once its end has arrived.

    Args:
        limit: The longest line to keep, in bytes without its end.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None
        """The beginning of the current line once it is too long."""

    def feed(self, chunk: bytes) -> Iterator[bytes | CutLine]:
        """Take the next chunk and yield the lines that it completes."""
        first, *others = chunk.split(b"\n")
        self._add(first)
        for piece in others:
            yield self._take()
            self._add(piece)

    def rest(self) -> bytes | CutLine | None:
        """Return the last line if its end is missing."""
        return self._take() if self._parts or self._head is not None else None

    def _add(self, piece: bytes) -> None:
        if not piece or self._head is not None:
            return
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            self._head = b"".join(self._parts)[:_HEAD]
            self._parts.clear()

    def _take(self) -> bytes | CutLine:
        line = b"".join(self._parts) if self._head is None else CutLine(self._head)
        self._parts.clear()
        self._size = 0
        self._head = None
        return line
