"""What the tests need around a store: the place it is kept in, times to expire at, and patience."""

import time
from collections.abc import Callable
from functools import cache

from mcp_orchestra.stores import CacheStore, StoredEntry
from mcp_orchestra.testing.store_process import StoreProcess

__all__ = ["PATIENCE", "Place", "StoreFactory", "entry", "tomorrow", "until"]

StoreFactory = Callable[[], CacheStore]
"""Opens a store; two calls in one test open the same place, if the store has one."""

PATIENCE: float = 20.0
"""Seconds after which nothing is waited for any longer."""


@cache
def _start() -> int:
    return int(time.time())


def tomorrow(plus: float = 0.0) -> float:
    """Return a time that every store takes for the future, on the wall clock or a monotonic one.

    Args:
        plus: Seconds to add to what is otherwise the same time in every call.
    """
    return float(_start() + 86_400) + plus


def entry(value: bytes = b"value", plus: float = 0.0) -> StoredEntry:
    """Return an entry that expires so many seconds after `tomorrow`."""
    return StoredEntry(value, tomorrow(plus))


def until(condition: Callable[[], object], what: str, *, seconds: float = 0.0) -> None:
    """Wait until something is so.

    Args:
        condition: Whether it is; asked again and again.
        what: What is waited for, in the words of the failure.
        seconds: For how long beyond `PATIENCE`.

    Raises:
        AssertionError: It never was.
    """
    seconds += PATIENCE
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.005)


class Place:
    """Opens stores on one place, here and in other processes, and closes each exactly once.

    Args:
        factory: As the author's fixture returned it.
    """

    def __init__(self, factory: StoreFactory) -> None:
        self._factory = factory
        self._open: list[CacheStore] = []

    def open(self) -> CacheStore:
        """Open a store that is closed at the end of the test, if not before."""
        store = self._factory()
        self._open.append(store)
        return store

    def close(self, store: CacheStore) -> None:
        """Close a store that was opened here."""
        self._open = [other for other in self._open if other is not store]
        store.close()

    def reopen(self, store: CacheStore) -> CacheStore:
        """Close a store and open the place again."""
        self.close(store)
        return self.open()

    def process(self) -> StoreProcess:
        """Open the place in another process."""
        return StoreProcess(self._factory)

    def leave(self) -> None:
        """Close whatever is open."""
        while self._open:
            self._open.pop().close()
