"""Entries as rows of ``diskcache``'s table, and as many of them as there is room for.

A value stands in its row, whatever its size: what is committed is never torn, no other file can take its place, and it
is read about as fast as ``diskcache`` reads it from a file of its own. Each row has a checksum over key, expiry and
value: SQLite does not notice when part of a value is lost with the end of a truncated file.
"""

import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence

from mcp_orchestra import StoredEntry

from mcp_orchestra_disk.safe_disk import RawDisk, RefusedRowError

__all__ = [
    "Refused",
    "batches",
    "decode",
    "delete_some",
    "drop",
    "encode",
    "placeholders",
    "purge_some",
    "read",
    "store",
]

_BATCH = 500  # SQLite before 3.32 has no more than 999 parameters
_RESERVED_PAGES = 16  # what the tables and their indexes take up without an entry
_LONGEST = 1_000_000_000 - 4096  # of SQLite's values
_DISK = RawDisk("")
_DELETE = "DELETE FROM Cache WHERE rowid = ?"

Refused = list[int]
"""The rows that are not as this cache writes them."""


def encode(key: str) -> bytes:
    """Return the bytes that stand for a key: any text, lone surrogates included."""
    return key.encode("utf-8", "surrogatepass")


def decode(key: bytes) -> str:
    """Return the key that the bytes stand for."""
    return key.decode("utf-8", "surrogatepass")


def drop(connection: sqlite3.Connection, refused: Refused) -> None:
    """Delete the rows that were refused."""
    connection.executemany(_DELETE, [(row,) for row in refused])


def placeholders(parameters: Sequence[object]) -> str:
    """Return as many question marks."""
    return ",".join("?" * len(parameters))


