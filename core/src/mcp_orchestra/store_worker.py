"""A thread in which the calls to one blocking store are made, in order."""

import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

__all__ = ["StoreWorker"]

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class StoreWorker:
    """Makes calls in a thread of its own, one after the other in the order in which they came.

    In order, so that a write that hung cannot overtake a later deletion. A daemon thread, unlike those of the standard
    executor, so that a call that hangs for ever does not keep the process from ending.

    Args:
        patience: Seconds after which a call that still runs makes the worker count as stuck.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._running_since: list[float] = []  # shared with the thread, which must not keep this object alive
        self._thread: Thread | None = None
        self._lock = Lock()
        weakref.finalize(self, self._jobs.put, None)

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Queue a call and return its future.

        Raises:
            TimeoutError: The worker is stuck in an earlier call.
        """
        since = self._running_since[:]
        if since and time.monotonic() - since[0] > self._patience:
            raise TimeoutError("an earlier call has not returned yet")
        return self._queue(call)

    def finish(self, call: Callable[[], T]) -> "Future[T]":
        """Queue the last call, stuck or not, after which the thread ends."""
        future = self._queue(call)
        self._jobs.put(None)
        return future

    def _queue(self, call: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._lock:
            self._jobs.put((future, call))
            if self._thread is None or not self._thread.is_alive():  # not started yet, or left behind by a fork
                self._thread = Thread(
                    target=_work, args=(self._jobs, self._running_since), name="mcp-orchestra-cache", daemon=True
                )
                self._thread.start()
        return future


def _work(jobs: "SimpleQueue[_Job | None]", running_since: list[float]) -> None:
    while (job := jobs.get()) is not None:
        future, call = job
        if not future.set_running_or_notify_cancel():
            continue
        running_since[:] = [time.monotonic()]
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # a store that exits the interpreter fails its call only
            running_since.clear()
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
        else:
            running_since.clear()
            future.set_result(result)
        del job, future, call  # what they hold must not live until the next call comes
