"""A bounded store in memory that forgets what was used least recently."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import TypeVar

from mcp_orchestra import StoredEntry, StoredObject

__all__ = ["MemoryStore"]

_KeptT = TypeVar("_KeptT", StoredEntry, StoredObject)


class MemoryStore:
    """Keeps entries, bytes or objects, in a dict: thread-safe, every look-up and every change in constant time.

    Args:
        max_entries: Entries to keep.
        max_bytes: Bytes to keep, keys and values together, without what the store needs around them (some 400 bytes an
            entry). An object counts as the memory it takes. A single entry that is larger is not kept, and nothing has
            to go for it.

    Raises:
        ValueError: A bound is below 1.
    """

    def __init__(self, *, max_entries: int = 10_000, max_bytes: int = 256 * 1024 * 1024) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ValueError("max_entries and max_bytes must be at least 1")
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, StoredEntry | StoredObject] = OrderedDict()  # used least recently first
        self._bytes = 0
        self._lock = Lock()

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        """Return the bytes that are there, expired or not; they count as used now."""
        return self._find(keys, StoredEntry)

    def get_objects(self, keys: Sequence[str]) -> dict[str, StoredObject]:
        """Return the objects that are there, as `get_many` does."""
        return self._find(keys, StoredObject)

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        """Store the entries one after the other and return how many had to go to make room."""
        return self._keep(entries)

    def set_objects(self, entries: Mapping[str, StoredObject]) -> int:
        """Store objects, as `set_many` does."""
        return self._keep(entries)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries under these keys and return how many there were."""
        with self._lock:
            return sum([self._drop(key) for key in keys])

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``."""
        with self._lock:
            return sum([entry.expires_at > now for entry in self._entries.values()])

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were."""
        with self._lock:
            return sum([self._drop(key) for key in [k for k, e in self._entries.items() if e.expires_at <= now]])

    def close(self) -> None:
        """Give the memory back."""
        self.clear()

    def _find(self, keys: Sequence[str], kind: type[_KeptT]) -> dict[str, _KeptT]:
        found: dict[str, _KeptT] = {}
        entries = self._entries
        with self._lock:
            for key in keys:
                if isinstance(entry := entries.get(key), kind):
                    entries.move_to_end(key)
                    found[key] = entry
        return found

    def _keep(self, entries: Mapping[str, StoredEntry] | Mapping[str, StoredObject]) -> int:
        evicted = 0
        with self._lock:
            for key, entry in entries.items():
                self._drop(key)  # also if the new one is too large: the old one must not be served instead
                size = _size(key, entry)
                if size > self._max_bytes:
                    continue
                while len(self._entries) >= self._max_entries or self._bytes + size > self._max_bytes:
                    self._drop(next(iter(self._entries)))
                    evicted += 1
                self._entries[key] = entry
                self._bytes += size
        return evicted

    def _drop(self, key: str) -> bool:
        if (entry := self._entries.pop(key, None)) is None:
            return False
        self._bytes -= _size(key, entry)
        return True


def _size(key: str, entry: StoredEntry | StoredObject) -> int:
    size = entry.size if isinstance(entry, StoredObject) else len(entry.value)
    return len(key if key.isascii() else key.encode("utf-8", "surrogatepass")) + size
