"""One piece of work at a time for each key, shared by everybody who asks while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from mcp_orchestra.copies import copy_error
from mcp_orchestra.errors import ResourceFetchError

__all__ = ["Flight", "SingleFlight"]

T = TypeVar("T")

_TURN_SECONDS = 1.0
"""So long work waits for what was forgotten before it, which may be asking a server that does not answer any more."""
_CLOSE_SECONDS = 2.0  # for work that resists being cancelled; the orchestrator has 5 s for closing everything


class Flight(Generic[T]):
    """Work that is under way for a key."""

    def __init__(self, outcome: asyncio.Future[T]) -> None:
        self.current = True
        """Whether the result may be kept: False once the key was forgotten or nobody waits any more."""
        self.begun = False
        """Whether the work has begun: what was forgotten before does not matter to it."""
        self.outcome = outcome
        self.waiters = 0


class SingleFlight(Generic[T]):
    """Runs work for keys: for each key once at a time, in a task of its own.

    The task belongs to none of those who wait for it: the first may be cancelled, and the others still get the result.
    When the last one is gone the work is cancelled. Work that was forgotten is not joined, but those who ask meanwhile
    wait until it has ended, but no longer than a second, and share what begins then: however often a key is forgotten,
    its server is asked one thing at a time, unless that takes long. For use on one event loop at a time; `forget` may
    be called from any thread.
    """

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}
        self._under_way: dict[str, Flight[T]] = {}
        self._tasks: dict[asyncio.Task[T], Flight[T]] = {}
        self._closed: Exception | None = None

    async def run(
        self, key: str, work: Callable[[Flight[T]], Awaitable[T]], *, joined: Callable[[], None] | None = None
    ) -> T:
        """Return the result of the work under way for ``key``, or next in turn, which is ``work`` if there was none.

        Args:
            key: The key.
            work: Does the work.
            joined: Called if it is somebody else's.

        Raises:
            ResourceFetchError: Something other than this class cancelled the work.
            Exception: What the work raised, or what was given to `aclose`. Everyone who waits gets a copy of his own.
        """
        if self._closed is not None:
            raise copy_error(self._closed)
        flight = self._flights.get(key)
        # A loop that was torn down leaves flights that never land.
        if flight is None or flight.outcome.get_loop() is not asyncio.get_running_loop():
            flight = self._start(key, work)
        elif joined is not None:
            joined()
        flight.waiters += 1
        try:
            await asyncio.wait([flight.outcome])  # unlike awaiting it, this does not pass our cancellation on
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.outcome.done():
                self._abandon(key, flight)
        if (error := flight.outcome.exception()) is not None:
            raise copy_error(error)
        return flight.outcome.result()

    def forget(self, key: str | None = None) -> None:
        """Treat the work under way for ``key`` (None: for every key) as outdated.

        Those who wait for it still get its result; it is not current any more, and who asks now gets that of work
        which begins after this.
        """
        for one in list(self._flights) if key is None else (key,):
            if (flight := self._flights.get(one)) is not None and flight.begun:
                flight.current = False
                self._remove(one, flight)

    async def aclose(self, error: Exception) -> None:
        """Cancel all work; raise copies of ``error`` for those who wait for it and those who come later."""
        self._closed = error
        self.forget()
        # A task of another loop cannot be awaited from here; nor can our own, if the work itself closes.
        own = {asyncio.current_task()}
        tasks = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop() and task not in own]
        for task in tasks:
            self._settle(self._tasks[task].outcome, error)  # at once, even if the work resists
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    def _start(self, key: str, work: Callable[[Flight[T]], Awaitable[T]]) -> Flight[T]:
        flight = Flight[T](asyncio.get_running_loop().create_future())

        async def fly() -> T:
            before = self._under_way.get(key)
            if before is not None and before.outcome.get_loop() is asyncio.get_running_loop():
                await asyncio.wait([before.outcome], timeout=_TURN_SECONDS)
            self._under_way[key] = flight
            flight.begun = True
            return await work(flight)

        task = asyncio.create_task(fly(), name=f"fetch {key}")
        task.add_done_callback(partial(self._landed, key))
        self._tasks[task] = flight
        self._flights[key] = flight
        return flight

    def _abandon(self, key: str, flight: Flight[T]) -> None:
        flight.current = False
        flight.outcome.cancel()  # the next one does not wait for work that may resist
        self._remove(key, flight)
        for task in [task for task, its_flight in self._tasks.items() if its_flight is flight]:
            task.cancel()

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        flight = self._tasks.pop(task)
        self._remove(key, flight)
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        if task.cancelled():
            message = f"fetching {key!r} was cancelled before it was done; try again"
            context = {"operation": "fetch", "cause": "cancelled", "retryable": True}
            self._settle(flight.outcome, ResourceFetchError(message, context))
        elif (error := task.exception()) is not None:
            self._settle(flight.outcome, error)
        elif not flight.outcome.done():
            flight.outcome.set_result(task.result())

    def _remove(self, key: str, flight: Flight[T]) -> None:
        if self._flights.get(key) is flight:
            self._flights.pop(key, None)  # which another thread may just have forgotten

    @staticmethod
    def _settle(outcome: asyncio.Future[T], error: BaseException) -> None:
        if not outcome.done():
            outcome.set_exception(error)
            outcome.exception()  # nobody may be left to retrieve it, which asyncio would complain about
