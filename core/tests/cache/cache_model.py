"""What a cache has to find and to count, in a dict: it knows nothing of bytes, locks, leases or stores."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SKEW = 1.0


@dataclass
class Known:
    """An entry."""

    data: dict[str, Any]
    stored_at: float
    expires_at: float
    outdated: bool = False
    doomed: bool = False
    """Whether it is to be outdated as soon as the store is back."""


@dataclass
class Model:
    """What is kept, in the order of last use.

    ``sweeping`` says that an expired entry is left alone by all but the look-up of a single key, as it is where a lease
    says who replaces it.
    """

    room: int
    ttl: float
    max_stale: float
    swr: float
    strict: bool
    sweeping: bool
    entries: OrderedDict[str, Known] = field(default_factory=OrderedDict)
    evictions: int = 0

    @property
    def retention(self) -> float:
        return max(self.max_stale, self.swr)

    def is_dated(self, entry: Known, now: float) -> bool:
        """Return whether its age is known: an entry of the future has none."""
        return now - entry.stored_at >= -SKEW

    def is_fresh(self, entry: Known, now: float) -> bool:
        return self.is_dated(entry, now) and not entry.outdated and now < entry.expires_at

    def helps_refreshing(self, entry: Known, now: float) -> bool:
        return self.is_dated(entry, now) and not entry.outdated and now < entry.expires_at + self.swr

    def helps_failing(self, entry: Known, now: float) -> bool:
        return self.is_dated(entry, now) and now < entry.expires_at + self.max_stale

    def is_useful(self, entry: Known, now: float) -> bool:
        return (
            now < entry.expires_at + self.retention
            and self.is_dated(entry, now)
            and (self.is_fresh(entry, now) or self.helps_refreshing(entry, now) or self.helps_failing(entry, now))
        )

    def look(self, keys: Iterable[str], now: float) -> dict[str, Known]:
        """Return the useful entries under the keys, and do what looking does."""
        here = [key for key in keys if key in self.entries]
        for key in here:
            self.entries.move_to_end(key)
        found = {}
        for key in here:
            entry = self.entries[key]
            if self.is_useful(entry, now):
                found[key] = entry
            elif not self.sweeping:
                del self.entries[key]
                self.evictions += 1
        return found

    def sweep(self, key: str, now: float) -> None:
        """Do what the look-up of a single key does that found nothing, where expired entries are left alone."""
        entry = self.entries.get(key)
        if self.sweeping and entry is not None and now >= entry.expires_at + self.retention:
            del self.entries[key]
            self.evictions += 1

    def keep(self, key: str, data: dict[str, Any], now: float, ttl_ms: int | None = None) -> None:
        self.entries.pop(key, None)
        while len(self.entries) >= self.room:
            self.entries.popitem(last=False)
            self.evictions += 1
        self.entries[key] = Known(data, now, now + (ttl_ms / 1000 if ttl_ms else self.ttl))

    def keeps(self, ttl_ms: int | None) -> bool:
        return bool(ttl_ms) or not self.strict

    def outdate(self, key: str, now: float, said_at: float) -> None:
        """Outdate an entry; what is said while the store is down is done when it is back."""
        entry = self.entries.pop(key, None)
        if entry is None or not self.max_stale:
            return
        if self.helps_failing(entry, now):
            self.entries[key] = Known(entry.data, entry.stored_at, min(entry.expires_at, said_at), outdated=True)
        elif not self.sweeping and not self.is_useful(entry, now):
            self.evictions += 1  # it was found expired, and did not have to be outdated

    def expired(self, now: float) -> list[str]:
        return [key for key, entry in self.entries.items() if entry.expires_at + self.retention <= now]

    def live(self, now: float) -> int:
        return sum(now < entry.expires_at for entry in self.entries.values())
