"""Leases as rows: who fetches what is missing, and until when.

Every function is called in a transaction, so that of several processes one wins.
"""

import sqlite3
from collections.abc import Sequence

from mcp_orchestra_disk.rows import batches, placeholders

__all__ = ["LONGEST_SECONDS", "drop_ended", "end", "grant", "is_held", "may_have", "revoke"]

LONGEST_SECONDS = 60.0
"""No lease is granted for longer, so that one that ends later was dated before the clock was set back."""


def may_have(connection: sqlite3.Connection, key: bytes, holder: bytes, now: float) -> bool:
    """Whether nobody else has the lease."""
    return _holder(connection, key, now) in (None, holder)


def is_held(connection: sqlite3.Connection, key: bytes, holder: bytes, now: float) -> bool:
    """Whether the holder has the lease."""
    return _holder(connection, key, now) == holder


def grant(connection: sqlite3.Connection, key: bytes, holder: bytes, now: float, seconds: float) -> None:
    """Give the lease to the holder, whoever had it."""
    until = now + min(seconds, LONGEST_SECONDS)
    connection.execute("INSERT OR REPLACE INTO Leases (key, holder, until) VALUES (?, ?, ?)", (key, holder, until))


def end(connection: sqlite3.Connection, key: bytes, holder: bytes) -> None:
    """End the lease if the holder has it."""
    connection.execute("DELETE FROM Leases WHERE key = ? AND holder = ?", (key, holder))


def revoke(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """End the leases on these keys, whoever has them."""
    for batch in batches(keys):
        connection.execute(f"DELETE FROM Leases WHERE key IN ({placeholders(batch)})", batch)  # noqa: S608  # question marks only


def drop_ended(connection: sqlite3.Connection, now: float) -> None:
    """Drop what is left of leases that are none any more."""
    connection.execute("DELETE FROM Leases WHERE until <= ? OR until > ?", (now, now + LONGEST_SECONDS))


def _holder(connection: sqlite3.Connection, key: bytes, now: float) -> bytes | None:
    for holder, until in connection.execute("SELECT holder, until FROM Leases WHERE key = ?", (key,)):
        if type(holder) is bytes and type(until) is float and now < until <= now + LONGEST_SECONDS:
            return holder
    return None
