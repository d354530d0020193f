"""Many threads use one store, and every one of them gets what belongs to the key that it asked for."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

import time
from collections.abc import Callable
from threading import Barrier, Event, Thread

from mcp_orchestra.stores import CacheStore
from mcp_orchestra.testing.cache_stores.place import entry, tomorrow
from mcp_orchestra.testing.cache_stores.rules import StoreTests
from mcp_orchestra.testing.hammering import hammer

__all__ = ["ThreadTests", "in_threads"]

_THREADS = 8
_PATIENCE = 120.0


def in_threads(work: Callable[[int], object], threads: int = _THREADS) -> None:
    """Do something in several threads that begin at the same time, each with its number.

    Raises:
        AssertionError: One of them did not come to an end.
        Exception: What the first one raised that did.
    """
    errors: list[BaseException] = []
    barrier = Barrier(threads, timeout=_PATIENCE)

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001  # raised again where the test sees it
            errors.append(error)

    started = [Thread(target=run, args=[number], daemon=True) for number in range(threads)]
    for thread in started:
        thread.start()
    end = time.monotonic() + _PATIENCE
    for thread in started:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in started), f"threads are still busy after {_PATIENCE:g} s"


class ThreadTests(StoreTests):
    """Eight threads at once."""

    def test_threads_get_what_was_stored_under_the_keys_they_ask_for(self, store: CacheStore) -> None:
        in_threads(lambda number: hammer(store, number, of=_THREADS, expires_at=tomorrow()))

    def test_threads_that_count_purge_and_clear_disturb_nobody(self, store: CacheStore) -> None:
        def work(number: int) -> None:
            for n in range(25):
                if number == 0:
                    store.clear()
                elif number == 1:
                    assert 0 <= store.purge(tomorrow(-1)) <= _THREADS
                elif number == 2:
                    assert 0 <= store.count(tomorrow(-1)) <= _THREADS
                else:
                    key = f"key {number}"
                    store.set_many({key: entry(b"%d %d" % (number, n))})
                    assert dict(store.get_many([key])) in ({key: entry(b"%d %d" % (number, n))}, {})
                    assert store.delete_many([key]) in (0, 1)
                    assert dict(store.get_many([key])) == {}

        in_threads(work)
        assert store.count(0.0) == 0

    def test_of_threads_that_delete_the_same_entries_each_entry_is_counted_once(self, store: CacheStore) -> None:
        for _ in range(5):
            keys = [f"key {n}" for n in range(5)]
            store.set_many({key: entry() for key in keys})
            deleted: list[int] = []

            def work(_: int, keys: list[str] = keys, deleted: list[int] = deleted) -> None:
                deleted.append(store.delete_many(keys))

            in_threads(work)
            assert sum(deleted) == len(keys)

    def test_an_entry_is_replaced_in_one_step(self, store: CacheStore) -> None:
        versions = [entry(b"%d" % n * (1 + 3000 * n), n) for n in range(4)]
        store.set_many({"a": versions[0]})
        written = Event()

        def work(number: int) -> None:
            if number == 0:
                try:
                    for n in range(40):
                        store.set_many({"a": versions[n % 4]})
                finally:
                    written.set()
            else:
                while not written.is_set():
                    assert store.get_many(["a"])["a"] in versions

        in_threads(work, 4)
