"""Whose turn it is to fetch what is missing, among all processes that share a store."""

import asyncio
from functools import partial
from typing import NamedTuple

from mcp_orchestra.cache.guard import StoreGuard
from mcp_orchestra.cache.leases import Leases
from mcp_orchestra.cache.shelf import Shelf
from mcp_orchestra.cache.sorting import Found
from mcp_orchestra.stores import CacheStore

__all__ = ["Turn", "Turns"]

_LOOK_SECONDS = 0.05
"""How often somebody looks who waits for another process's fetch."""


class Turn(NamedTuple):
    """How things stand for somebody who sets out to fetch."""

    found: Found | None
    """What an earlier fetch, or another process, has stored meanwhile."""
    come: bool
    """Whether to fetch."""


class Turns:
    """Finds out whether to fetch, or to wait for another process that does.

    Args:
        shelf: Where results are found.
        leases: One at a time has the lease on a key.
        guard: Makes the calls to the store.
    """

    def __init__(self, shelf: Shelf, leases: Leases, guard: StoreGuard) -> None:
        self._shelf = shelf
        self._leases = leases
        self._guard = guard

    async def wait(self, key: str, holder: str | None, patience: float) -> Turn:
        """Return what was found, or take the lease; if another one has it, wait for what he finds.

        Args:
            key: The key.
            holder: Who is to have the lease.
            patience: Seconds to wait at most; then it is everybody's turn, without the lease and what comes of it.
        """
        try:
            return await self._wait(key, holder, patience)
        except BaseException:
            self._leases.release(self._shelf.name(key), holder)  # which may just be being acquired
            raise

    async def _wait(self, key: str, holder: str | None, patience: float) -> Turn:
        loop = asyncio.get_running_loop()
        alone = Turn(None, come=True)
        turn = await self._guard.acall(partial(self._look_and_acquire, key, holder), alone)
        end = loop.time() + patience
        while not turn.come and turn.found is None:
            if loop.time() >= end:
                return alone
            await asyncio.sleep(_LOOK_SECONDS)
            turn = await self._guard.acall(partial(self._acquire_and_look, key, holder), alone)
        return turn

    def _look_and_acquire(self, key: str, holder: str | None, store: CacheStore) -> Turn:
        if (found := self._fresh(key, store)) is not None:
            return Turn(found, come=False)
        return Turn(None, self._leases.acquire(self._shelf.name(key), holder))

    def _acquire_and_look(self, key: str, holder: str | None, store: CacheStore) -> Turn:
        # In this order, because only when the other one is done there is anything new to read.
        if not self._leases.acquire(self._shelf.name(key), holder):
            return Turn(None, come=False)
        if (found := self._fresh(key, store)) is not None:
            self._leases.end(self._shelf.name(key), holder)
            return Turn(found, come=False)
        return Turn(None, come=True)

    def _fresh(self, key: str, store: CacheStore) -> Found | None:
        found = self._shelf.read((key,), True, store).get(key)
        return found if found is not None and found.standing.fresh else None
