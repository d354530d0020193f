"""One fetches, another one invalidates, and the books of both show whether a result was there too late."""

import sys
import time
from bisect import bisect_right
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import cycle
from operator import itemgetter
from random import Random
from typing import NamedTuple, cast

from mcp_orchestra.stores import CacheStore, GrantsLeases, StoredEntry

__all__ = ["Account", "fetch_on", "invalidate_on", "late_results", "switching_often"]

_LONG = 3600.0
_LIFETIME = 86_400.0
_PAUSE = 0.002  # seconds: more than a fast store takes for a call
_PAUSES = [(0.0, 0.0), (0.0, _PAUSE), (_PAUSE, 0.0), (_PAUSE, _PAUSE), (_PAUSE / 4, 2 * _PAUSE)]


class Account(NamedTuple):
    """Who did what when, by a clock that all processes of the machine have in common."""

    granted: list[tuple[int, int]]
    """When the lease for an attempt had been granted, and the attempt's number."""
    changes: list[tuple[int, int]]
    """When a change began and when it had returned."""
    looks: list[tuple[int, int]]
    """When a look at the key began, and which attempt's value was there."""


def fetch_on(store: CacheStore, key: str, *, seconds: float) -> Account:
    """Take the lease on a key and store a value that is this attempt's alone, again and again.

    Args:
        store: One that grants leases.
        key: The key.
        seconds: For how long.
    """
    leasing = cast("GrantsLeases", store)
    account = Account([], [], [])
    random = Random(1)  # noqa: S311  # decides nothing but when to pause
    end = time.monotonic() + seconds
    attempt = 0
    while time.monotonic() < end:
        attempt += 1
        to_fetch, to_rest = random.choice(_PAUSES)
        if leasing.acquire(key, "fetching", _LONG):
            account.granted.append((time.perf_counter_ns(), attempt))
            time.sleep(random.random() * to_fetch)
            leasing.set_held(key, _entry(b"fetched %d" % attempt), "fetching")
            time.sleep(random.random() * to_rest)  # else the next attempt replaces what came too late
        _look(store, key, account)
    return account


def invalidate_on(store: CacheStore, key: str, *, seconds: float) -> Account:
    """Delete, replace and clear what is under a key, again and again, and look whether it stays away."""
    account = Account([], [], [])
    random = Random(2)  # noqa: S311  # decides nothing but when to pause
    end = time.monotonic() + seconds
    for change in cycle(["delete_many", "delete_many", "set_many", "clear"]):
        if time.monotonic() >= end:
            break
        begun = time.perf_counter_ns()
        if change == "delete_many":
            store.delete_many([key])
        elif change == "set_many":
            store.set_many({key: _entry(b"replaced")})
        else:
            store.clear()
        account.changes.append((begun, time.perf_counter_ns()))
        _look(store, key, account)
        time.sleep(random.random() * _PAUSE)
    return account


def late_results(accounts: Iterable[Account]) -> list[str]:
    """Return where a result was there although its key had been changed after its lease was granted.

    Args:
        accounts: Of all who took part, of whom no more than one made changes.
    """
    accounts = list(accounts)
    granted = {attempt: at for account in accounts for at, attempt in account.granted}
    changes = sorted(change for account in accounts for change in account.changes)
    unwanted_from: dict[int, int] = {}
    for attempt, at in granted.items():
        for _, returned in changes[bisect_right(changes, at, key=itemgetter(0)) :][:1]:
            unwanted_from[attempt] = returned
    return [
        f"the result of attempt {attempt} was there {(at - unwanted_from[attempt]) / 1e6:.3f} ms after a change"
        for account in accounts
        for at, attempt in account.looks
        if attempt in unwanted_from and at > unwanted_from[attempt]
    ]


@contextmanager
def switching_often() -> Generator[None]:
    """Let the threads of this process take turns as often as they can while the block lasts."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _entry(value: bytes) -> StoredEntry:
    return StoredEntry(value, float(int(time.time()) + _LIFETIME))


def _look(store: CacheStore, key: str, account: Account) -> None:
    at = time.perf_counter_ns()
    found = store.get_many([key]).get(key)
    if found is not None and found.value.startswith(b"fetched "):
        account.looks.append((at, int(found.value.removeprefix(b"fetched "))))
