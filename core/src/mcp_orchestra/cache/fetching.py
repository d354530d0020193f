"""Fetches what is missing, one fetch at a time for each key, and keeps it if that is allowed."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from mcp_orchestra.cache.answer import Answer
from mcp_orchestra.cache.entry import Entry, Fetched
from mcp_orchestra.cache.freshness import Freshness
from mcp_orchestra.cache.guard import StoreGuard
from mcp_orchestra.cache.leases import Leases
from mcp_orchestra.cache.shelf import Shelf
from mcp_orchestra.cache.single_flight import Flight, SingleFlight
from mcp_orchestra.cache.statistics import Statistics
from mcp_orchestra.cache.turns import Turns
from mcp_orchestra.copies import copy_data

__all__ = ["Fetch", "Fetching"]

logger: logging.Logger = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[Fetched]]
"""Asks a server."""

_MOST_REMEMBERED = 1000  # keys whose data could not be kept, so that it is said once


class Fetching:
    """The fetches of one cache; with a store that grants leases, once at a time over all processes.

    Args:
        shelf: Where what was fetched is kept, and where somebody else's may be found.
        leases: Those for fetching.
        guard: Makes the calls to the store.
        freshness: What may be kept, and for how long.
        clock: The cache's, in seconds.
        statistics: Counts fetches.
        stored: Called when something new is there.
    """

    def __init__(
        self,
        shelf: Shelf,
        leases: Leases,
        guard: StoreGuard,
        *,
        freshness: Freshness,
        clock: Callable[[], float],
        statistics: Statistics,
        stored: Callable[[], None],
    ) -> None:
        self._shelf = shelf
        self._leases = leases
        self._guard = guard
        self._freshness = freshness
        self._clock = clock
        self._statistics = statistics
        self._stored = stored
        self._turns = Turns(shelf, leases, guard)
        self._flights: SingleFlight[Answer] = SingleFlight()
        self._refused: set[str] = set()

    def apply(self, freshness: Freshness) -> None:
        """Go by other rules from now on."""
        self._freshness = freshness

    async def run(self, key: str, fetch: Fetch, patience: float) -> Answer:
        """Return what is fetched for a key, or what somebody else has stored meanwhile.

        Args:
            key: The key.
            fetch: Asks the server.
            patience: Seconds to wait for another process that is fetching the same.

        Raises:
            Exception: As `SingleFlight.run` does.
        """
        saved = partial(self._statistics.fetch_saved, key)
        return await self._flights.run(key, partial(self._fly, key, fetch, patience), joined=saved)

    def forget(self, key: str | None) -> None:
        """Keep nothing of what is being fetched at this moment for a key, or at all for None; for any thread."""
        self._flights.forget(key)

    async def aclose(self, error: Exception) -> None:
        """Cancel what is being fetched; those who wait, and those who come later, get a copy of the error."""
        await self._flights.aclose(error)

    async def _fly(self, key: str, fetch: Fetch, patience: float, flight: Flight[Answer]) -> Answer:
        holder, name = self._leases.holder(), self._shelf.name(key)
        turn = await self._turns.wait(key, holder, patience)
        if turn.found is not None:
            self._statistics.fetch_saved(key)
            return Answer(data=turn.found.entry.data, copy=turn.found.copy)
        async with self._leases.held(name, holder):
            self._statistics.fetched(key)
            return await self._keep(key, await fetch(), flight, holder)

    async def _keep(self, key: str, fetched: Fetched, flight: Flight[Answer], holder: str | None) -> Answer:
        handed_out = Answer(data=fetched.data, copy=partial(copy_data, fetched.data))
        if not fetched.cacheable or not self._freshness.keeps(fetched.ttl_ms, whole=fetched.hinted_whole):
            return handed_out
        arrived = self._clock() - fetched.age
        expires_at = self._freshness.expiry(fetched.ttl_ms, arrived, whole=fetched.hinted_whole)
        entry = Entry(fetched.data, arrived, expires_at, fetched.ttl_ms, fetched.scope)
        try:
            writing = self._shelf.writing(key, entry, wanted=lambda: flight.current, holder=holder)
        except TypeError as problem:
            if key not in self._refused and len(self._refused) < _MOST_REMEMBERED:
                self._refused.add(key)
                logger.warning("not kept: %s", problem)
            return handed_out
        await self._guard.acall(lambda _: self._shelf.write(writing), None)
        self._shelf.see_to(writing)
        self._stored()
        return Answer(data=writing.kept.entry.data, copy=writing.kept.original.copy)
