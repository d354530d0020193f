"""What a cache store must be able to do, and what it may be able to do besides.

`CacheStore` is the whole contract: seven methods over bytes. `KeepsObjects`, `GrantsLeases`, `TellsOfChanges` and
`GivesNotice` are abilities of their own: a store has one if it has the methods. The class ``CacheStoreTests`` in
``mcp_orchestra.testing.cache_stores`` decides whether a store keeps the contract.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = [
    "CacheStore",
    "GivesNotice",
    "GrantsLeases",
    "KeepsObjects",
    "StoredEntry",
    "StoredObject",
    "TellsOfChanges",
]


class StoredEntry(NamedTuple):
    """A cached value as a store keeps it."""

    value: bytes
    expires_at: float
    """On the cache's clock: seconds since the epoch for a persistent store, else monotonic seconds."""


@runtime_checkable
class CacheStore(Protocol):
    """Where cached bytes live: synchronous, thread-safe, and without an opinion on freshness.

    ``ResourceCache`` alone decides what is fresh. A store may drop an entry whenever it likes, before its expiry
    too; it must never return other bytes than those last stored under that key, nor any that were deleted.

    Any method may raise: the cache then treats the call as a miss. A store that cannot be reached raises, and soon, an
    ``OSError`` such as ``ConnectionError`` or ``TimeoutError``: the cache then leaves it alone for a moment instead of
    making every question wait. Any other exception, and an ``OSError`` that says that there is no room (``ENOSPC``), is
    taken as the failure of that one call.

    Keys are any text, the empty one and lone surrogates included; values are any bytes, of any length.
    """

    def get_many(self, keys: Sequence[str]) -> Mapping[str, StoredEntry]:
        """Return what is there, expired entries included; keys without an entry are absent."""
        ...

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        """Store all entries, replacing those there, and return how many others were evicted to make room."""
        ...

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries under these keys and return how many there were."""
        ...

    def clear(self) -> None:
        """Drop everything."""
        ...

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``."""
        ...

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were."""
        ...

    def close(self) -> None:
        """Release files and connections; called once, after the last use."""
        ...


class StoredObject(NamedTuple):
    """A cached value as a store that `KeepsObjects` keeps it."""

    value: object
    """No business of the store's: it hands out the very object, and neither looks into it nor changes it."""
    expires_at: float
    """As in `StoredEntry`."""
    size: int
    """About how many bytes of memory it takes."""


@runtime_checkable
class KeepsObjects(Protocol):
    """What a store in the memory of this process may do besides: keep objects instead of bytes.

    The cache uses these methods in place of ``get_many`` and ``set_many`` if a store has them. Nothing is encoded or
    decoded then, and what JSON cannot carry is kept as well. Bytes and objects under one key replace each other. Not
    for a store that pickles or sends away what it keeps.
    """

    def get_objects(self, keys: Sequence[str]) -> Mapping[str, StoredObject]:
        """Return what is there, as ``get_many`` does."""
        ...

    def set_objects(self, entries: Mapping[str, StoredObject]) -> int:
        """Store all entries, as ``set_many`` does, and return how many others were evicted to make room."""
        ...


@runtime_checkable
class GrantsLeases(Protocol):
    """What a store that several processes share may do besides: let one of them at a time fetch what is missing.

    A lease is a key's, and ends by itself, so that the end of a process releases what it held. It also tells whether
    what was fetched is still wanted: ``set_many``, ``delete_many`` and ``clear`` revoke the leases on their keys,
    whether or not there is an entry, and with its lease gone a fetch that began before may not store its result after.
    ``purge`` revokes none.
    """

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Give the holder the lease on a key, or renew it, for so many seconds from now.

        Returns:
            False while another one holds it.
        """
        ...

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        """Renew a lease.

        Returns:
            False, and nothing is granted, unless the holder holds it.
        """
        ...

    def set_held(self, key: str, entry: StoredEntry, holder: str) -> int | None:
        """Store the entry and end the lease, in one step, if the holder holds it.

        Returns:
            How many other entries were evicted to make room; None if the holder has no lease and nothing was stored.
        """
        ...

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        ...


@runtime_checkable
class TellsOfChanges(Protocol):
    """What a store that several processes share may do besides: tell each one what the others change.

    The cache then keeps decoded entries in memory for as long as they are fresh, without asking the store.
    """

    push_delay: float
    """Seconds after which a change has reached every process that is ``in_step``."""

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> None:
        """Call ``changed`` from now on, from any thread, with the keys that other users of the store change.

        A deletion is told even if there was no entry any more: others may still have it in memory. None stands for any
        key: everything was dropped, or changes may have been missed. Called once, before anything is stored; it need
        not wait until changes arrive.
        """
        ...

    def in_step(self) -> bool:
        """Return, without waiting, whether every change has been told that was made more than ``push_delay`` ago."""
        ...


@runtime_checkable
class GivesNotice(Protocol):
    """What a store may do besides: say what people should know, such as that a broken database was moved aside."""

    def notices(self) -> Sequence[str]:
        """Return such remarks, without waiting; they are shown in the status and must not hold secrets."""
        ...
