"""The connection to a database that may be locked, broken, deleted or replaced at any time."""

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from mcp_orchestra_disk.directory import DATABASE, prepare_directory, sole_access
from mcp_orchestra_disk.errors import is_broken, is_locked, translated
from mcp_orchestra_disk.files import (
    Identity,
    broken_files,
    ensure_database,
    identity_of,
    move_aside,
    remove_database,
)
from mcp_orchestra_disk.layout import ForeignDatabaseError, check_tables, set_up

__all__ = ["Database", "transaction"]

T = TypeVar("T")

_BUSY_SECONDS = 0.005  # SQLite waits ever longer between its attempts, so that some would never have their turn
_POLL_SECONDS = 0.001
_ATTEMPTS = 3  # the database is broken; so is the one that another process put in its place; there is a good one


class Database:
    """One connection to a cache's database, for one thread at a time, opened whenever it is needed.

    Before each use a look at the directory tells whether the database is still the one that is open: SQLite would not
    notice and go on with a deleted one. One that is broken is moved aside, and work goes on with an empty one.

    Args:
        directory: Where the database is or will be.
        timeout: Seconds to wait for other processes, and as many for other threads of this one.
    """

    def __init__(self, directory: Path, timeout: float) -> None:
        self.path: Path = directory / DATABASE
        self._timeout = timeout
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._broken: Sequence[Path] = ()
        self._closed = False
        # SQLite: a connection must not be carried across a fork. With the lock, nothing is under way on it meanwhile.
        os.register_at_fork(
            before=_weakly(self._before_fork),
            after_in_parent=_weakly(self._after_fork),
            after_in_child=_weakly(self._after_fork_in_child),
        )

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have something done with the database.

        Args:
            work: Does it, and may be called again from the start if the database turns out to be broken.

        Returns:
            What it returned.

        Raises:
            TimeoutError: Another process, or thread, had the database locked all the time.
            OSError: The database can be neither read nor created.
            ValueError: The database was closed for good.
        """
        with self._turn():
            deadline = time.monotonic() + self._timeout
            attempts = _ATTEMPTS
            while True:
                try:
                    return work(self._connected())
                except (sqlite3.Error, ForeignDatabaseError) as error:
                    if is_locked(error) and time.monotonic() < deadline:
                        time.sleep(_POLL_SECONDS)
                        continue
                    attempts -= 1
                    self._recover(error, give_up=not attempts)

    def remove(self) -> None:
        """Delete the database with all that is in it; the next use creates an empty one.

        Raises:
            OSError: It cannot be deleted.
        """
        with self._turn():
            self._disconnect()
            with sole_access(self.path.parent, self._timeout):
                remove_database(self.path, self._identity)

    def moved_aside(self) -> Sequence[Path]:
        """Return, without waiting, the broken databases that were there when the database was opened last."""
        return self._broken

    def close(self) -> None:
        """Close the connection for good."""
        with self._lock:
            self._closed = True
            self._disconnect()

    @contextmanager
    def _turn(self) -> Generator[None]:
        if not self._lock.acquire(timeout=self._timeout):
            raise TimeoutError(f"{self.path} is busy in other threads")
        try:
            if self._closed:
                raise ValueError("the store is closed")
            yield
        finally:
            self._lock.release()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            if identity_of(self.path) == self._identity:
                return self._connection
            self._disconnect()
        prepare_directory(self.path.parent)
        with sole_access(self.path.parent, self._timeout):
            self._identity = ensure_database(self.path)
            self._broken = broken_files(self.path)
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                set_up(connection)
                check_tables(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return connection

    def _recover(self, error: Exception, *, give_up: bool) -> None:
        if not is_locked(error):
            self._disconnect()  # what is wrong with it may have to do with what SQLite remembers
        if give_up or not is_broken(error):
            raise translated(error, self.path) from error
        with sole_access(self.path.parent, self._timeout):
            move_aside(self.path, self._identity)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._disconnect()
        self._lock.release()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Do all of the block or nothing, and let no other process change anything meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after some errors SQLite has rolled back already
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Return what calls a method for as long as its object is there: what is registered for forks stays for ever."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (found := reference()) is not None:
            found()

    return call
