"""Fetches behind stale answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

__all__ = ["Refreshing"]

_logger = logging.getLogger(__name__)


class Refreshing:
    """One task for each key that is being refreshed; for one event loop at a time."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, key: str, refresh: Callable[[], Awaitable[object]]) -> None:
        """Refresh a key, unless that is under way; a failure is harmless, for the stale answer was served."""
        running = self._tasks.get(key)
        # A loop that was torn down leaves tasks that never end.
        if running is None or running.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(_refresh(key, refresh), name=f"refresh {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._remove(key, task))

    async def ended(self) -> None:
        """Wait until nothing is being refreshed."""
        loop = asyncio.get_running_loop()
        if tasks := [task for task in self._tasks.values() if task.get_loop() is loop]:
            await asyncio.wait(tasks)

    def _remove(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]


async def _refresh(key: str, refresh: Callable[[], Awaitable[object]]) -> None:
    try:
        await refresh()
    except Exception as error:  # noqa: BLE001  # whatever it is
        _logger.debug("%s could not be refreshed: %s", key, type(error).__name__)
