"""Keeps the trouble a cache store may make away from those who ask the cache."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, TypeVar

from mcp_orchestra.cache.worker import Job, StoreMisbehavedError, StoreWorker, contained
from mcp_orchestra.stores import CacheStore

__all__ = ["Reading", "StoreGuard", "StoreTroubles"]

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0
_QUIET_SECONDS = 60.0


class StoreTroubles:
    """Counts failures and warns once for each burst of them.

    A burst ends when there has been no failure for 60 s: a store that cannot write may well be read in between. One
    that goes on is mentioned again every 60 s.

    Args:
        name: What fails, for people.
        clock: Seconds that only differences are taken of.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.count: int = 0
        """Failures so far."""
        self._name = name
        self._clock = clock
        self._bursting = False
        self._warned_at = self._failed_at = 0.0
        self._lock = Lock()

    def failed(self, reason: str, error: BaseException | None = None) -> None:
        """Note a failure.

        Args:
            reason: What happened, in our own words: it is logged.
            error: What was raised. Its text is another library's and may hold an address with a password: only where it
                was raised is logged, for debugging.
        """
        now = self._clock()
        with self._lock:
            self.count += 1
            self._failed_at = now
            warn = not self._bursting or not 0 <= now - self._warned_at < _REMIND_SECONDS
            if warn:
                self._warned_at = now
            self._bursting = True
        if warn:
            _logger.warning("%s failed (%s); carrying on as if nothing were cached", self._name, reason)
        if error is not None and _logger.isEnabledFor(logging.DEBUG):
            place = "".join(traceback.format_tb(error.__traceback__))
            _logger.debug("%s raised %s:\n%s", self._name, type(error).__name__, place)

    def worked(self) -> None:
        """Note a success."""
        bursting = self._bursting  # read without the lock: successes are the hot path
        if not bursting:
            return
        now = self._clock()
        with self._lock:
            if not self._bursting or 0 <= now - self._failed_at < _QUIET_SECONDS:
                return
            self._bursting = False
        _logger.info("%s works again: it has not failed for %.0f s", self._name, _QUIET_SECONDS)


class Reading:
    """An operation that looks keys up; several of them that wait for the store at once become one.

    Args:
        keys: What to look up. What others asked for may be in the result too.
        read: Looks keys up in a store; it is told whether the result is shared. The same function for all readings.
        shared: Whether more than one will have the result, which is the case too if others join.
    """

    def __init__(
        self,
        keys: Iterable[str],
        read: Callable[[tuple[str, ...], bool, CacheStore], dict[str, Any]],
        *,
        shared: bool = False,
    ) -> None:
        self.keys: dict[str, None] = dict.fromkeys(keys)
        """In the order in which they were asked for."""
        self._read = read
        self._shared = shared

    def __call__(self, store: CacheStore) -> dict[str, Any]:
        """Look the keys up."""
        return self._read(tuple(self.keys), self._shared, store)

    def join(self, other: "Reading") -> None:
        """Look up what another one asks for too."""
        self.keys |= other.keys
        self._shared = True


class StoreGuard:
    """Makes calls to a store: one at a time, within bounds, never raising.

    What a store raises, `KeyboardInterrupt` apart, is a failure of the call and nothing more. A store that comes back
    here while it is called is refused: it would wait for itself, or be called in the middle of something.

    Args:
        store: The store; it belongs to the guard.
        blocking: Whether the store waits for a disk or a network. Such calls are made in a thread and waited for no
            longer than ``timeout`` from their turn on; while one of them hangs, the others fail at once.
        timeout: Seconds.
        troubles: Told of every failure and success.
    """

    def __init__(self, store: CacheStore, *, blocking: bool, timeout: float, troubles: StoreTroubles) -> None:
        self._store = store
        self._worker = StoreWorker(timeout) if blocking else None
        self._troubles = troubles
        self._lock = Lock()
        self._joining = Lock()
        self._next_reading: tuple[Reading, Job[Any]] | None = None
        self._inside: int | None = None
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
            if self._inside == get_ident():
                raise StoreMisbehavedError("it calls the cache that is calling it")
            if self._worker is None:
                result = self._make_here(lambda: self._perform(operation))
            else:
                with self._submitted(operation, self._worker) as job:
                    result = self._worker.result(job)
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
            with self._submitted(operation, self._worker) as job:
                result = await self._worker.aresult(job)
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
                self._make_here(self._shut)
            else:
                await self._worker.aresult(self._worker.finish(self._shut))
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            self._failed(error, None)

    @contextmanager
    def _submitted(self, operation: Callable[[CacheStore], T], worker: StoreWorker) -> Generator[Job[T]]:
        if isinstance(operation, Reading):
            yield self._join(operation, worker)
            return
        job = worker.submit(lambda: self._perform(operation))
        try:
            yield job
        finally:
            job.cancel()  # if it has not begun, it need not

    def _join(self, reading: Reading, worker: StoreWorker) -> Job[Any]:
        """Return the job of the look-up that waits for its turn, which is one for these keys too."""
        with self._joining:
            worker.refuse_if_stuck()
            if self._next_reading is None:
                self._next_reading = reading, worker.submit(lambda: self._read_jointly(reading))
            else:
                self._next_reading[0].join(reading)
            return self._next_reading[1]

    def _read_jointly(self, reading: Reading) -> dict[str, Any]:
        with self._joining:  # its keys are final from here on
            self._next_reading = None
        return self._perform(reading)

    def _make_here(self, call: Callable[[], T]) -> T:
        with self._lock:
            try:
                return call()
            except (Exception, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise contained(error) from error

    def _perform(self, operation: Callable[[CacheStore], T]) -> T:
        self._inside = get_ident()
        try:
            if self._unwanted:
                unwanted = self._unwanted.copy()
                if None in unwanted:
                    self._store.clear()
                else:
                    self._store.delete_many([key for key in unwanted if key is not None])
                self._unwanted -= unwanted
            return operation(self._store)
        finally:
            self._inside = None

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
        match error:
            case StoreMisbehavedError():
                reason = str(error)
            case TimeoutError():
                reason = "no answer in time"
            case _:
                reason = type(error).__name__
        self._troubles.failed(reason, error)
        return otherwise


def _nothing(store: CacheStore) -> None:
    """Do nothing but what comes before every call: delete what is not wanted."""


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
