"""A store in a directory, for as many threads and processes as like to share it."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from mcp_orchestra import StoredEntry

from mcp_orchestra_disk import leases, rows
from mcp_orchestra_disk.database import Database
from mcp_orchestra_disk.directory import absolute, default_directory, prepare_directory
from mcp_orchestra_disk.layout import ForeignDatabaseError
from mcp_orchestra_disk.log import log_limit
from mcp_orchestra_disk.options import LEAST_BYTES, MAX_BYTES, MOST_SECONDS, TIMEOUT

__all__ = ["DiskStore"]


class DiskStore:
    """Keeps entries in an SQLite database of the format that ``diskcache`` uses.

    Args:
        directory: For this cache alone; ``~`` stands for the home directory. It is created if it does not exist. By
            default ``mcp-orchestra`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
        max_bytes: Bytes that the cache may take up on disk, an eighth of them, or 16 MiB, for its log; beyond, the
            entries stored least recently go first. A single entry that is larger is not kept, and nothing has to go
            for it.
        timeout: Seconds to wait for a database that another process has locked.
        clock: Seconds since the epoch, which leases are dated with.

    Raises:
        ValueError: There would be no room for anything.
        ForeignDatabaseError: There is the database of another program.
        UnsafeDirectoryError: Others could read what is in the directory, or plant something.
        OSError: The directory is not there and cannot be created.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes must be at least {LEAST_BYTES}")
        if not 0 < timeout <= MOST_SECONDS:
            raise ValueError(f"timeout must be more than 0 and at most {MOST_SECONDS:.0f} seconds")
        path = default_directory() if directory is None else absolute(directory)
        prepare_directory(path)
        self._database = Database(path, max_bytes, timeout)
        log_bytes = log_limit(max_bytes)
        self._room = max_bytes - log_bytes
        self._at_once = log_bytes // 2
        self._clock = clock
        self._refused = 0
        try:
            self._database.read(lambda connection: None)
        except ForeignDatabaseError:
            raise
        except (OSError, sqlite3.Error):
            pass  # whoever has it locked, or whatever fills the disk, may be gone at the first question

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        """Return what is there, expired or not. A row that this cache cannot have written is deleted and absent."""
        encoded = _encoded(keys)
        if not encoded:
            return {}
        entries, refused = self._database.read(lambda connection: rows.read(connection, encoded))
        if refused:
            self._refused += len(refused)
            with suppress(OSError):  # it will be refused the next time, too
                self._database.write(lambda connection: rows.drop(connection, refused))
        return entries

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        """Store the entries, all or none, and return how many had to go to make room."""
        encoded = {rows.encode(key): entry for key, entry in entries.items()}
        if not encoded:
            return 0

        def store(connection: sqlite3.Connection) -> int:
            leases.revoke(connection, list(encoded))
            return rows.store(connection, encoded, self._room)

        return self._database.write(store)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries under these keys and return how many there were.

        Neither a full disk nor a log that cannot be begun anew keeps an entry alive: if there is no room for the
        deletion, all entries go.
        """
        deleted, rounds = 0, 0
        encoded = _encoded(keys)
        try:
            for batch in rows.batches(encoded):
                done = False
                while not done:
                    number, done = self._database.write(partial(self._delete, keys=batch))
                    deleted, rounds = deleted + number, rounds + 1
            if rounds > 1:
                self._database.shrink()
        except OSError as error:
            if not _cannot_write(error):
                raise
            with suppress(OSError):
                deleted += len(self._database.read(lambda connection: rows.read(connection, encoded))[0])
            self._database.remove()
        return deleted

    def clear(self) -> None:
        """Drop everything, at once and whatever its size: the database is replaced by an empty one.

        What was moved aside goes too.
        """
        try:
            self._database.read(lambda connection: None)  # whose it is
        except OSError as error:
            if not _cannot_write(error):
                raise
        self._database.remove()

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``."""

        def count(connection: sqlite3.Connection) -> int:
            ((number,),) = connection.execute("SELECT COUNT(*) FROM Cache WHERE expire_time > ?", (now,)).fetchall()
            return int(number)

        return self._database.read(count)

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were."""
        self._database.write(lambda connection: leases.drop_ended(connection, self._clock()))
        purged = 0
        while some := self._database.write(lambda connection: rows.purge_some(connection, now, self._at_once)):
            purged += some
        self._database.shrink()
        return purged

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

        return self._database.write(acquire)

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

        return self._database.write(renew)

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
            return rows.store(connection, {encoded: entry}, self._room)

        return self._database.write(store)

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        encoded, by = rows.encode(key), rows.encode(holder)
        self._database.write(lambda connection: leases.end(connection, encoded, by))

    def notices(self) -> Sequence[str]:
        """Return what was found broken or planted."""
        notices = [
            f"what could not be used as the cache database was moved aside to {path}; delete it once it is of no use"
            for path in self._database.moved_aside()
        ]
        if self._database.cleared:
            notices.append(
                f"{self._database.cleared} times something could not be used as the cache database; it was deleted when"
                " the cache was cleared"
            )
        if self._refused:
            notices.append(
                f"{self._refused} entries in {self._database.path} were not as this cache writes them and were dropped"
            )
        return notices

    def _delete(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> tuple[int, bool]:
        leases.revoke(connection, keys)
        return rows.delete_some(connection, keys, self._at_once)


def _encoded(keys: Iterable[str]) -> list[bytes]:
    return list({rows.encode(key): None for key in keys})


def _cannot_write(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EIO)