def batches(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split keys into as many as one statement takes."""
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> tuple[dict[str, StoredEntry], Refused]:
    """Return the entries under these keys, and the rows that are none of ours."""
    entries: dict[str, StoredEntry] = {}
    refused: Refused = []
    for batch in batches(keys):
        rows = connection.execute(
            "SELECT rowid, key, raw, mode, filename, expire_time, tag, value FROM Cache"  # noqa: S608  # question marks only
            f" WHERE key IN ({placeholders(batch)})",
            batch,
        )
        for rowid, key, raw, mode, filename, expires_at, checksum, value in rows:
            try:
                kept = _DISK.fetch(mode, filename, value, False)
                if type(expires_at) is not float or checksum != _checksum(_DISK.get(key, raw), kept, expires_at):
                    raise RefusedRowError("it was changed")
                entries[decode(key)] = StoredEntry(kept, expires_at)
            except RefusedRowError:
                refused.append(rowid)
    return entries, refused


def delete_some(connection: sqlite3.Connection, keys: Sequence[bytes], most_bytes: int) -> tuple[int, bool]:
    """Delete rows under these keys, whosever they are.

    Args:
        connection: In a transaction.
        keys: As many as one statement takes.
        most_bytes: How much to delete at most, so that the transaction is short; one row at least.

    Returns:
        How many were deleted, and whether that was all.
    """
    rows = connection.execute(
        f"SELECT rowid, length(key), length(value) FROM Cache WHERE key IN ({placeholders(keys)})",  # noqa: S608  # as above
        keys,
    ).fetchall()
    doomed = _first(rows, most_bytes)
    connection.executemany(_DELETE, doomed)
    return len(doomed), len(doomed) == len(rows)


def purge_some(connection: sqlite3.Connection, now: float, most_bytes: int) -> int:
    """Delete rows that expire at or before ``now``, as `delete_some` does, and return how many."""
    rows = connection.execute(
        "SELECT rowid, length(key), length(value) FROM Cache WHERE expire_time <= ?"
        " ORDER BY expire_time DESC LIMIT ?",  # the end of the file first: nothing has to be moved into the gap
        (now, _BATCH),
    ).fetchall()
    doomed = _first(rows, most_bytes)
    connection.executemany(_DELETE, doomed)
    return len(doomed)


def store(connection: sqlite3.Connection, entries: Mapping[bytes, StoredEntry], max_bytes: int) -> int:
    """Put entries in place of those there, one after the other, and drop what was stored first to make room.

    Args:
        connection: In a transaction.
        entries: An entry that would not fit alone is not stored; what was there under its key is dropped.
        max_bytes: What the database may take up.

    Returns:
        How many entries were dropped to make room.
    """
    ((page_size,),) = connection.execute("PRAGMA page_size").fetchall()
    longest = min(max_bytes - _RESERVED_PAGES * page_size, _LONGEST)
    for batch in batches(list(entries)):
        connection.execute(f"DELETE FROM Cache WHERE key IN ({placeholders(batch)})", batch)  # noqa: S608  # as above
    fitting = [
        (key, entry) for key, entry in entries.items() if _footprint(len(key), len(entry.value), page_size) <= longest
    ]
    staying = _staying(fitting, max_bytes)
    evicted = len(fitting) - len(staying)
    for key, entry in staying:
        evicted += _make_room(connection, max_bytes, page_size, _insert(connection, key, entry))
    return evicted


def _staying(entries: Sequence[tuple[bytes, StoredEntry]], max_bytes: int) -> Sequence[tuple[bytes, StoredEntry]]:
    """Return those that need not go for the ones after them, so that nothing is written in vain."""
    for number in range(len(entries), 0, -1):
        max_bytes -= len(entries[number - 1][1].value)
        if max_bytes < 0:
            return entries[number:]
    return entries


def _insert(connection: sqlite3.Connection, key: bytes, entry: StoredEntry) -> int:
    raw_key, raw = _DISK.put(key)
    size, mode, filename, value = _DISK.store(entry.value, False)
    now, expires_at = time.time(), float(entry.expires_at)
    cursor = connection.execute(
        "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, tag, size, mode, filename, value)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (raw_key, raw, now, expires_at, now, _checksum(key, value, expires_at), size, mode, filename, value),
    )
    return cursor.lastrowid or 0


def _make_room(connection: sqlite3.Connection, max_bytes: int, page_size: int, newest: int) -> int:
    """Drop the rows that were stored first, but for the newest, until the database is small enough."""
    evicted = 0
    while (excess := _pages(connection) * page_size - max_bytes) > 0:
        # The order of rowid is that of storing, whatever the clock did: a row that is replaced gets a new one.
        oldest = connection.execute(
            "SELECT rowid, length(key), length(value) FROM Cache WHERE rowid != ? ORDER BY rowid LIMIT 100", (newest,)
        ).fetchall()
        if not oldest:
            break
        doomed = _first(oldest, excess)
        connection.executemany(_DELETE, doomed)
        evicted += len(doomed)
    return evicted


def _first(rows: Sequence[tuple[int, int | None, int | None]], size: int) -> list[tuple[int]]:
    """Return, of rows with the lengths of their keys and values, as many as it takes to drop so many bytes."""
    doomed: list[tuple[int]] = []
    for rowid, key_size, value_size in rows:
        doomed.append((rowid,))
        size -= (key_size or 0) + (value_size or 0)
        if size <= 0:
            break
    return doomed


def _pages(connection: sqlite3.Connection) -> int:
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    ((unused,),) = connection.execute("PRAGMA freelist_count").fetchall()
    return int(pages) - int(unused)


def _footprint(key_size: int, value_size: int, page_size: int) -> int:
    """Return about how many bytes of the file an entry takes up: a key stands in the table and in an index."""
    whole_pages = (value_size + 2 * key_size) // (page_size - 64) + 3
    return int(whole_pages * page_size)


def _checksum(key: bytes, value: bytes, expires_at: float) -> int:
    """Return what tells that a row is whole."""
    return zlib.crc32(value, zlib.crc32(key + struct.pack("<d", expires_at)))
