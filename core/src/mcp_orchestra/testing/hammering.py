"""What threads and processes do to a store all at once to find out whether they get one another's bytes."""

from collections.abc import Sequence
from typing import cast

from mcp_orchestra.stores import CacheStore, GrantsLeases, StoredEntry

__all__ = ["acquire_all", "hammer", "number_of", "version", "write_on"]


def version(key: str, number: int, expires_at: float) -> StoredEntry:
    """Return an entry that shows whose it is and which one: in its bytes, in their number and in its expiry."""
    return StoredEntry(b"%s %d " % (key.encode(), number) + b"." * (number * 37 % 2000), expires_at + number)


def number_of(key: str, found: StoredEntry, expires_at: float) -> int:
    """Return the number of a version.

    Raises:
        AssertionError: It is not one of this key, or not whole.
    """
    number = round(found.expires_at - expires_at)
    if found != version(key, number, expires_at):
        raise AssertionError(f"under {key!r} there was {found.value[:40]!r}, to expire at {found.expires_at!r}")
    return number


def hammer(store: CacheStore, worker: int, *, of: int, expires_at: float, rounds: int = 25) -> int:
    """Store, read and delete the worker's own key, and read the keys of all workers, again and again.

    Args:
        store: The store.
        worker: Which of the workers this is, from 0.
        of: How many workers there are.
        expires_at: Of the versions number 0.
        rounds: How often.

    Returns:
        How many entries of any worker were read.

    Raises:
        AssertionError: A key's entry is not one that was stored under it, is older than one that was there before, or
            is there after its own worker deleted it.
    """
    own = f"worker {worker}"
    keys = [f"worker {number}" for number in range(of)]
    latest = dict.fromkeys(keys, 0)
    read = 0
    for number in range(1, rounds + 1):
        store.set_many({own: version(own, number, expires_at)})
        for key, found in store.get_many(keys).items():
            seen = number_of(key, found, expires_at)
            if seen < latest[key] or (key == own and seen != number):
                raise AssertionError(f"under {key!r} there was version {seen} after version {latest[key]}")
            latest[key] = seen
            read += 1
        if number % 3 == 0:
            store.delete_many([own])
            if store.get_many([own]):
                raise AssertionError(f"{own!r} is there after it was deleted")
    return read


def write_on(store: CacheStore, *, keys: int, expires_at: float) -> None:
    """Store versions of so many keys until the process is killed."""
    number = 0
    while True:
        number += 1
        store.set_many({key: version(key, number, expires_at) for key in (f"worker {n}" for n in range(keys))})


def acquire_all(store: CacheStore, keys: Sequence[str], holder: str, seconds: float) -> list[str]:
    """Ask a store that grants leases for those on all keys, in turn, and return the keys whose lease was given."""
    return [key for key in keys if cast("GrantsLeases", store).acquire(key, holder, seconds)]
