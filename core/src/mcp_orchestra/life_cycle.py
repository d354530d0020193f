"""Starting once, stopping once, in whatever order and from however many tasks it is asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from mcp_orchestra.copies import copy_error
from mcp_orchestra.errors import MCPConnectionError

__all__ = ["LifeCycle"]

T = TypeVar("T")


class LifeCycle(Generic[T]):
    """Something that is up or down.

    Args:
        start: Brings it up; on failure or cancellation it leaves nothing behind.
        stop: Takes it down, or cleans up where there is None to take down.
    """

    def __init__(self, start: Callable[[], Awaitable[T]], stop: Callable[[T | None], Awaitable[None]]) -> None:
        self._start = start
        self._stop = stop
        self.running: T | None = None
        self._starting: asyncio.Task[T] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def down(self) -> bool:
        """Whether nothing is up or coming up."""
        return self.running is None and self._starting is None

    async def bring_up(self) -> T:
        """Return what is running, starting it if it is not; joins a start that is under way.

        The start belongs to all who wait for it: it is cancelled when the last of them is.

        Raises:
            MCPConnectionError: It was taken down meanwhile, or belongs to another event loop.
            Exception: What ``start`` raised; every waiter gets a copy of its own.
        """
        self._forget_an_ended_loop()
        if self.running is not None:
            return self.running
        if self._starting is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.create_task(self._run_start(), name="mcp-orchestra-start")
        starting = self._starting
        self._waiting += 1
        try:
            await asyncio.wait({starting})
        finally:
            self._waiting -= 1
            if not self._waiting and not starting.done():
                starting.cancel()
        if starting.cancelled():
            raise MCPConnectionError("the orchestrator was closed while it was initialising", {"cause": "closed"})
        if (error := starting.exception()) is not None:
            raise copy_error(error)
        return starting.result()

    async def take_down(self) -> None:
        """Stop what is running or starting; joins a stop that is under way."""
        if self._loop is not None and self._loop.is_running() and self._loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.take_down(), self._loop))
            return
        self._forget_an_ended_loop()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._run_stop(), name="mcp-orchestra-stop")
        await asyncio.wait({self._stopping})  # goes on to its end even if its waiter is cancelled

    async def _run_start(self) -> T:
        try:
            if self._stopping is not None:
                await asyncio.wait({self._stopping})
            self.running = await self._start()
            return self.running
        finally:
            self._starting = None

    async def _run_stop(self) -> None:
        try:
            if (starting := self._starting) is not None:
                if not starting.cancelling():  # a second cancellation would disturb the cleaning up after the first
                    starting.cancel()
                await asyncio.wait({starting})
            running, self.running = self.running, None
            await self._stop(running)
        finally:
            self._stopping = None

    def _forget_an_ended_loop(self) -> None:
        """Start afresh where the loop that was used before has ended: what ran on it ended with it."""
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return
        if self._loop.is_running() and not self.down:
            raise MCPConnectionError(
                "the orchestrator belongs to another event loop; use it there, or make another orchestrator",
                {"cause": "loop", "retryable": False},
            )
        self.running = self._starting = self._stopping = self._loop = None
        self._waiting = 0
