"""ResourceCache from many threads at once: nothing raises, nothing is lost, and the counters add up."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import BytesStore
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra_memory import MemoryStore

THREADS = 8
TTL = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        with self.lock:  # or a thread could put the time of another back
            self.now += seconds

    def __call__(self) -> float:
        return self.now


def at_once(work: Callable[[int], object]) -> list[object]:
    """Run the work in all threads, starting together; raise what any of them raises."""
    barrier = threading.Barrier(THREADS, timeout=30)

    def start(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    max_entries=st.integers(1, 30),
    max_bytes=st.integers(200, 4000),
    blocking=st.booleans(),
    kind=st.sampled_from([MemoryStore, BytesStore]),
)
def test_s30_whatever_threads_do_the_counters_add_up_and_the_bounds_hold(seed, max_entries, max_bytes, blocking, kind):
    clock = Clock()
    store = kind(max_entries=max_entries, max_bytes=max_bytes)
    cache = ResourceCache(TTL, store=store, clock=clock, blocking=blocking, store_timeout=30)
    keys = [f"key {n}" for n in range(20)]

    def work(number: int) -> tuple[int, int, int]:
        rng = random.Random(f"{seed} {number}")
        asked = found = cleaned = 0
        for _ in range(150):
            key = rng.choice(keys)
            match rng.randrange(12):
                case 0:
                    cleaned += cache.cleanup_expired()
                case 1:
                    cache.invalidate(key)
                case 2:
                    clock.advance(rng.random() * 2)
                case 3:
                    stats = cache.get_stats()
                    assert stats["hits"] + stats["misses"] == stats["total_requests"]
                    assert 0 <= stats["cached_items"] <= max_entries
                case n if n < 7:
                    cache.set(key, {"key": key, "text": "x" * rng.randrange(300)})
                case _:
                    asked += 1
                    if (data := cache.get(key)) is not None:
                        assert data["key"] == key
                        found += 1
        return asked, found, cleaned

    results = at_once(work)

    stats = cache.get_stats()
    asked, found, cleaned = (sum(column) for column in zip(*results, strict=True))
    assert (stats["total_requests"], stats["hits"], stats["misses"]) == (asked, found, asked - found)
    assert stats["evictions"] >= cleaned
    assert stats["errors"] == 0
    if kind is MemoryStore:
        sizes = {key: entry.size for key, entry in store.get_objects(keys).items()}
    else:
        sizes = {key: len(entry.value) for key, entry in store.get_many(keys).items()}
    assert len(sizes) <= max_entries
    assert sum(len(key) + size for key, size in sizes.items()) <= max_bytes


@pytest.mark.parametrize("blocking", [False, True])
def test_s30_threads_that_find_one_expired_entry_count_one_eviction(blocking):
    clock = Clock()
    cache = ResourceCache(TTL, store=MemoryStore(), clock=clock, blocking=blocking, store_timeout=30)
    rounds = 50
    for _ in range(rounds):
        cache.set("a", {})
        clock.advance(TTL)
        assert at_once(lambda number: cache.get("a")) == [None] * THREADS

    stats = cache.get_stats()
    assert (stats["evictions"], stats["misses"]) == (rounds, rounds * THREADS)


def test_s30_a_fresh_entry_is_not_lost_to_those_who_drop_the_expired_one_before_it():
    clock = Clock()
    cache = ResourceCache(TTL, store=MemoryStore(), clock=clock)

    def work(number: int) -> None:
        setter, key = number % 2 == 0, f"pair {number // 2}"
        for n in range(400):
            if not setter:
                cache.get(key)
                cache.cleanup_expired()
                continue
            clock.advance(TTL / 2)  # in four threads: what was set before is expired more often than not
            began = clock.now
            cache.set(key, {"n": n})
            found = cache.get(key)
            assert found == {"n": n} or clock.now - began >= TTL

    at_once(work)


@pytest.mark.parametrize("blocking", [False, True])
def test_s30_an_entry_that_is_set_while_the_expired_one_is_being_dropped_stays(blocking):
    class Interrupted(BytesStore):
        def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
            found = super().get_many(keys)
            if found and not setting.is_alive() and not setting.ident:
                setting.start()
                setting.join(0.1)  # as long as it likes, if nothing keeps it waiting
            return found

    clock = Clock()
    cache = ResourceCache(TTL, store=Interrupted(), clock=clock, blocking=blocking, store_timeout=30)
    cache.set("a", {"n": "old"})
    clock.advance(TTL)
    setting = threading.Thread(target=cache.set, args=("a", {"n": "new"}))

    assert cache.get("a") is None
    setting.join(30)
    assert cache.get("a") == {"n": "new"}


def test_invalidations_in_one_thread_hold_for_what_another_sets_before():
    cache = ResourceCache(TTL, store=MemoryStore())

    def work(number: int) -> None:
        key = f"own {number}"
        for n in range(300):
            cache.set(key, {"n": n})
            if n % 50 == 0:
                cache.invalidate()
                assert cache.get(key) is None
            cache.invalidate(key)
            assert cache.get(key) is None

    at_once(work)
