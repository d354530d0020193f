"""Lets work that must not be left half done finish before a cancellation goes on."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio

__all__ = ["uninterrupted"]


async def uninterrupted(work: Callable[[], Awaitable[None]]) -> None:
    """Run work to its end, even if this task is cancelled meanwhile; the cancellation follows then.

    A shielded scope of anyio alone does not hold off ``Task.cancel()``, which is what asyncio's timeouts use.
    """

    async def run() -> None:
        await work()

    task = asyncio.create_task(run())
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()  # seen: the cancellation is what counts
        raise cancelled
    task.result()
