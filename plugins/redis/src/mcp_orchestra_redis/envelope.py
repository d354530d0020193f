"""How an entry is written into one value of Redis: a mark, its expiry, its own name, and the bytes themselves."""

import struct

from mcp_orchestra import StoredEntry

__all__ = ["HEADER_BYTES", "expiry", "milliseconds_to_keep", "unwrap", "wrap"]

_MARK = b"mco\x01"
_HEADER = struct.Struct(">4sdI")
HEADER_BYTES = _HEADER.size
"""How much of a value has to be read for its expiry."""

_AFTERWARDS = (
    60.0  # seconds: who asks for an entry shortly after its end is told that it has expired, as by other stores
)
_LONGEST = 31 * 24 * 3600.0  # seconds


def wrap(name: bytes, entry: StoredEntry) -> bytes:
    """Return the value that stands for an entry under this name."""
    return b"".join((_HEADER.pack(_MARK, entry.expires_at, len(name)), name, entry.value))


def unwrap(name: bytes, value: bytes) -> StoredEntry | None:
    """Return the entry that a value stands for, or None if it is not one of this name.

    A value of another name would be the answer to another question. It cannot come unless a connection is out of step,
    and must not be served if it does.
    """
    if not value.startswith(name, HEADER_BYTES):
        return None
    mark, expires_at, length = _HEADER.unpack_from(value)
    if mark != _MARK or length != len(name):
        return None
    return StoredEntry(value[HEADER_BYTES + length :], expires_at)


def expiry(header: bytes) -> float | None:
    """Return when the entry expires that a value with this beginning stands for; None if it is not one."""
    if len(header) < HEADER_BYTES:
        return None
    mark, expires_at, _ = _HEADER.unpack_from(header)
    return float(expires_at) if mark == _MARK else None


def milliseconds_to_keep(expires_at: float, now: float) -> int:
    """Return for how long Redis is to keep an entry: housekeeping, for the cache alone decides what is fresh."""
    left = expires_at - now
    return round((min(left, _LONGEST) if left > 0 else 0.0) * 1000 + _AFTERWARDS * 1000)
