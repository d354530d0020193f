"""The connection to a database that may be locked, broken, deleted or replaced at any time."""

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, get_ident
from typing import TypeVar

from mcp_orchestra_disk.directory import prepare_directory, sole_access
from mcp_orchestra_disk.errors import is_broken, is_locked, translated
from mcp_orchestra_disk.files import (
    Identity,
    broken_files,
    close_to_others,
    ensure_database,
    identity_of,
    move_aside,
    remove_broken_files,
    remove_database,
)
from mcp_orchestra_disk.layout import AlteredDatabaseError, check_tables, schema_version, set_up
from mcp_orchestra_disk.log import LogInUseError, empty_log, log_limit, log_size
from mcp_orchestra_disk.names import DATABASE

__all__ = ["Database"]

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
        max_bytes: What it may take up, its log included.
        timeout: Seconds to wait for other processes, and as many for other threads of this one.
    """

    def __init__(self, directory: Path, max_bytes: int, timeout: float) -> None:
        self.path: Path = directory / DATABASE
        self.cleared: int = 0
        """How many broken databases were deleted with everything else."""
        self._max_bytes = max_bytes
        self._log_limit = log_limit(max_bytes)
        self._timeout = timeout
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._schema = 0
        self._broken: Sequence[Path] = ()
        self._closed = False
        self._forking: set[int] = set()
        # SQLite: a connection must not be carried across a fork. With the lock, nothing is under way on it meanwhile.
        os.register_at_fork(
            before=_weakly(self._before_fork),
            after_in_parent=_weakly(self._after_fork),
            after_in_child=_weakly(self._after_fork_in_child),
        )

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have something looked up in the database.

        Args:
            work: Does it, and may be called again from the start if the database turns out to be broken.

        Returns:
            What it returned.

        Raises:
            TimeoutError: Another process, or thread, had the database locked all the time.
            ForeignDatabaseError: It is the database of another program.
            OSError: The database can be neither read nor created.
            ValueError: The database was closed for good.
        """

        def checked(connection: sqlite3.Connection) -> T:
            self._check(connection)
            return work(connection)

        return self._run(checked)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have something changed in the database, all of it or nothing, while no other process changes anything.

        Args:
            work: As in `read`.

        Returns:
            What it returned.

        Raises:
            OSError: As in `read`; also, there is no room on the disk, or in the log.
            ValueError: As in `read`.
        """

        def write(connection: sqlite3.Connection) -> T:
            if log_size(self.path) > self._log_limit:
                empty_log(connection)
            with _transaction(connection):
                self._check(connection)
                result = work(connection)
            if log_size(self.path) > self._log_limit:
                _try_to_empty_log(connection)
            return result

        return self._run(write)

    def shrink(self) -> None:
        """Give what was dropped back to the file system, unless somebody has the database in use."""
        with suppress(OSError):
            self._run(_try_to_empty_log)

    def remove(self) -> None:
        """Delete the database with all that is in it, and the broken ones; the next use creates an empty one.

        Raises:
            OSError: It cannot be deleted.
        """
        with self._turn():
            self._disconnect()
            with sole_access(self.path.parent, self._timeout):
                remove_database(self.path, self._identity)
                self.cleared += remove_broken_files(self.path)

    def moved_aside(self) -> Sequence[Path]:
        """Return the broken databases that were there when the database was opened last, and still are."""
        return [path for path in self._broken if os.path.lexists(path)]

    def close(self) -> None:
        """Close the connection for good."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._turn():
            deadline = time.monotonic() + self._timeout
            attempts = _ATTEMPTS
            while True:
                try:
                    return work(self._connected())
                except (sqlite3.Error, AlteredDatabaseError, LogInUseError) as error:
                    if is_locked(error) and time.monotonic() < deadline:
                        time.sleep(_POLL_SECONDS)
                        continue
                    attempts -= 1
                    self._recover(error, give_up=not attempts)

    @contextmanager
    def _turn(self) -> Generator[None]:
        lock = self._lock  # it is another one in a child that is forked meanwhile
        if not lock.acquire(timeout=self._timeout):
            raise TimeoutError(f"{self.path} is busy in other threads")
        try:
            if self._closed:
                raise ValueError("the store is closed")
            yield
        finally:
            lock.release()

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
                set_up(connection, self._max_bytes, self.path.stat().st_size)
                self._schema = schema_version(connection)
                check_tables(connection, self.path)
                close_to_others(self.path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Notice a trigger or anything else that somebody planted since; in a transaction nobody can."""
        if (version := schema_version(connection)) != self._schema:
            check_tables(connection, self.path)
            self._schema = version

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
        if self._lock.acquire(timeout=self._timeout):
            self._forking.add(get_ident())

    def _after_fork(self) -> None:
        if get_ident() in self._forking:
            self._forking.remove(get_ident())
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        if get_ident() in self._forking:
            self._disconnect()
        else:  # a thread that does not exist here is in the middle of using it, and keeps it from ever being closed
            self._connection = None
        self._forking.clear()
        self._lock = Lock()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
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


def _try_to_empty_log(connection: sqlite3.Connection) -> None:
    with suppress(LogInUseError, sqlite3.Error):  # it will be seen to before the next change
        empty_log(connection)


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Return what calls a method for as long as its object is there: what is registered for forks stays for ever."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (found := reference()) is not None:
            found()

    return call
