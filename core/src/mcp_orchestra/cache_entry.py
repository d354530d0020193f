"""What is kept under a key: the cached data and what was said about it, as bytes that prove whose they are.

The bytes are JSON and carry their own key and expiry, so a store that mixes up keys or keeps an entry for too long can
cause a miss but never a wrong or an outdated answer. JSON is the only format: nothing that is read back can run code.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple, cast

from pydantic_core import from_json, to_json

__all__ = ["CacheScope", "Entry", "Fetched", "decode", "encode"]

CacheScope = Literal["public", "private"]

_VERSION = 1
_DEEPEST = 150  # the parser gives up a little below 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a fetch brought back, and what the server said about keeping it."""

    data: dict[str, Any]
    """The answer."""
    ttl_ms: int | None = None
    """The server's ``ttlMs``: milliseconds for which the answer is fresh; None if it said nothing."""
    scope: CacheScope = "private"
    """The server's ``cacheScope``; what it did not say, or said in an unknown word, is private."""
    cacheable: bool = True
    """False for an answer that is handed out but not kept, such as a partial one."""


class Entry(NamedTuple):
    """A cached answer."""

    data: dict[str, Any]
    expires_at: float
    """On the cache's clock: fresh before, expired from then on."""
    ttl_ms: int | None = None
    scope: CacheScope = "private"


def encode(key: str, entry: Entry) -> tuple[bytes, dict[str, Any]]:
    """Turn an entry into bytes.

    JSON encoders silently turn sets and tuples into lists, bytes into text and any key into text. What was written is
    therefore read again and compared: what comes out of the cache equals what went in.

    Returns:
        The bytes, and the data as read back from them.

    Raises:
        TypeError: The data is not a dict, or would not come back equal; the message says where.
    """
    if not isinstance(entry.data, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise TypeError(f"the data for cache key {key!r} must be a dict, not {type(entry.data).__name__}")
    try:
        value = to_json({"v": _VERSION, "key": key, **entry._asdict()}, inf_nan_mode="null")
        returned = from_json(value)["data"]
        if returned == entry.data:
            return value, returned
    except Exception:  # noqa: BLE001, S110  # a value's own serializer or __eq__ may raise anything
        pass
    raise TypeError(
        f"the data for cache key {key!r} cannot be kept as JSON: {_problem(entry.data, 'data')}; use text, finite "
        f"numbers, booleans, None, lists, and dicts with text keys, at most {_DEEPEST} levels deep"
    )


def decode(key: str, value: bytes) -> Entry | None:
    """Turn the bytes found under ``key`` back into an entry with containers of its own.

    Returns:
        The entry, or None if another version of this library wrote it.

    Raises:
        ValueError: The bytes are not what was stored under this key.
    """
    try:
        envelope = from_json(value)
        if envelope["v"] != _VERSION:
            return None
        entry = Entry(envelope["data"], envelope["expires_at"], envelope["ttl_ms"], envelope["scope"])
        if envelope["key"] == key and type(entry.data) is dict and type(entry.expires_at) is float:
            return entry
    except (ValueError, TypeError, LookupError):
        pass
    raise ValueError("not a cache entry of this key")


def _problem(value: object, place: str, depth: int = 0) -> str:
    """Say where the first thing is that JSON cannot hold and of which type, without showing it; "" if nowhere."""
    if depth > _DEEPEST:
        return f"{place[:80]}… is too deep"
    if isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            if not isinstance(key, str):
                return f"a key of {place} is {type(key).__name__}"
            if found := _problem(item, f"{place}[{key!r}]", depth + 1):
                return found
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            if found := _problem(item, f"{place}[{index}]", depth + 1):
                return found
    elif isinstance(value, float) and not isfinite(value):
        return f"{place} is not finite"
    elif value is not None and not isinstance(value, (str, int, float)):
        return f"{place} is {type(value).__name__}"
    return "" if depth else "a text is not valid Unicode or a number is too long"
