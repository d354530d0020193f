"""Keeps the trouble a cache store may make away from those who ask the cache."""

import asyncio
import errno
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, TypeVar

from mcp_orchestra.cache.breaker import Breaker
from mcp_orchestra.cache.troubles import StoreTroubles
from mcp_orchestra.cache.worker import Job, StoreMisbehavedError, StoreWorker, contained
from mcp_orchestra.stores import CacheStore

__all__ = ["Reading", "StoreGuard"]

T = TypeVar("T")

_MOMENT = 0.05  # seconds
_AT_ONCE = 500
_MOST_DELETED = 10_000  # one by one; to fetch the others anew costs less than to delete more than that

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a store may raise that takes no more, and can be read all the same."""


def _nothing(store: CacheStore) -> None:
    """Do nothing but what comes before every call: delete what is not wanted."""


def _do_nothing() -> None:
    """Do nothing at all."""


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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


class _StoreRestsError(Exception):
    """The store could not be reached a moment ago, which is known and need not be told again."""


class StoreGuard:
    """Makes calls to a store: one at a time, within bounds, never raising.

    What a store raises, `KeyboardInterrupt` apart, is a failure of the call and nothing more. A store that comes back
    here while it is called is refused: it would wait for itself, or be called in the middle of something.

    Args:
        store: The store; it belongs to the guard.
        blocking: Whether the store waits for a disk or a network. Such calls are made in a thread and waited for no
            longer than ``timeout`` from their turn on; while one of them hangs, the others fail at once. A store that
            cannot be reached (``ConnectionError``, ``TimeoutError``) is left alone for a while.
        timeout: Seconds.
        troubles: Told of every failure and success.
        clock: Seconds.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        blocking: bool,
        timeout: float,
        troubles: StoreTroubles,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._worker = StoreWorker(timeout) if blocking else None
        self._breaker = Breaker(clock)
        self._troubles = troubles
        self._lock = Lock()
        self._joining = Lock()
        self._next_reading: tuple[Reading, Job[Any]] | None = None
        self._inside: int | None = None
        self._unwanted: dict[str | None, object] = {}  # each with a mark of who said so last
        self._amendments: dict[str, Callable[[CacheStore], None]] = {}
        self._demanding = Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._closed

    @property
    def resting(self) -> bool:
        """Whether the store could not be reached when last tried."""
        return self._breaker.open

    def condemn(self, key: str | None) -> None:
        """Have the entry under ``key``, or all for None, deleted before the next call gets at the store.

        It is thus never seen again, even if the store is out of order now: until the deletion succeeds, calls fail.
        """
        with self._demanding:
            self._unwanted[key] = object()

    def amend(self, key: str, amendment: Callable[[CacheStore], None]) -> None:
        """Have the entry under ``key`` changed before the next call gets at the store, and try to do it now.

        Like a deletion, it is never overtaken, and calls fail until it succeeds.
        """
        with self._demanding:
            self._amendments[key] = amendment
        self.send(_nothing)

    def unspoilt(self, found: Mapping[str, T]) -> dict[str, T]:
        """Return, of what was found under keys a moment ago, that which is not to be deleted or changed meanwhile."""
        with self._demanding:
            if None in self._unwanted:
                return {}
            return {key: it for key, it in found.items() if key not in self._unwanted and key not in self._amendments}

    def discard(self, key: str | None) -> None:
        """Condemn the entry under ``key``, or all for None, and try to delete it now.

        On an event loop a blocking store is not waited for.
        """
        self.condemn(key)
        self.send(_nothing)

    def send(self, operation: Callable[[CacheStore], object], otherwise: Callable[[], None] = _do_nothing) -> None:
        """Make an operation whose result nobody needs; on an event loop a blocking store is not waited for.

        Args:
            operation: Made in its turn: calls that come later see what it did.
            otherwise: Called, from any thread, if the operation fails or cannot be made.
        """
        if self._worker is None or not _on_event_loop():
            if self.call(lambda store: (operation(store), True)[1], otherwise=False) is False:
                otherwise()
            return
        if self._closed:
            return

        known = self._troubles.count

        def ended(future: Future[object]) -> None:
            if isinstance(error := future.exception(), Exception):
                self._failed(error, None)
                otherwise()
            else:
                self._finished(known)

        try:
            self._refuse_while_resting()
            self._worker.submit(lambda: self._perform(operation)).add_done_callback(ended)
        except Exception as error:  # noqa: BLE001  # as in `call`
            self._failed(error, None)
            otherwise()

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
                self._refuse_while_resting()
                with self._submitted(operation, self._worker) as job:
                    result = self._worker.result(job)
        except Exception as error:  # noqa: BLE001  # a store may raise anything
            return self._failed(error, otherwise)
        self._finished(known)
        return result

    def glance(self, operation: Callable[[CacheStore], T], otherwise: T, later: T) -> T:
        """Do what `call` does; on an event loop, return ``later`` if a blocking store needs more than 50 ms."""
        if self._worker is None or self._closed or not _on_event_loop() or not self._breaker.admits():
            return self.call(operation, otherwise)
        known = self._troubles.count
        try:
            job = self._worker.submit(lambda: self._perform(operation))
            wait([job], _MOMENT)
            if not job.done():
                return later
            result = job.result()
        except Exception as error:  # noqa: BLE001  # as in `call`
            return self._failed(error, otherwise)
        self._finished(known)
        return result

    async def acall(self, operation: Callable[[CacheStore], T], otherwise: T) -> T:
        """Do what `call` does without holding up the event loop."""
        if self._worker is None or self._closed:
            return self.call(operation, otherwise)
        known = self._troubles.count
        try:
            self._refuse_while_resting()
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
            if self._unwanted or self._amendments:
                self._try_to_meet_demands()
            return operation(self._store)
        finally:
            self._inside = None

    def _try_to_meet_demands(self) -> None:
        try:
            self._meet_demands()
        except OSError as error:
            if error.errno not in _FULL:
                raise  # it cannot be reached, so what is to be done now will not succeed either
            self._troubles.failed(type(error).__name__, error)
        except Exception as error:  # noqa: BLE001  # what is demanded of some keys must not cost the others
            self._troubles.failed(type(error).__name__, error)

    def _meet_demands(self) -> None:
        with self._demanding:
            unwanted, amendments = self._unwanted.copy(), self._amendments.copy()
        if None in unwanted or len(unwanted) > _MOST_DELETED:
            self._store.clear()
            self._met(self._unwanted, unwanted)
        keys = [key for key in unwanted if key is not None] if self._unwanted else []
        for start in range(0, len(keys), _AT_ONCE):
            batch = keys[start : start + _AT_ONCE]
            self._store.delete_many(batch)
            self._met(self._unwanted, {key: unwanted[key] for key in batch})
        for key, amendment in amendments.items():
            amendment(self._store)
            self._met(self._amendments, {key: amendment})

    def _met(self, demands: dict[Any, Any], met: Mapping[Any, object]) -> None:
        """Strike out what was done, unless it was demanded once more meanwhile: others may have stored it anew."""
        with self._demanding:
            for key, demand in met.items():
                if demands.get(key) is demand:
                    del demands[key]

    def _shut(self) -> None:
        try:
            self._perform(_nothing)  # a store that outlives us must not keep what is condemned
        finally:
            self._store.close()

    def _refuse_while_resting(self) -> None:
        if not self._breaker.admits():
            raise _StoreRestsError

    def _finished(self, known_troubles: int) -> None:
        self._breaker.worked()
        if self._troubles.count == known_troubles:  # the operation itself may have found something wrong
            self._troubles.worked()

    def _failed(self, error: Exception, otherwise: T) -> T:
        # The store's own words stay out of the log: they may hold an address with a password.
        match error:
            case _StoreRestsError():
                return otherwise
            case StoreMisbehavedError():
                reason = str(error)
            case TimeoutError():
                reason = "no answer in time"
            case _:
                reason = type(error).__name__
        if isinstance(error, OSError) and error.errno not in _FULL:
            self._breaker.failed()
        self._troubles.failed(reason, error)
        return otherwise
