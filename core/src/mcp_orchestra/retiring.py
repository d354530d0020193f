"""Closes what was replaced, once nobody uses it any more."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

__all__ = ["Retiring", "Usage"]

_LOOK_SECONDS = 0.05
"""How often it is looked whether something is still in use: nobody waits for it."""


class Usage:
    """Counts the questions that are being answered with what may be replaced meanwhile: ``with usage: …``."""

    def __init__(self) -> None:
        self._count = 0
        self._before: Usage | None = None

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._count -= 1

    @property
    def busy(self) -> bool:
        """Whether anything is being answered that was asked before `successor` was called, the last time.

        Not for ever: each request of a question has its deadline.
        """
        if self._before is not None and not self._before.busy:
            self._before = None
        return self._count > 0 or self._before is not None

    def successor(self) -> "Usage":
        """Return what counts the questions from now on; it is also busy while this one is."""
        usage = Usage()
        if self.busy:
            usage._before = self
        return usage


class Retiring:
    """What was replaced and is still in use, or is being closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = False

    def add(self, busy: Callable[[], bool], close: Callable[[], Awaitable[None]]) -> None:
        """Close something when it is not busy any more.

        Args:
            busy: Whether it is.
            close: Closes it, and raises nothing.
        """
        task = asyncio.create_task(self._retire(busy, close), name="mcp-orchestra-retiring")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Close everything now."""
        self._hurry = True
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _retire(self, busy: Callable[[], bool], close: Callable[[], Awaitable[None]]) -> None:
        while busy() and not self._hurry:  # noqa: ASYNC110 - questions set no event
            await asyncio.sleep(_LOOK_SECONDS)
        await close()
