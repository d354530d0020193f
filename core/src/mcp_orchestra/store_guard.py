"""Keeps the trouble a cache store may make away from those who ask the cache."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import TypeVar

from mcp_orchestra.store_worker import StoreWorker
from mcp_orchestra.types import CacheStore

__all__ = ["StoreGuard", "StoreTroubles"]

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0


class StoreTroubles:
    """Counts failures and warns once for each burst of them.

    A burst ends with the first success; one that goes on is mentioned again every 60 s.

    Args:
        name: What fails, for people.
        clock: Seconds that only differences are taken of.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.count = 0
        """Failures so far."""
        self._name = name
        self._clock = clock
        self._warned_at: float | None = None
        self._lock = Lock()

    def failed(self, reason: str) -> None:
        """Note a failure."""
        now = self._clock()
        with self._lock:
            self.count += 1
            if self._warned_at is not None and now - self._warned_at < _REMIND_SECONDS:
                return
            self._warned_at = now
        _logger.warning("%s failed (%s); carrying on as if nothing were cached", self._name, reason)

    def worked(self) -> None:
        """Note a success."""
        if self._warned_at is not None:  # read without the lock: successes are the hot path
            with self._lock:
                self._warned_at = None
            _logger.info("%s works again", self._name)


class StoreGuard:
    """Makes calls to a store: one at a time, within bounds, never raising.

    Args:
        store: The store; it belongs to the guard.
        blocking: Whether the store waits for a disk or a network. Such calls are made in a thread and waited for no
            longer than ``timeout``; while one of them hangs, the others fail at once.
        timeout: Seconds.
        troubles: Told of every failure and success.
    """

    def __init__(self, store: CacheStore, *, blocking: bool, timeout: float, troubles: StoreTroubles) -> None:
        self._store = store
        self._timeout = timeout
        self._worker = StoreWorker(timeout) if blocking else None
        self._troubles = troubles
        self._lock = Lock()
        self._unwanted: set[str | None] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._closed

    def condemn(self, key: str | None) -> None:
        """Have the entry under ``key``, or all for None, deleted before the next call gets at the store.

        It is thus never seen again, even if the store is out of order now: until the deletion succeeds, calls fail.
        """
        self._unwanted.add(key)

    def discard(self, key: str | None) -> None:
        """Condemn the entry under ``key``, or all for None, and try to delete it now.

        On an event loop a blocking store is not waited for.
        """
        self.condemn(key)
        if self._worker is None or not _on_event_loop():
            self.call(_nothing, None)
        elif not self._closed:
            try:
                self._worker.submit(lambda: self._perform(_nothing)).add_done_callback(self._discarded)
            except TimeoutError as error:
                self._failed(error, None)

    def call(self, operation: Callable[[CacheStore], T], otherwise: T) -> T:
        """Return what the operation returns, or ``otherwise`` if it fails or the guard is closed."""
        if self._closed:
            return otherwise
        known = self._troubles.count
        try:
            if self._worker is None:
                with self._lock:
                    result = self._perform(operation)
            else:
                future = self._worker.submit(lambda: self._perform(operation))
                try:
                    result = future.result(self._timeout)
                finally:
                    future.cancel()  # if it has not begun, it need not
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            return self._failed(error, otherwise)
        self._finished(known)
        return result

    async def acall(self, operation: Callable[[CacheStore], T], otherwise: T) -> T:
        """Do what `call` does without holding up the event loop."""
        if self._worker is None or self._closed:
            return self.call(operation, otherwise)
        known = self._troubles.count
        try:
            async with asyncio.timeout(self._timeout):
                result = await asyncio.wrap_future(self._worker.submit(lambda: self._perform(operation)))
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            return self._failed(error, otherwise)
        self._finished(known)
        return result

    async def aclose(self) -> None:
        """Close the store after the calls under way; nothing reaches it from here on."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._worker is None:
                with self._lock:
                    self._shut()
            else:
                async with asyncio.timeout(self._timeout):
                    await asyncio.wrap_future(self._worker.finish(self._shut))
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            self._failed(error, None)

    def _perform(self, operation: Callable[[CacheStore], T]) -> T:
        if self._unwanted:
            unwanted = self._unwanted.copy()
            if None in unwanted:
                self._store.clear()
            else:
                self._store.delete_many([key for key in unwanted if key is not None])
            self._unwanted -= unwanted
        return operation(self._store)

    def _shut(self) -> None:
        try:
            self._perform(_nothing)  # a store that outlives us must not keep what is condemned
        finally:
            self._store.close()

    def _discarded(self, future: Future[None]) -> None:
        if isinstance(error := future.exception(), Exception):
            self._failed(error, None)

    def _finished(self, known_troubles: int) -> None:
        if self._troubles.count == known_troubles:  # the operation itself may have found something wrong
            self._troubles.worked()

    def _failed(self, error: Exception, otherwise: T) -> T:
        # The store's own words stay out of the log: they may hold an address with a password.
        self._troubles.failed("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        return otherwise


def _nothing(store: CacheStore) -> None:
    """Do nothing but what comes before every call: delete what is not wanted."""


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
