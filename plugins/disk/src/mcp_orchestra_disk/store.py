"""A store in a directory, for as many threads and processes as like to share it."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from mcp_orchestra import StoredEntry

from mcp_orchestra_disk import leases, rows
from mcp_orchestra_disk.database import Database, transaction
from mcp_orchestra_disk.directory import absolute, default_directory, prepare_directory

__all__ = ["DiskStore"]

T = TypeVar("T")


class DiskStore:
    """Keeps entries in an SQLite database of the format that ``diskcache`` uses.

    Args:
        directory: For this cache alone; ``~`` stands for the home directory. It is created if it does not exist. By
            default ``mcp-orchestra`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
        max_bytes: Bytes that the entries may take up in the file; beyond, those stored least recently go first. A
            single entry that is larger is not kept, and nothing has to go for it.
        timeout: Seconds to wait for a database that another process has locked.
        clock: Seconds since the epoch, which leases are dated with.

    Raises:
        ValueError: There would be no room for anything.
        UnsafeDirectoryError: Others could read what is in the directory, or plant something.
        OSError: The directory is not there and cannot be created.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int = 1024 * 1024 * 1024,
        timeout: float = 0.2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes < 1024 * 1024:
            raise ValueError("max_bytes must be at least 1048576 (1 MiB)")
        if not 0 < timeout <= 60:
            raise ValueError("timeout must be more than 0 and at most 60 seconds")
        path = default_directory() if directory is None else absolute(directory)
        prepare_directory(path)
        self._database = Database(path, timeout)
        self._max_bytes = max_bytes
        self._clock = clock
        self._refused = 0
        with suppress(
            OSError, sqlite3.Error
        ):  # whoever has it locked, or whatever fills the disk, may be gone at the first question
            self._database.run(lambda connection: None)

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        """Return what is there, expired or not. A row that this cache cannot have written is deleted and absent."""
        encoded = _encoded(keys)
        if not encoded:
            return {}
        entries, refused = self._database.run(lambda connection: rows.read(connection, encoded))
        if refused:
            self._refused += len(refused)
            with suppress(OSError):  # it will be refused the next time, too
                self._write(lambda connection: connection.executemany(_DELETE_ROW, [(row,) for row in refused]))
        return entries

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        """Store the entries, all or none, and return how many had to go to make room."""
        encoded = {rows.encode(key): entry for key, entry in entries.items()}
        if not encoded:
            return 0

        def store(connection: sqlite3.Connection) -> int:
            leases.revoke(connection, list(encoded))
            return rows.store(connection, encoded, self._max_bytes)

        return self._write(store)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries under these keys and return how many there were.

        Even a full disk does not keep an entry alive: if it has no room for the deletion, all entries go.
        """
        encoded = _encoded(keys)
        if not encoded:
            return 0

        def delete(connection: sqlite3.Connection) -> int:
            leases.revoke(connection, encoded)
            return rows.delete(connection, encoded)

        try:
            return self._write(delete)
        except OSError as error:
            if not _cannot_write(error):
                raise
            there = 0
            with suppress(OSError):
                there = len(self._database.run(lambda connection: rows.read(connection, encoded))[0])
            self._database.remove()
            return there

    def clear(self) -> None:
        """Drop everything."""

        def clear(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM Leases")
            connection.execute("DELETE FROM Cache")

        try:
            self._write(clear)
        except OSError as error:
            if not _cannot_write(error):
                raise
            self._database.remove()

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``."""

        def count(connection: sqlite3.Connection) -> int:
            ((number,),) = connection.execute("SELECT COUNT(*) FROM Cache WHERE expire_time > ?", (now,)).fetchall()
            return int(number)

        return self._database.run(count)

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were."""

        def purge(connection: sqlite3.Connection) -> int:
            leases.drop_ended(connection, self._clock())
            return connection.execute("DELETE FROM Cache WHERE expire_time <= ?", (now,)).rowcount

        return self._write(purge)

    def close(self) -> None:
        """Close the database; it stays where it is."""
        self._database.close()

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Give the holder the lease on a key, or renew it, for a minute at most.

        Returns:
            False while another one holds it.
        """
        encoded, by = rows.encode(key), rows.encode(holder)

        def acquire(connection: sqlite3.Connection) -> bool:
            now = self._clock()
            if not leases.may_have(connection, encoded, by, now):
                return False
            leases.grant(connection, encoded, by, now, seconds)
            return True

        return self._write(acquire)

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        """Renew a lease, for a minute at most.

        Returns:
            False, and nothing is granted, unless the holder holds it.
        """
        encoded, by = rows.encode(key), rows.encode(holder)

        def renew(connection: sqlite3.Connection) -> bool:
            now = self._clock()
            if not leases.is_held(connection, encoded, by, now):
                return False
            leases.grant(connection, encoded, by, now, seconds)
            return True

        return self._write(renew)

    def set_held(self, key: str, entry: StoredEntry, holder: str) -> int | None:
        """Store the entry and end the lease, in one step, if the holder holds it.

        Returns:
            How many other entries were evicted to make room; None if the holder has no lease and nothing was stored.
        """
        encoded, by = rows.encode(key), rows.encode(holder)

        def store(connection: sqlite3.Connection) -> int | None:
            if not leases.is_held(connection, encoded, by, self._clock()):
                return None
            leases.end(connection, encoded, by)
            return rows.store(connection, {encoded: entry}, self._max_bytes)

        return self._write(store)

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        encoded, by = rows.encode(key), rows.encode(holder)
        self._write(lambda connection: leases.end(connection, encoded, by))

    def notices(self) -> Sequence[str]:
        """Return what was found broken or planted."""
        notices = [
            f"a cache database that could not be used was moved aside to {path}; delete it once it is of no use"
            for path in self._database.moved_aside()
        ]
        if self._refused:
            notices.append(
                f"{self._refused} entries in {self._database.path} were not as this cache writes them and were dropped"
            )
        return notices

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def write(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                return work(connection)

        return self._database.run(write)


_DELETE_ROW = "DELETE FROM Cache WHERE rowid = ?"


def _encoded(keys: Iterable[str]) -> list[bytes]:
    return list({rows.encode(key): None for key in keys})


def _cannot_write(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EIO)
