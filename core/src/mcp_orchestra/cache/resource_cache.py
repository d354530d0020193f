"""ResourceCache: how long an answer may be served, how often that worked, and one fetch at a time for each key."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, cast

from mcp_orchestra.cache.entry import Entry, Fetched, decode, decode_data, encode, pack, unpack
from mcp_orchestra.cache.guard import Reading, StoreGuard, StoreTroubles
from mcp_orchestra.cache.single_flight import Flight, SingleFlight
from mcp_orchestra.copies import Original, copy_data
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.stores import CacheStore, KeepsObjects, StoredEntry

__all__ = ["ResourceCache"]

_logger = logging.getLogger(__name__)

_LONGEST_TTL = 10**10  # three hundred years: more would cost the clock its fractions of a second
_EXPIRED = Entry({}, 0.0, float("-inf"))
_CLOCK_SKEW = 1.0  # seconds: so far may the clocks of hosts that share a store be apart

_Answer = Callable[[], dict[str, Any]]
"""Makes a copy of an answer for each one who waited for it."""
_Found = dict[str, _Answer]


class ResourceCache:
    """Keeps resources for a while, over any store; thread-safe.

    An entry is served while its age is below the time to live. Whether it is fresh is decided here and never by the
    store. What is handed out is the caller's own: changing it does not change what is served. A store that fails,
    hangs or returns something strange is a miss, with one warning for each burst of failures.

    Which values can be kept depends on the store. One in the memory of this process, as the default is, keeps objects:
    whatever can be copied, and nothing has to be encoded or decoded for it (`KeepsObjects`). Any other keeps bytes, and
    takes what JSON can hold: anything that could restore more from bytes, such as pickle, could also run code that
    somebody put there.

    The synchronous methods are for any thread. With a ``blocking`` store they wait for it, within ``store_timeout``.
    The asynchronous ones are for one event loop at a time.

    Args:
        ttl_seconds: Seconds for which an entry is served.
        store: Where the entries live; it belongs to the cache from here on. By default the installed backend named
            ``memory``.
        blocking: Whether the store waits for a disk or a network; its calls are then made in a thread.
        clock: Seconds. Monotonic for a store that dies with the process, ``time.time`` for one that does not.
        store_timeout: Seconds that a call to a blocking store may take. It may wait four times as long for its turn
            while the store is busy with others; look-ups that wait are then made together.

    Raises:
        ValueError: ``ttl_seconds`` is not a number above 0 (and at most 10 ** 10).
        PluginError: No store was given and no backend named ``memory`` is installed.
    """

    def __init__(
        self,
        ttl_seconds: int = 300,
        *,
        store: CacheStore | None = None,
        blocking: bool = False,
        clock: Callable[[], float] = time.monotonic,
        store_timeout: float = 0.25,
    ) -> None:
        self._ttl = _positive_seconds(ttl_seconds)
        self._clock = clock
        if store is None:
            store, blocking = _open_memory()
        self._store = store
        self._objects = store if isinstance(store, KeepsObjects) else None
        self._troubles = StoreTroubles(f"the cache store {type(store).__name__}", clock)
        self._guard = StoreGuard(store, blocking=blocking, timeout=store_timeout, troubles=self._troubles)
        self._flights: SingleFlight[_Answer] = SingleFlight()
        self._counters = Lock()
        self._hits = self._misses = self._evictions = 0
        self._refused: set[str] = set()

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called: nothing is kept or found any more."""
        return self._guard.closed

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the data under ``key`` if it is fresh, else None; counts a hit or a miss.

        An expired entry is dropped, which counts as an eviction.

        Raises:
            TypeError: The key is not a text.
        """
        keys = (_checked(key),)
        return self._hand_out(keys, self._guard.call(Reading(keys, self._read), {})).get(key)

    def set(self, key: str, data: dict[str, Any]) -> None:
        """Keep the data under ``key`` for the time to live, replacing what was there.

        What is being fetched for the key at this moment is older: it is handed out but not kept.

        Raises:
            TypeError: The key is not a text, or the data not a dict that the store can keep: one that can be copied for
                a store in memory, for another one that would come back equal after being written as JSON.
        """
        now = self._clock()
        write, _ = self._encoded(_checked(key), Entry(data, now, now + self._ttl))
        self._flights.forget(key)
        self._guard.call(partial(self._write, write), None)
        self._see_to(write)

    def invalidate(self, key: str | None = None) -> None:
        """Drop the entry under ``key``, or all entries for None.

        What is being fetched at this moment is handed out but not kept. Holds even while the store is out of order.
        On an event loop a blocking store is not waited for. Counts no eviction.

        Raises:
            TypeError: The key is neither a text nor None.
        """
        self._flights.forget(key if key is None else _checked(key))
        self._guard.discard(key)

    def get_stats(self) -> dict[str, Any]:
        """Return the statistics since the cache was made.

        Returns:
            ``hits``, ``misses``, ``evictions`` (entries dropped because they were expired or for want of room),
            ``total_requests``, ``hit_rate`` (text, such as ``"78.95%"``), ``cached_items`` (fresh entries), and
            ``errors`` (failed calls to the store, and entries that were not what had been stored).
        """
        items = self._guard.call(self._count_items, 0)
        with self._counters:
            hits, misses, evictions = self._hits, self._misses, self._evictions
        total = hits + misses
        return {
            "hits": hits,
            "misses": misses,
            "evictions": evictions,
            "total_requests": total,
            "hit_rate": f"{hits / total:.2%}" if total else "0.00%",
            "cached_items": items,
            "errors": self._troubles.count,
        }

    def cleanup_expired(self) -> int:
        """Drop all expired entries, count them as evictions and return how many there were."""
        return self._guard.call(self._purge, 0)

    async def lookup(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is fresh of ``keys`` in one call to the store; counts a hit or a miss for each distinct key."""
        distinct = tuple(dict.fromkeys(keys))
        return self._hand_out(distinct, await self._guard.acall(Reading(distinct, self._read), {}))

    async def fetch(self, key: str, fetch: Callable[[], Awaitable[Fetched]]) -> dict[str, Any]:
        """Return the answer for a key that `lookup` did not find, and keep it.

        However many ask at once, ``fetch`` runs once, and goes on while anybody waits for it. A failure reaches all of
        them and is not kept. Counts neither hit nor miss.

        Raises:
            MCPConnectionError: The cache was closed.
            ResourceFetchError: The fetch was cancelled from outside.
            Exception: A copy of what ``fetch`` raised.
        """
        answer = await self._flights.run(_checked(key), partial(self._fetch, key, fetch))
        return answer()

    async def aclose(self) -> None:
        """Cancel what is being fetched and close the store; from here on everything is a miss."""
        await self._flights.aclose(MCPConnectionError("the orchestrator was closed", {"cause": "closed"}))
        await self._guard.aclose()

    async def _fetch(self, key: str, fetch: Callable[[], Awaitable[Fetched]], flight: Flight[_Answer]) -> _Answer:
        # An earlier flight may have landed between this caller's look-up and now.
        found: _Found = await self._guard.acall(Reading((key,), self._read, shared=True), {})
        if key in found:
            return found[key]
        fetched = await fetch()
        if not fetched.cacheable:
            return partial(copy_data, fetched.data)
        now = self._clock()
        try:
            entry = Entry(fetched.data, now, now + self._ttl, fetched.ttl_ms, fetched.scope)
            write, data = self._encoded(key, entry, flight)
        except TypeError as problem:
            if key not in self._refused:
                self._refused.add(key)
                _logger.warning("not kept: %s", problem)
            return partial(copy_data, fetched.data)
        await self._guard.acall(partial(self._write, write), None)
        self._see_to(write)
        return Original(data).copy

    def _encoded(
        self, key: str, entry: Entry, flight: Flight[_Answer] | None = None
    ) -> "tuple[_Write, dict[str, Any]]":
        """Return what is to be written, and the data as it will be read."""
        if (objects := self._objects) is not None:
            stored, data = pack(key, entry)
            return _Write(key, lambda: objects.set_objects({key: stored}), flight), data
        value, data = encode(key, entry)
        return _Write(key, lambda: self._store.set_many({key: StoredEntry(value, entry.expires_at)}), flight), data

    def _read(self, keys: tuple[str, ...], shared: bool, store: CacheStore) -> _Found:
        """Return the fresh data under these keys; drop what is expired or was never stored by a cache.

        Each answer may be taken once, or if it is shared as often as there are takers.
        """
        stored = store.get_many(keys) if self._objects is None else self._objects.get_objects(keys)
        now = self._clock()
        found: _Found = {}
        expired: list[str] = []
        junk: list[str] = []
        for key in keys:
            if (kept := stored.get(key)) is None:
                continue
            try:
                opened = self._opened(key, kept.value, shared) if now < kept.expires_at else (_EXPIRED, dict)
            except (ValueError, TypeError, AttributeError):
                junk.append(key)
                self._troubles.failed("an entry that is not what was stored")
                continue
            if opened is None:
                continue
            entry, answer = opened
            # A time to live that was longer when the entry was stored, and a clock that was put back, must not matter.
            if now < entry.expires_at and -_CLOCK_SKEW <= now - entry.stored_at < self._ttl:
                found[key] = answer
            else:
                expired.append(key)
        if expired or junk:
            self._drop(store, expired, junk)
        return found

    def _opened(self, key: str, value: object, shared: bool) -> tuple[Entry, _Answer] | None:
        if self._objects is not None:
            kept = unpack(key, value)
            return kept.entry, kept.original.copy
        value = cast("bytes", value)
        entry = decode(key, value)
        if entry is None:
            return None
        # Decoding anew takes no longer than copying, unless the copies are many.
        return entry, partial(decode_data, value) if shared else partial(_itself, entry.data)

    def _hand_out(self, keys: tuple[str, ...], found: _Found) -> dict[str, dict[str, Any]]:
        """Return copies of what was asked for, and count hits and misses."""
        answers: dict[str, dict[str, Any]] = {}
        for key in keys:
            if (answer := found.get(key)) is not None:
                try:
                    answers[key] = answer()
                except Exception as error:  # noqa: BLE001  # a value's own __deepcopy__ may raise anything
                    self._guard.condemn(key)
                    self._troubles.failed("an entry that cannot be copied any more", error)
        with self._counters:
            self._hits += len(answers)
            self._misses += len(keys) - len(answers)
        return answers

    def _drop(self, store: CacheStore, expired: list[str], junk: list[str]) -> None:
        try:
            store.delete_many(expired + junk)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a store that cannot write can still be read
            self._troubles.failed(type(error).__name__, error)
        else:
            self._count_evictions(len(expired))

    def _write(self, write: "_Write", store: CacheStore) -> None:
        write.begun = True
        # Asked at this point, where no other call can come between: an invalidation either shows here or deletes later.
        if write.flight is None or write.flight.current:
            try:
                evicted = write.put()
            except BaseException:
                self._guard.condemn(write.key)
                raise
            method = "set_many" if self._objects is None else "set_objects"
            self._count_evictions(self._whole(method, "evicted", evicted))

    def _see_to(self, write: "_Write") -> None:
        """See to it that what could not be replaced is not served any more."""
        if not write.begun:  # else `_write` has done so if need be, or will: it may only be slow
            self._guard.condemn(write.key)

    def _purge(self, store: CacheStore) -> int:
        removed = self._whole("purge", "removed", store.purge(self._clock()))
        self._count_evictions(removed)
        return removed

    def _count_items(self, store: CacheStore) -> int:
        return self._whole("count", "fresh", store.count(self._clock()))

    def _whole(self, method: str, which: str, number: object) -> int:
        """Return a number that a store returned, 0 for one that is none: what it was asked to do is done."""
        if isinstance(number, int) and number >= 0:
            return number
        found = "a negative number" if isinstance(number, int) else type(number).__name__
        self._troubles.failed(f"{method} must return how many entries were {which}, not {found}")
        return 0

    def _count_evictions(self, number: int) -> None:
        with self._counters:
            self._evictions += number


@dataclass(slots=True)
class _Write:
    """An entry on its way into the store."""

    key: str
    put: Callable[[], object]
    """Gives it to the store."""
    flight: Flight[_Answer] | None = None
    """Where it comes from, if it was fetched."""
    begun: bool = False


def _positive_seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LONGEST_TTL:
        return float(value)
    raise ValueError(f"ttl_seconds must be a number of seconds above 0, at most {_LONGEST_TTL}, not {value!r}")


def _checked(key: str) -> str:
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise TypeError(f"a cache key must be a str, not {type(key).__name__}")
    return key


def _itself(data: dict[str, Any]) -> dict[str, Any]:
    return data


def _open_memory() -> tuple[CacheStore, bool]:
    from mcp_orchestra.plugins import PluginManager  # needs pluggy, and who brings a store of his own does not

    plugins = PluginManager(only=("memory",))
    plugins.discover()
    backend = plugins.cache_backend("memory")
    return backend.open(backend.options() if backend.options is not None else None), backend.blocking
