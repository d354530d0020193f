"""Starting once, stopping once, in whatever order and from however many tasks it is asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from mcp_orchestra.copies import copy_error
from mcp_orchestra.errors import MCPConnectionError

__all__ = ["LifeCycle"]

T = TypeVar("T")
ResultT = TypeVar("ResultT")


class LifeCycle(Generic[T]):
    """Something that is up or down.

    Args:
        start: Brings it up; on failure or cancellation it leaves nothing behind.
        stop: Takes it down, or cleans up where there is None to take down.
    """

    def __init__(self, start: Callable[[], Awaitable[T]], stop: Callable[[T | None], Awaitable[None]]) -> None:
        self._start = start
        self._stop = stop
        self._running: T | None = None
        self._starting: _Start[T] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._changing: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def running(self) -> T | None:
        """What is up; None also if the event loop it ran on has ended."""
        return None if self._loop is not None and self._loop.is_closed() else self._running

    @property
    def down(self) -> bool:
        """Whether nothing is up, coming up or being changed."""
        return self.running is None and not _under_way(self._start_task, self._changing)

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
        while (start := self._starting) is not None and start.given_up:
            await asyncio.wait({start.task})
        if start is None or start.task.done():
            self._loop = asyncio.get_running_loop()
            start = self._starting = _Start(self._run_start())
        start.waiting += 1
        try:
            await asyncio.wait({start.task})
        finally:
            start.waiting -= 1
            if not start.waiting:
                start.cancel()
        if start.task.cancelled():
            raise MCPConnectionError("the orchestrator was closed while it was initialising", {"cause": "closed"})
        if (error := start.task.exception()) is not None:
            raise copy_error(error)
        return start.task.result()

    async def change(self, work: Callable[[T | None], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Change what is running: one change at a time, while nothing is starting or stopping.

        Args:
            work: Is given what is running, or None, and calls `put` if something else is to take its place. It is
                cancelled if it is in the way of taking down; on failure or cancellation it leaves nothing behind.

        Raises:
            MCPConnectionError: It was taken down meanwhile, or belongs to another event loop.
            Exception: What ``work`` raised.
        """
        self._forget_an_ended_loop()
        while busy := _under_way(self._start_task, self._stopping, self._changing):
            await asyncio.wait(busy)
        self._loop = asyncio.get_running_loop()
        task = asyncio.create_task(work(self._running), name="mcp-orchestra-reload")
        self._changing = task
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            task.add_done_callback(_retrieve)
            raise
        if task.cancelled():
            raise MCPConnectionError("the orchestrator was closed while it was reloading", {"cause": "closed"})
        return task.result()

    def put(self, running: T) -> None:
        """Have something else running, from within `change`."""
        self._running = running

    async def take_down(self) -> None:
        """Stop what is running or starting; joins a stop that is under way."""
        if self._loop is not None and self._loop.is_running() and self._loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.take_down(), self._loop))
            return
        self._forget_an_ended_loop()
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self._run_stop(), name="mcp-orchestra-stop")
        elif self._starting is not None:
            self._starting.cancel()  # it waits for that stop, and was asked for before this one
        await asyncio.wait({self._stopping})  # goes on to its end even if its waiter is cancelled

    @property
    def _start_task(self) -> asyncio.Task[T] | None:
        return self._starting.task if self._starting is not None else None

    async def _run_start(self) -> T:
        while busy := _under_way(self._stopping, self._changing):
            await asyncio.wait(busy)
        self._running = await self._start()
        return self._running

    async def _run_stop(self) -> None:
        if (start := self._starting) is not None and not start.task.done():
            start.cancel()
            await asyncio.wait({start.task})
        changing = _under_way(self._changing)
        for task in changing:
            task.cancel()
        running, self._running = self._running, None
        try:
            await self._stop(running)  # what a change has to close takes its time as well: at once, not one by one
        finally:
            if changing:
                await asyncio.wait(changing)

    def _forget_an_ended_loop(self) -> None:
        """Start afresh where the loop that was used before has ended: what ran on it ended with it."""
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return
        if self._loop.is_running() and not self.down:
            raise MCPConnectionError(
                "the orchestrator belongs to another event loop; use it there, or make another orchestrator",
                {"cause": "loop", "retryable": False},
            )
        self._running = self._starting = self._stopping = self._changing = self._loop = None


class _Start(Generic[T]):
    """A start, which belongs to all who wait for it."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = asyncio.create_task(work, name="mcp-orchestra-start")
        self.task.add_done_callback(_retrieve)
        self.waiting = 0

    @property
    def given_up(self) -> bool:
        """Whether it was cancelled and is still cleaning up."""
        return not self.task.done() and bool(self.task.cancelling())

    def cancel(self) -> None:
        """Cancel it, once: a second cancellation would disturb the cleaning up after the first."""
        if not self.task.done() and not self.task.cancelling():
            self.task.cancel()


def _under_way(*tasks: "asyncio.Task[Any] | None") -> "set[asyncio.Task[Any]]":
    return {task for task in tasks if task is not None and not task.done()}


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Look at the outcome, so that asyncio does not report it as never retrieved when nobody waits any more."""
    if not task.cancelled():
        task.exception()
