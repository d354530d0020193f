"""Starts processes a few at a time: all at once, each would take so long that none were there in time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Spawning"]


class Spawning:
    """Turns to start a process and to hear from it.

    Args:
        at_once: How many have their turn at the same time.
        seconds: How long a turn is at most: a process that says nothing must not keep the others waiting for as long
            as it may stay silent.
    """

    def __init__(self, at_once: int = 16, seconds: float = 1.0) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._seconds = seconds

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for a turn, and have it until the end of the block or of its time."""
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                self._free.release()

        await self._free.acquire()
        timer = asyncio.get_running_loop().call_later(self._seconds, end)
        try:
            yield
        finally:
            timer.cancel()
            end()
