"""A thread in which the calls to one blocking store are made, in order."""

import asyncio
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

__all__ = ["Job", "StoreMisbehavedError", "StoreWorker", "contained"]

T = TypeVar("T")

_TURN = 4  # times the patience: how long a call may wait for its turn


class StoreMisbehavedError(RuntimeError):
    """Something that a store must not do, in our own words, which may be shown."""


class Job(Future[T]):
    """A call that waits for its turn, is being made, or was."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__()
        self.call = call
        self.queued_at: float = time.monotonic()
        self.started_at: float | None = None


class StoreWorker:
    """Makes calls in a thread of its own, one after the other in the order in which they came.

    In order, so that a write that hung cannot overtake a later deletion. A daemon thread, unlike those of the standard
    executor, so that a call that hangs for ever does not keep the process from ending.

    Args:
        patience: Seconds that a call may take, from its turn on; one that takes longer makes the worker count as stuck.
            For its turn a call may wait four times as long.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._running_since: list[float] = []  # shared with the thread, which must not keep this object alive
        self._thread: Thread | None = None
        self._lock = Lock()
        weakref.finalize(self, self._jobs.put, None)

    def submit(self, call: Callable[[], T]) -> Job[T]:
        """Queue a call and return its future.

        Raises:
            TimeoutError: The worker is stuck in an earlier call.
        """
        self.refuse_if_stuck()
        return self._queue(call)

    def finish(self, call: Callable[[], T]) -> Job[T]:
        """Queue the last call, stuck or not, after which the thread ends."""
        job = self._queue(call)
        self._jobs.put(None)
        return job

    def refuse_if_stuck(self) -> None:
        """Check that the worker is getting on.

        Raises:
            TimeoutError: It is stuck in a call.
        """
        since = self._running_since[:]
        if since and time.monotonic() - since[0] > self._patience:
            raise TimeoutError("an earlier call has not returned yet")

    def result(self, job: Job[T]) -> T:
        """Wait for a job and return its result.

        Raises:
            TimeoutError: It has had its time, or cannot hope for its turn.
            Exception: What the call raised.
        """
        while not job.done():
            wait([job], self._seconds_left(job))
        return job.result()

    async def aresult(self, job: Job[T]) -> T:
        """Do what `result` does without holding up the event loop; leaves the job alone when it is cancelled."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def landed(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(done.set)

        job.add_done_callback(landed)
        while not job.done():
            seconds = self._seconds_left(job)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await done.wait()
        return job.result()

    def _seconds_left(self, job: Job[T]) -> float:
        """Return how long to wait before asking again: the time that others take does not count as the job's own."""
        now = time.monotonic()
        if job.started_at is not None:
            left = job.started_at + self._patience - now
        else:
            self.refuse_if_stuck()
            left = min(job.queued_at + _TURN * self._patience - now, self._patience)
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def _queue(self, call: Callable[[], T]) -> Job[T]:
        job = Job(call)
        with self._lock:
            self._jobs.put(job)
            if self._thread is None or not self._thread.is_alive():  # not started yet, or left behind by a fork
                self._thread = Thread(
                    target=_work, args=(self._jobs, self._running_since), name="mcp-orchestra-cache", daemon=True
                )
                self._thread.start()
        return job


def contained(error: BaseException) -> Exception:
    """Return an exception in place of what may end more than a call, such as SystemExit or a stray cancellation."""
    if isinstance(error, Exception):
        return error
    return StoreMisbehavedError(f"it raised {type(error).__name__}").with_traceback(error.__traceback__)


def _work(jobs: "SimpleQueue[Job[Any] | None]", running_since: list[float]) -> None:
    while (job := jobs.get()) is not None:
        if job.set_running_or_notify_cancel():
            _make(job, running_since)
        del job  # what it holds must not live until the next call comes


def _make(job: Job[Any], running_since: list[float]) -> None:
    job.started_at = time.monotonic()
    running_since[:] = [job.started_at]
    try:
        result = job.call()
    except BaseException as error:  # noqa: BLE001  # whatever it is, the thread goes on
        running_since.clear()
        job.set_exception(contained(error))
    else:
        running_since.clear()
        job.set_result(result)
