"""Takes out of a store what was asked for, and sorts it by what it is good for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from mcp_orchestra.cache.entry import Entry, Kept, decode, kept, unpack
from mcp_orchestra.cache.freshness import Freshness, Standing
from mcp_orchestra.stores import CacheStore, KeepsObjects, StoredEntry, StoredObject

__all__ = ["Found", "Sorted", "Sorter"]


class Found(NamedTuple):
    """An entry that was found and is good for something."""

    entry: Entry
    standing: Standing
    copy: Callable[[], dict[str, Any]]
    """Makes a copy of the data for one who may change it; if nobody else can have it, this is the data itself."""
    size: int
    """How many bytes it takes in the store, about."""


class Sorted(NamedTuple):
    """What was found in the store, by what it is good for."""

    found: dict[str, Found]
    near: dict[str, Kept]
    """Decoded entries, by the keys under which they are stored."""
    expired: list[str]
    junk: list[str]


class Sorter:
    """Looks into a store, and changes and counts nothing.

    Args:
        objects: The store, if it keeps objects.
        freshness: What may be done with an entry.
        clock: Seconds.
        near: Whether decoded entries are kept in front of the store.
    """

    def __init__(
        self, objects: KeepsObjects | None, *, freshness: Freshness, clock: Callable[[], float], near: bool
    ) -> None:
        self._objects = objects
        self._freshness = freshness
        self._clock = clock
        self._near = near

    def apply(self, freshness: Freshness) -> None:
        """Go by other rules from now on."""
        self._freshness = freshness

    def look(self, names: Mapping[str, str], shared: bool, store: CacheStore) -> Sorted:
        """Return what there is, by its keys.

        Args:
            names: The keys under which it is stored, by its keys.
            shared: Whether several will copy what is found.
            store: Where it is.
        """
        wanted = tuple(names.values())
        stored: Mapping[str, StoredEntry | StoredObject] = (
            self._objects.get_objects(wanted) if self._objects is not None else store.get_many(wanted)
        )
        now = self._clock()
        result = Sorted({}, {}, [], [])
        for key, name in names.items():
            if (raw := stored.get(name)) is None:
                continue
            try:
                if not now < raw.expires_at:  # in this way, because it may be no number
                    result.expired.append(key)
                    continue
                if (opened := self._opened(name, raw, shared)) is None:
                    continue
            except (ValueError, TypeError, AttributeError):
                result.junk.append(key)
                continue
            one, near = opened
            if not one.standing.useful:
                result.expired.append(key)
                continue
            result.found[key] = one
            if near is not None:
                result.near[name] = near
        return result

    def judged(self, opened: Kept, now: float) -> Found:
        """Return a decoded entry with what may be done with it."""
        return Found(opened.entry, self._freshness.standing(opened.entry, now), opened.original.copy, opened.size)

    def _opened(self, name: str, raw: StoredEntry | StoredObject, shared: bool) -> tuple[Found, Kept | None] | None:
        """Return what was found and what of it to keep near; None if another version of this library wrote it."""
        now = self._clock()
        if self._objects is not None:
            return self.judged(unpack(name, raw.value), now), None
        value = cast("bytes", raw.value)
        if (entry := decode(name, value)) is None:
            return None
        if not self._near and not shared:
            return Found(entry, self._freshness.standing(entry, now), partial(_itself, entry.data), len(value)), None
        back = kept(name, entry, adopt=True)
        return self.judged(back, now)._replace(size=len(value)), back


def _itself(data: dict[str, Any]) -> dict[str, Any]:
    return data
