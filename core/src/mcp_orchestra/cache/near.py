"""Decoded entries in the memory of this process, in front of a store that has to be waited for."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from mcp_orchestra.cache.entry import Kept
from mcp_orchestra.stores import TellsOfChanges

__all__ = ["NearCache"]

_MAX_BYTES = 64 * 1024 * 1024


class _Near(NamedTuple):
    kept: Kept
    read_at: float


class _Reading:
    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at


class NearCache:
    """Keeps what was read from the store for a while; thread-safe, and bounded in entries and in bytes (64 MiB).

    What others change in the store shows here once the store tells of it (`TellsOfChanges`), or else ``seconds`` after
    it was read. What this process changes has to be forgotten by whoever changes it.

    Args:
        max_entries: Those used least recently go first.
        seconds: How long an entry is good for while the store does not tell of changes.
        source: The store, if it does so.
        changed: Called, from any thread, after others have changed something.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        seconds: float,
        source: TellsOfChanges | None,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._source = source
        self._changed = changed
        self._clock = clock
        self._entries: OrderedDict[str, _Near] = OrderedDict()
        self._bytes = 0
        self._readings: dict[str, _Reading] = {}
        self._lock = Lock()

    def watch(self) -> None:
        """Have the store tell of changes, if it can; may raise what the store raises."""
        if self._source is not None:
            self._source.watch(self._told)

    def good_until(self, keys: Iterable[str]) -> float:
        """Return until when, on this object's clock, all of these are good even if the store tells of no changes."""
        with self._lock:
            read_at = [near.read_at if (near := self._entries.get(key)) else float("-inf") for key in keys]
        return min(read_at, default=self._clock()) + self._seconds

    def honours(self, until: float) -> bool:
        """Return whether what was good until then is good now."""
        return self._in_step() or self._clock() < until

    def find(self, keys: Iterable[str]) -> dict[str, Kept]:
        """Return what is here and may be used."""
        found: dict[str, Kept] = {}
        oldest = float("-inf") if self._in_step() else self._clock() - self._seconds
        with self._lock:
            for key in keys:
                if (near := self._entries.get(key)) is not None and near.read_at > oldest:
                    self._entries.move_to_end(key)
                    found[key] = near.kept
        return found

    def reading(self, keys: Sequence[str]) -> _Reading:
        """Note that the store is about to be asked for keys; what is forgotten meanwhile cannot be kept after.

        Returns:
            What `keep`, which ends the reading, wants to see.
        """
        token = _Reading(self._clock())
        with self._lock:
            for key in keys:
                self._readings[key] = token
        return token

    def keep(self, found: Mapping[str, Kept], keys: Sequence[str], token: _Reading | None) -> None:
        """End a reading of keys, and keep what was found."""
        with self._lock:
            for key in keys:
                if token is None or self._readings.get(key) is not token:
                    continue
                del self._readings[key]
                self._drop(key)
                if (kept := found.get(key)) is not None and kept.size <= _MAX_BYTES:
                    self._entries[key] = _Near(kept, token.begun_at)
                    self._bytes += kept.size
            while len(self._entries) > self._max_entries or self._bytes > _MAX_BYTES:
                self._drop(next(iter(self._entries)))

    def forget(self, key: str | None) -> None:
        """Drop an entry, or all for None, and whatever is being read for it."""
        with self._lock:
            if key is None:
                self._entries.clear()
                self._readings.clear()
                self._bytes = 0
            else:
                self._drop(key)
                self._readings.pop(key, None)

    def _in_step(self) -> bool:
        try:
            return self._source is not None and self._source.in_step()
        except Exception:  # noqa: BLE001  # a store may raise anything: it does not know then
            return False

    def _told(self, keys: Sequence[str] | None) -> None:
        for key in (None,) if keys is None else keys:
            self.forget(key)
        self._changed()

    def _drop(self, key: str) -> None:
        if (near := self._entries.pop(key, None)) is not None:
            self._bytes -= near.kept.size
