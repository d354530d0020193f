"""ResourceCache: how long an answer may be served, how often that worked, and one fetch at a time for each key."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mcp_orchestra.cache.abilities import Abilities
from mcp_orchestra.cache.answer import Answer
from mcp_orchestra.cache.arguments import checked_key, checked_ttl
from mcp_orchestra.cache.default_store import open_default
from mcp_orchestra.cache.entry import Entry
from mcp_orchestra.cache.fetching import Fetch, Fetching
from mcp_orchestra.cache.freshness import Freshness
from mcp_orchestra.cache.guard import StoreGuard
from mcp_orchestra.cache.leases import Leases
from mcp_orchestra.cache.near import NearCache
from mcp_orchestra.cache.refreshing import Refreshing
from mcp_orchestra.cache.shelf import Shelf
from mcp_orchestra.cache.sorting import Found
from mcp_orchestra.cache.statistics import Statistics
from mcp_orchestra.cache.tickets import Ticket, Tickets
from mcp_orchestra.cache.troubles import StoreTroubles
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.stores import CacheStore

__all__ = ["ResourceCache"]

_PATIENCE_SECONDS = 30.0


class ResourceCache:
    """Keeps resources for a while, over any store; thread-safe.

    An entry is served while its age is below its time to live. Whether it is fresh is decided here and never by the
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
        freshness: Rules beyond ``ttl_seconds``: hints, stale answers, jitter.
        near_entries: Decoded entries to keep in memory in front of a blocking store; 0 for none.
        near_seconds: Seconds for which those are good if the store cannot tell what other processes change.
        partitions: For servers by id: a text that divides their entries from those of others who share the store and
            reach the same servers with other rights. These servers are also counted on their own.

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
        freshness: Freshness | None = None,
        near_entries: int = 1000,
        near_seconds: float = 1.0,
        partitions: Mapping[str, str] | None = None,
    ) -> None:
        self._freshness = replace(freshness or Freshness(), ttl=checked_ttl(ttl_seconds))
        self._clock = clock
        if store is None:
            store, blocking = open_default()
        self._abilities = Abilities.of(store)
        self._statistics = Statistics(partitions or ())
        self._troubles = StoreTroubles(f"the cache store {type(store).__name__}", clock)
        self._guard = StoreGuard(store, blocking=blocking, timeout=store_timeout, troubles=self._troubles, clock=clock)
        self._tickets = Tickets(clock)
        near = None
        if blocking and near_entries:
            near = NearCache(
                max_entries=near_entries,
                seconds=near_seconds,
                source=self._abilities.changes,
                changed=self._tickets.revoke,
            )
            self._guard.send(lambda _: near.watch())
        self._near = near
        self._in_memory = self._abilities.objects is not None and not blocking
        leases = Leases(self._abilities.leases, self._guard)
        self._shelf = Shelf(
            store,
            self._abilities,
            self._guard,
            near,
            freshness=self._freshness,
            clock=clock,
            statistics=self._statistics,
            troubles=self._troubles,
            partitions=partitions or {},
            holder_of=leases.holder_of,
        )
        self._fetching = Fetching(
            self._shelf,
            leases,
            self._guard,
            freshness=self._freshness,
            clock=clock,
            statistics=self._statistics,
            stored=self._tickets.revoke,
        )
        self._refreshing = Refreshing()
        self._counted = 0

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called: nothing is kept or found any more."""
        return self._guard.closed

    @property
    def serves_stale(self) -> bool:
        """Whether entries beyond their time to live may be served while their server fails."""
        return self._freshness.max_stale > 0

    def apply(self, ttl_seconds: int, freshness: Freshness, partitions: Mapping[str, str]) -> None:
        """Go by other rules from now on, for what is there already, too."""
        self._freshness = replace(freshness, ttl=checked_ttl(ttl_seconds))
        self._shelf.apply(self._freshness, partitions)
        self._fetching.apply(self._freshness)
        self._statistics.count(partitions)
        self._tickets.revoke()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the data under ``key`` if it is fresh, else None; counts a hit or a miss.

        An expired entry is dropped, which counts as an eviction, unless it may still be served as stale.

        Raises:
            TypeError: The key is not a text.
        """
        keys = (checked_key(key),)
        answers = self._answers(self._shelf.get(keys))
        data = self._copied(key, answers.get(key))
        self._statistics.looked_up(keys, () if data is None else keys)
        return data

    def set(self, key: str, data: dict[str, Any]) -> None:
        """Keep the data under ``key`` for the time to live, replacing what was there.

        What is being fetched for the key at this moment is older: it is handed out but not kept.

        Raises:
            TypeError: The key is not a text, or the data not a dict that the store can keep: one that can be copied for
                a store in memory, for another one that would come back equal after being written as JSON.
        """
        now = self._clock()
        writing = self._shelf.writing(checked_key(key), Entry(data, now, self._freshness.expiry(None, now)))
        self._fetching.forget(key)
        try:
            self._guard.call(lambda _: self._shelf.write(writing), None)
        finally:
            self._shelf.see_to(writing)
            self._tickets.revoke()

    def invalidate(self, key: str | None = None) -> None:
        """Drop the entry under ``key``, or all entries for None.

        What is being fetched at this moment is handed out but not kept. Holds even while the store is out of order.
        On an event loop a blocking store is not waited for. Counts no eviction.

        Raises:
            TypeError: The key is neither a text nor None.
        """
        self._fetching.forget(key if key is None else checked_key(key))
        self._shelf.discard(key)
        self._tickets.revoke()  # last: what is looked up from here on sees the rest

    def outdate(self, key: str) -> None:
        """Treat the entry under ``key`` as stale from now on: its server has changed it, or may have.

        It is dropped, unless the rules allow to serve it while the server fails.
        """
        self._fetching.forget(key)
        self._shelf.outdate(key)
        self._tickets.revoke()

    def get_stats(self) -> dict[str, Any]:
        """Return the statistics since the cache was made.

        Returns:
            As the API document has them: ``hits``, ``misses``, ``evictions`` (entries dropped because they were expired
            or for want of room), ``total_requests``, ``hit_rate`` (text, such as ``"78.95%"``) and ``cached_items``
            (fresh entries; on an event loop the last number known, if a blocking store does not say soon). Further:
            ``evictions_by_cause`` (``expired``, ``room``), ``stale`` (answers served beyond their time to live),
            ``fetches``, ``fetches_saved`` (by sharing another one's), ``bytes_read`` and ``bytes_written`` (from and to
            the store), ``errors`` (failed calls to the store, and entries that were not what had been stored),
            ``available`` (whether the store could be reached), ``notices`` (what it has to say) and ``servers`` (the
            counters of each server).
        """
        items = self._counted = self._guard.glance(self._count_items, 0, later=self._counted)
        report = self._statistics.report(items)
        servers = report.pop("servers")
        return {
            **report,
            "errors": self._troubles.count,
            "available": not self._guard.resting,
            "notices": self._notices(),
            "servers": servers,
        }

    def cleanup_expired(self) -> int:
        """Drop all expired entries, count them as evictions and return how many there were.

        Those that may still be served as stale stay.
        """
        return self._guard.call(self._purge, 0)

    def probe(self) -> int:
        """Ask the store for something cheap, and return how many calls to it have failed since the cache was made.

        If none has, then whatever `invalidate` was called for is gone from the store: that comes before any look-up.
        """
        self._guard.call(lambda store: len(store.get_many(("",))), 0)
        return self._troubles.count

    def describe(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of the entries under these keys, without counting or changing anything.

        Returns:
            For each key that has one: ``age`` and ``expires_in`` (seconds; negative: stale for so long), ``stale``,
            ``outdated``, ``ttl_ms`` and ``scope`` as the server said, and ``bytes``.
        """
        return self._guard.call(partial(self._shelf.describe, tuple(dict.fromkeys(keys))), {})

    async def lookup(
        self, keys: Sequence[str], *, failing: Collection[str] = (), whole: bool = False, counts: bool = True
    ) -> dict[str, Answer]:
        """Return what may be served of ``keys`` in one call to the store; counts a hit or a miss for each distinct key.

        Fresh entries, stale ones that are to be refreshed behind (see `refresh`), and for the keys in ``failing``,
        whose server is known to be out of order, those within ``max_stale``.

        Args:
            keys: The keys.
            failing: Those of servers that are out of order.
            whole: Return nothing, and count nothing, unless everything is found.
            counts: Whether to count.
        """
        distinct = tuple(dict.fromkeys(keys))
        found = await self._shelf.aget(distinct)
        answers = self._answers(found, failing, revalidate=True)
        if whole and len(answers) < len(distinct):
            return {}
        if counts:
            self._statistics.looked_up(distinct, answers, [key for key, answer in answers.items() if answer.stale])
        return answers

    async def fetch(
        self, key: str, fetch: Fetch, *, fall_back: bool = True, patience: float = _PATIENCE_SECONDS
    ) -> Answer:
        """Return the answer for a key that `lookup` did not find, and keep it.

        However many ask at once, ``fetch`` runs once, and goes on while anybody waits for it; with a store that grants
        leases, once over all processes. A failure reaches all of them and is not kept. Counts neither hit nor miss.

        Args:
            key: The key.
            fetch: Asks the server.
            fall_back: Return a stale entry, if the rules allow it, instead of raising.
            patience: Seconds to wait for another process that is fetching the same; then this one fetches, too.

        Raises:
            MCPConnectionError: The cache was closed.
            ResourceFetchError: The fetch was cancelled from outside.
            Exception: A copy of what ``fetch`` raised.
        """
        try:
            return await self._fetching.run(checked_key(key), fetch, patience)
        except Exception:
            if fall_back and self.serves_stale:
                found = self._answers(await self._shelf.aget((key,)), (key,))
                if (answer := found.get(key)) is not None:
                    if answer.stale:
                        self._statistics.served_stale(key)
                    return answer
            raise

    def refresh(self, key: str, fetch: Fetch) -> None:
        """Fetch anew behind a stale answer, once at a time; a failure leaves things as they are."""
        if not self.closed:
            self._refreshing.start(key, partial(self.fetch, key, fetch, fall_back=False))

    def ticket(self) -> Ticket:
        """Return a ticket for what is looked up from now on, to be made good with `grant`."""
        return self._tickets.issue()

    def grant(self, ticket: Ticket, answers: Mapping[str, Answer], *, counts: bool = True) -> Ticket | None:
        """Return a ticket that stands for these answers, or None if they have to be looked up each time.

        While it is honoured they are what a look-up would find; each time is counted as one would be.
        """
        if any(answer.stale for answer in answers.values()) or not (self._near or self._in_memory):
            return None  # what others change in the store would go unnoticed
        until = self._near.good_until(map(self._shelf.name, answers)) if self._near is not None else 0.0
        tallies = self._statistics.tallies(answers) if counts else ()
        return self._tickets.grant(ticket, answers.values(), tallies, self._near, until)

    def honours(self, ticket: Ticket) -> bool:
        """Return whether a ticket's answers may be served once more; counts a hit for each if so."""
        if not self._tickets.honours(ticket):
            return False
        self._statistics.hit(ticket.tallies)
        return True

    async def aclose(self) -> None:
        """Cancel what is being fetched and close the store; from here on everything is a miss."""
        self._tickets.revoke()
        await self._fetching.aclose(MCPConnectionError("the orchestrator was closed", {"cause": "closed"}))
        await self._refreshing.ended()
        await self._guard.aclose()

    def _answers(
        self, found: Mapping[str, Found], failing: Collection[str] = (), *, revalidate: bool = False
    ) -> dict[str, Answer]:
        """Return what may be served of what was found."""
        answers: dict[str, Answer] = {}
        for key, (entry, standing, copy, _) in found.items():
            if standing.fresh:
                until = self._freshness.limit(entry)
                answers[key] = Answer(data=entry.data, copy=copy, stored_at=entry.stored_at, good_until=until)
            elif (revalidate and standing.while_revalidating) or (standing.while_failing and key in failing):
                answers[key] = Answer(data=entry.data, copy=copy, stale=True)
        return answers

    def _copied(self, key: str, answer: Answer | None) -> dict[str, Any] | None:
        if answer is None:
            return None
        try:
            return answer.copy()
        except Exception as error:  # noqa: BLE001  # a value's own __deepcopy__ may raise anything
            self._shelf.discard(key)
            self._troubles.failed("an entry that cannot be copied any more", error)
            return None

    def _notices(self) -> list[str]:
        try:
            return list(noticing.notices()) if (noticing := self._abilities.notices) is not None else []
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            self._troubles.failed(type(error).__name__, error)
            return []

    def _purge(self, store: CacheStore) -> int:
        self._statistics.purged(removed := self._shelf.whole("purge", "removed", store.purge(self._clock())))
        return removed

    def _count_items(self, store: CacheStore) -> int:
        return self._shelf.whole("count", "fresh", store.count(self._clock() + self._freshness.retention))
