"""ResourceCache: how long an answer may be served, how often that worked, and one fetch at a time for each key."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from mcp_orchestra.cache_entry import Entry, Fetched, decode, encode
from mcp_orchestra.copies import copy_data, copy_json
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.single_flight import Flight, SingleFlight
from mcp_orchestra.store_guard import StoreGuard, StoreTroubles
from mcp_orchestra.types import CacheStore, StoredEntry

__all__ = ["Fetched", "ResourceCache", "resources_key", "tools_key"]

_logger = logging.getLogger(__name__)

_LONGEST_TTL = 10**10  # three hundred years: more would cost the clock its fractions of a second
_EXPIRED = Entry({}, float("-inf"))

_Found = dict[str, dict[str, Any]]
_Answer = Callable[[], dict[str, Any]]
"""Makes a copy of an answer for each one who waited for it."""


def resources_key(server_id: str) -> str:
    """Return the key under which a server's gathered resources are kept."""
    return f"resources:{server_id}"


def tools_key(server_id: str) -> str:
    """Return the key under which a server's list of tools is kept."""
    return f"tools:{server_id}"


class ResourceCache:
    """Keeps resources for a while, over any store; thread-safe.

    An entry is served while its age is below the time to live. Whether it is fresh is decided here and never by the
    store. What is handed out is the caller's own: changing it does not change what is served. A store that fails,
    hangs or returns something strange is a miss, with one warning for each burst of failures.

    The synchronous methods are for any thread. With a ``blocking`` store they wait for it, at most ``store_timeout``.
    The asynchronous ones are for one event loop at a time.

    Args:
        ttl_seconds: Seconds for which an entry is served.
        store: Where the bytes live; it belongs to the cache from here on. By default the installed backend named
            ``memory``.
        blocking: Whether the store waits for a disk or a network; its calls are then made in a thread.
        clock: Seconds. Monotonic for a store that dies with the process, ``time.time`` for one that does not.
        store_timeout: Seconds to wait for a blocking store.

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
        found: _Found = self._guard.call(partial(self._read, keys), {})
        self._count_requests(keys, found)
        return found.get(key)

    def set(self, key: str, data: dict[str, Any]) -> None:
        """Keep the data under ``key`` for the time to live, replacing what was there.

        Raises:
            TypeError: The key is not a text, or the data would not come back equal after being written as JSON.
        """
        entry = Entry(data, self._clock() + self._ttl)
        value, _ = encode(_checked(key), entry)
        write = _Write(key, StoredEntry(value, entry.expires_at))
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
        found: _Found = await self._guard.acall(partial(self._read, distinct), {})
        self._count_requests(distinct, found)
        return found

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
        found: _Found = await self._guard.acall(partial(self._read, (key,)), {})
        if key in found:
            return partial(copy_json, found[key])
        fetched = await fetch()
        if not fetched.cacheable:
            return partial(copy_data, fetched.data)
        entry = Entry(fetched.data, self._clock() + self._ttl, fetched.ttl_ms, fetched.scope)
        try:
            value, data = encode(key, entry)
        except TypeError as problem:
            if key not in self._refused:
                self._refused.add(key)
                _logger.warning("not kept: %s", problem)
            return partial(copy_data, fetched.data)
        write = _Write(key, StoredEntry(value, entry.expires_at), flight)
        await self._guard.acall(partial(self._write, write), None)
        self._see_to(write)
        return partial(copy_json, data)

    def _read(self, keys: tuple[str, ...], store: CacheStore) -> _Found:
        """Return the fresh data under these keys; drop what is expired or was never stored by a cache."""
        stored = store.get_many(keys)
        now = self._clock()
        found: _Found = {}
        expired: list[str] = []
        junk: list[str] = []
        for key in keys:
            if (kept := stored.get(key)) is None:
                continue
            try:
                entry = decode(key, kept.value) if now < kept.expires_at else _EXPIRED
            except (ValueError, TypeError, AttributeError):
                junk.append(key)
                self._troubles.failed("an entry that is not what was stored")
                continue
            if entry is None:
                continue
            if now < entry.expires_at:
                found[key] = entry.data
            else:
                expired.append(key)
        if expired or junk:
            self._drop(store, expired, junk)
        return found

    def _drop(self, store: CacheStore, expired: list[str], junk: list[str]) -> None:
        try:
            store.delete_many(expired + junk)
        except Exception as error:  # noqa: BLE001  # a store that cannot write can still be read
            self._troubles.failed(type(error).__name__)
        else:
            self._count_evictions(len(expired))

    def _write(self, write: "_Write", store: CacheStore) -> None:
        write.begun = True
        # Asked at this point, where no other call can come between: an invalidation either shows here or deletes later.
        if write.flight is None or write.flight.current:
            try:
                evicted = _whole(store.set_many({write.key: write.entry}))
            except Exception:
                self._guard.condemn(write.key)
                raise
            self._count_evictions(evicted)

    def _see_to(self, write: "_Write") -> None:
        """See to it that what could not be replaced is not served any more."""
        if not write.begun:  # else `_write` has done so if need be, or will: it may only be slow
            self._guard.condemn(write.key)

    def _purge(self, store: CacheStore) -> int:
        removed = _whole(store.purge(self._clock()))
        self._count_evictions(removed)
        return removed

    def _count_items(self, store: CacheStore) -> int:
        return _whole(store.count(self._clock()))

    def _count_requests(self, keys: tuple[str, ...], found: _Found) -> None:
        with self._counters:
            self._hits += len(found)
            self._misses += len(keys) - len(found)

    def _count_evictions(self, number: int) -> None:
        with self._counters:
            self._evictions += number


@dataclass(slots=True)
class _Write:
    """An entry on its way into the store."""

    key: str
    entry: StoredEntry
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


def _whole(number: object) -> int:
    if isinstance(number, int) and number >= 0:
        return number
    raise TypeError("a store must return how many entries there were")


def _open_memory() -> tuple[CacheStore, bool]:
    from mcp_orchestra.plugins import PluginManager  # loads every plug-in, which only this needs

    plugins = PluginManager()
    plugins.discover()
    backend = plugins.cache_backend("memory")
    return backend.open(backend.options() if backend.options is not None else None), backend.blocking
