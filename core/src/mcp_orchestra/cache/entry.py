"""What is kept under a key: the cached data and what was said about it, in a form that proves whose it is.

Most stores keep bytes. They are JSON and nothing else: nothing that is read back can run code. A store in the memory of
this process may keep the object itself (`KeepsObjects`), which is faster, and takes what JSON cannot carry. Either form
carries its own key and times, so a store that mixes up keys or keeps an entry for too long can cause a miss but never a
wrong or an outdated answer.
"""

from dataclasses import dataclass
from math import isfinite
from types import NoneType
from typing import Any, Literal, NamedTuple, cast

from pydantic_core import from_json, to_json

from mcp_orchestra.copies import Original

__all__ = ["CacheScope", "Entry", "Fetched", "Kept", "decode", "encode", "kept", "pack", "unpack"]

CacheScope = Literal["public", "private"]

_VERSION = 2
_DEEPEST = 150  # the parser gives up a little below 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a fetch brought back, and what the server said about keeping it."""

    data: dict[str, Any]
    """The answer."""
    ttl_ms: int | None = None
    """The server's ``ttlMs``: milliseconds for which the answer is fresh; None if it said nothing."""
    hinted_whole: bool = True
    """Whether that holds for every part of an answer that is made of several."""
    age: float = 0.0
    """Seconds since the first part arrived: from then on it is fresh."""
    scope: CacheScope = "private"
    """The server's ``cacheScope``; what it did not say, or said in an unknown word, is private."""
    cacheable: bool = True
    """False for an answer that is handed out but not kept, such as a partial one."""


class Entry(NamedTuple):
    """A cached answer."""

    data: dict[str, Any]
    stored_at: float
    """On the cache's clock."""
    expires_at: float
    """On the cache's clock: fresh before, stale from then on."""
    ttl_ms: int | None = None
    scope: CacheScope = "private"
    outdated: bool = False
    """Whether the server said that the data has changed, or may have while nobody was listening."""


class Kept(NamedTuple):
    """An entry as an object, in a store that keeps objects or in front of one that does not."""

    key: str
    entry: Entry
    """Its data is shared and not to be changed."""
    original: Original
    """Makes copies of the data."""
    size: int
    """About how many bytes it takes."""


def encode(key: str, entry: Entry) -> tuple[bytes, dict[str, Any]]:
    """Turn an entry into bytes.

    JSON encoders silently turn sets and tuples into lists, bytes into text and any key into text. What was written is
    therefore read again and compared: what comes out of the cache equals what went in.

    Returns:
        The bytes, and the data as read back from them.

    Raises:
        TypeError: The data is not a dict, or would not come back equal; the message says where.
    """
    _check(key, entry)
    envelope = {
        "v": _VERSION,
        "key": key,
        "data": entry.data,
        "stored_at": entry.stored_at,
        "expires_at": entry.expires_at,
        "ttl_ms": entry.ttl_ms,
        "scope": entry.scope,
        "outdated": entry.outdated,
    }
    try:
        value = to_json(envelope, inf_nan_mode="null")
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
        entry = Entry(*(envelope[field] for field in Entry._fields))
        if envelope["key"] == key and _is_entry(entry):
            return entry
    except (ValueError, TypeError, LookupError):
        pass
    raise ValueError("not a cache entry of this key")


def kept(key: str, entry: Entry, *, adopt: bool = False) -> Kept:
    """Return the entry with a copy of its data, which is nobody else's; to adopt is to take the data itself."""
    original = Original(entry.data, adopt=adopt)
    return Kept(key, entry._replace(data=original.data), original, original.size)


def pack(key: str, entry: Entry) -> Kept:
    """Turn an entry into an object, with data that is nobody else's.

    Raises:
        TypeError: The data is not a dict or cannot be copied; the message says where.
    """
    _check(key, entry)
    try:
        found = kept(key, entry)
    except Exception:  # noqa: BLE001  # a value's own __deepcopy__ may raise anything
        raise TypeError(
            f"the data for cache key {key!r} cannot be kept: {_uncopied(entry.data)} cannot be copied"
        ) from None
    return found


def unpack(key: str, value: object) -> Kept:
    """Return what was made of an entry that is found under ``key``.

    Raises:
        ValueError: The object is not what was stored under this key.
    """
    if isinstance(value, Kept) and value.key == key:
        return value
    raise ValueError("not a cache entry of this key")


def _check(key: str, entry: Entry) -> None:
    if not isinstance(entry.data, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise TypeError(f"the data for cache key {key!r} must be a dict, not {type(entry.data).__name__}")


def _is_entry(entry: Entry) -> bool:
    """Whether fields that were read from bytes are of the types that they are declared with."""
    return (
        type(entry.data) is dict
        and type(entry.stored_at) is float
        and type(entry.expires_at) is float
        and type(entry.ttl_ms) in (int, NoneType)
        and entry.scope in ("public", "private")
        and type(entry.outdated) is bool
    )


def _uncopied(data: dict[str, Any]) -> str:
    for key, item in data.items():
        try:
            Original({"": item})
        except Exception:  # noqa: BLE001  # as above
            return f"data[{key!r}] ({type(item).__name__})"
    return "a part of data"


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
