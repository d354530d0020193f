"""One fetch at a time for each key over all processes that share a store."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from secrets import token_hex

from mcp_orchestra.cache.guard import StoreGuard
from mcp_orchestra.stores import GrantsLeases

__all__ = ["Leases"]

_LEASE_SECONDS = 2.0
_RENEW_SECONDS = 0.5


class Leases:
    """The leases that a cache takes at a store; with one that grants none, everybody has every lease.

    Args:
        leases: The store, if it grants any.
        guard: Makes the calls to it.
    """

    def __init__(self, leases: GrantsLeases | None, guard: StoreGuard) -> None:
        self._leases = leases
        self._guard = guard
        self._numbers = count()
        self._owner = token_hex(8)
        self._ours: dict[tuple[int, str], str] = {}

    def holder(self) -> str | None:
        """Return a name for a new fetch; None if the store grants no leases."""
        return self._new_name() if self._leases is not None else None

    def holder_of(self, name: str) -> str:
        """Return which fetch of this process has, or had last, the lease on a stored key; if none has, a new name."""
        return self._ours.get((os.getpid(), name)) or self._new_name()

    def acquire(self, name: str, holder: str | None) -> bool:
        """Take the lease on a stored key, from within a call to the store; return whether the holder has it."""
        if holder is None or self._leases is None:
            return True
        if not self._leases.acquire(name, holder, _LEASE_SECONDS):
            return False
        self._ours[os.getpid(), name] = holder
        return True

    def end(self, name: str, holder: str | None) -> None:
        """Let go of a lease, from within a call to the store."""
        if holder is not None and self._leases is not None:
            if self._ours.get(ours := (os.getpid(), name)) == holder:
                del self._ours[ours]
            self._leases.release(name, holder)

    def release(self, name: str, holder: str | None) -> None:
        """Let go of a lease, after whatever the store has been asked to do before; does not wait."""
        if holder is not None and self._leases is not None:
            self._guard.send(lambda _: self.end(name, holder))

    @asynccontextmanager
    async def held(self, name: str, holder: str | None) -> AsyncGenerator[None]:
        """Renew the lease for the length of the block, and release it after."""
        leases = self._leases
        if holder is None or leases is None:
            yield
            return
        renewing = asyncio.create_task(self._renew(name, holder), name=f"lease {name}")
        try:
            yield
        finally:
            renewing.cancel()
            self.release(name, holder)

    async def _renew(self, name: str, holder: str) -> None:
        leases = self._leases
        while leases is not None:
            await asyncio.sleep(_RENEW_SECONDS)
            if not await self._guard.acall(lambda _: leases.renew(name, holder, _LEASE_SECONDS), otherwise=True):
                return  # it was revoked: what is being fetched is outdated already

    def _new_name(self) -> str:
        # A process that forked goes by its own number, or parent and child would have each other's leases.
        return f"{self._owner}-{os.getpid()}-{next(self._numbers)}"
