"""Structured concurrency without exception groups: callers see one plain error, and nothing is left running."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["finish", "run_all"]

ResultT = TypeVar("ResultT")


async def run_all(coroutines: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Run all concurrently and return their results in order.

    When one fails, or the caller is cancelled, the others are cancelled and waited for.

    Raises:
        Exception: The first failure, as it was raised.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    if not tasks:
        return []
    try:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        await _cancel(tasks)
        raise
    failed = [task for task in tasks if task in done and not task.cancelled() and task.exception() is not None]
    if failed:
        await _cancel(list(pending))
        raise failed[0].exception() or AssertionError
    return [task.result() for task in tasks]


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run work to its end even if the caller is cancelled meanwhile; the cancellation follows then."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: the cancellation is what counts
        raise cancelled
    task.result()


async def _cancel(tasks: list[asyncio.Task[ResultT]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
