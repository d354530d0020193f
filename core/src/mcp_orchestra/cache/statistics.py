"""Counts what a cache does: in total, and for each server."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from mcp_orchestra.cache.keys import server_of

__all__ = ["Statistics", "Tally"]


@dataclass(slots=True)
class Tally:
    """What is counted of one server."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    expired: int = 0
    fetches: int = 0
    fetches_saved: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class Statistics:
    """Counters; thread-safe.

    Args:
        servers: The ids of the servers that are counted on their own; every other key counts in the totals only.
    """

    def __init__(self, servers: Iterable[str] = ()) -> None:
        self._servers = {server_id: Tally() for server_id in servers}
        self._others = Tally()
        self._for_room = 0
        self._lock = Lock()

    def count(self, servers: Iterable[str]) -> None:
        """Count these servers on their own from now on; what was counted of others stays in the totals."""
        with self._lock:
            before = self._servers
            self._servers = {server_id: before.get(server_id) or Tally() for server_id in servers}
            for tally in (before[server_id] for server_id in before.keys() - self._servers.keys()):
                for name in Tally.__slots__:
                    setattr(self._others, name, getattr(self._others, name) + getattr(tally, name))

    def looked_up(self, keys: Iterable[str], found: Iterable[str], stale: Iterable[str] = ()) -> None:
        """Count a hit for each key that was found and a miss for each other; which of the found were stale."""
        with self._lock:
            for key in keys:
                self._tally(key).misses += 1
            for key in found:
                tally = self._tally(key)
                tally.hits += 1
                tally.misses -= 1
            for key in stale:
                self._tally(key).stale += 1

    def tallies(self, keys: Iterable[str]) -> tuple[Tally, ...]:
        """Return where each key is counted."""
        return tuple(map(self._tally, keys))

    def hit(self, tallies: Iterable[Tally]) -> None:
        """Count a hit for each."""
        with self._lock:
            for tally in tallies:
                tally.hits += 1

    def served_stale(self, key: str) -> None:
        """Count a stale answer after a failed fetch."""
        with self._lock:
            self._tally(key).stale += 1

    def expired(self, keys: Iterable[str]) -> None:
        """Count entries that were dropped because their time was over."""
        with self._lock:
            for key in keys:
                self._tally(key).expired += 1

    def purged(self, number: int) -> None:
        """Count entries that the store dropped because their time was over."""
        with self._lock:
            self._others.expired += number

    def evicted(self, number: int) -> None:
        """Count entries that the store dropped for want of room."""
        if number:
            with self._lock:
                self._for_room += number

    def fetched(self, key: str) -> None:
        """Count a fetch."""
        with self._lock:
            self._tally(key).fetches += 1

    def fetch_saved(self, key: str) -> None:
        """Count a fetch that was not necessary, because another one was under way or just done."""
        with self._lock:
            self._tally(key).fetches_saved += 1

    def read(self, key: str, size: int) -> None:
        """Count bytes that came from the store."""
        with self._lock:
            self._tally(key).bytes_read += size

    def written(self, key: str, size: int) -> None:
        """Count bytes that went to the store."""
        with self._lock:
            self._tally(key).bytes_written += size

    def report(self, cached_items: int) -> dict[str, Any]:
        """Return all counters, those of the API document first, of which the number of fresh entries is one."""
        with self._lock:
            tallies = [self._others, *self._servers.values()]
            total = Tally(*(sum(getattr(t, name) for t in tallies) for name in Tally.__slots__))
            room = self._for_room
            servers = {server_id: _with_rate(asdict(tally)) for server_id, tally in self._servers.items()}
        counted = asdict(total)
        expired = counted.pop("expired")
        return {
            "hits": counted.pop("hits"),
            "misses": counted.pop("misses"),
            "evictions": expired + room,
            "total_requests": total.hits + total.misses,
            "hit_rate": _rate(total.hits, total.misses),
            "cached_items": cached_items,
            "evictions_by_cause": {"expired": expired, "room": room},
            **counted,
            "servers": servers,
        }

    def _tally(self, key: str) -> Tally:
        return self._servers.get(server_of(key), self._others)


def _rate(hits: int, misses: int) -> str:
    return f"{hits / (hits + misses):.2%}" if hits + misses else "0.00%"


def _with_rate(tally: dict[str, Any]) -> dict[str, Any]:
    return tally | {"hit_rate": _rate(tally["hits"], tally["misses"])}
