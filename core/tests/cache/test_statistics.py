"""What the cache counts: in total as the API document has it, and for each server."""

import asyncio
from threading import Thread

import pytest
from fakes import BytesStore, Clock
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Fetched, Freshness, resources_key, tools_key
from mcp_orchestra.cache.statistics import Statistics
from mcp_orchestra_memory import MemoryStore
from shared_store import BareClient, Shared

pytestmark = pytest.mark.anyio

COUNTERS = ("hits", "misses", "stale", "fetches", "fetches_saved", "bytes_read", "bytes_written")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["objects", "bytes", "blocking", "near"])
async def cache(request, clock):
    store = {"objects": MemoryStore, "bytes": BytesStore}.get(request.param, lambda: BareClient(Shared(clock)))()
    cache = ResourceCache(
        60,
        store=store,
        blocking=request.param in ("blocking", "near"),
        near_entries=100 if request.param == "near" else 0,
        near_seconds=1e6,
        clock=clock,
        store_timeout=5,
        freshness=Freshness(max_stale=10),
        partitions={"a": "1", "b": "2"},
    )
    yield cache
    await cache.aclose()


async def ask(cache: ResourceCache, key: str, gate: asyncio.Event | None = None) -> None:
    async def upstream() -> Fetched:
        if gate is not None:
            await gate.wait()
        return Fetched(data={"of": key})

    if key not in await cache.lookup([key]):
        await cache.fetch(key, upstream)


async def test_every_counter_of_the_servers_adds_up_to_the_total(cache, clock):
    for _ in range(3):
        await ask(cache, resources_key("a"))
        await ask(cache, tools_key("a"))
        await ask(cache, resources_key("b"))
    clock.now += 65
    await cache.lookup([resources_key("a")], failing=[resources_key("a")])
    await ask(cache, tools_key("b"))
    cache.get(resources_key("b"))

    stats = cache.get_stats()
    a, b = stats["servers"]["a"], stats["servers"]["b"]
    assert set(stats["servers"]) == {"a", "b"}
    for name in COUNTERS:
        assert a[name] + b[name] == stats[name]
    assert (a["hits"], a["misses"], a["stale"], a["fetches"], a["hit_rate"]) == (5, 2, 1, 2, "71.43%")
    assert (b["hits"], b["misses"], b["stale"], b["fetches"], b["hit_rate"]) == (2, 3, 0, 2, "40.00%")
    assert (stats["total_requests"], stats["hit_rate"]) == (12, "58.33%")


async def test_keys_of_nobody_count_in_the_total_only(cache):
    cache.set("my own", {})
    cache.get("my own")
    cache.get(resources_key("unknown"))

    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"]) == (1, 1)
    assert all(server["hits"] + server["misses"] == 0 for server in stats["servers"].values())


async def test_evictions_are_told_apart_by_their_cause(clock):
    cache = ResourceCache(60, store=MemoryStore(max_entries=2), clock=clock, partitions={"a": "1"})
    for key in ("resources:a", "b", "c"):
        cache.set(key, {})  # the first has to go
    clock.now += 60
    cache.get("b")
    cache.cleanup_expired()  # of which there is one left
    cache.invalidate()

    stats = cache.get_stats()
    assert stats["evictions_by_cause"] == {"expired": 2, "room": 1}
    assert stats["evictions"] == 3


async def test_an_expired_entry_of_a_server_is_counted_for_it(clock):
    cache = ResourceCache(60, store=MemoryStore(), clock=clock, partitions={"a": "1", "b": "2"})
    cache.set("resources:a", {})
    clock.now += 60
    cache.get("resources:a")

    stats = cache.get_stats()
    assert (stats["servers"]["a"]["expired"], stats["servers"]["b"]["expired"], stats["evictions"]) == (1, 0, 1)


async def test_s34_of_a_thousand_concurrent_questions_one_is_a_fetch_and_the_others_are_saved(cache):
    gate = asyncio.Event()
    asking = [asyncio.create_task(ask(cache, resources_key("a"), gate)) for _ in range(1000)]
    async with asyncio.timeout(10):
        while cache.get_stats()["fetches_saved"] < 999:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*asking)

    stats = cache.get_stats()
    assert (stats["fetches"], stats["fetches_saved"]) == (1, 999)
    assert stats["servers"]["a"]["fetches_saved"] == 999
    assert stats["total_requests"] == 1000


async def test_bytes_are_those_that_go_to_the_store_and_come_from_it(clock):
    shared = Shared(clock)
    cache = ResourceCache(60, store=BareClient(shared), blocking=True, near_seconds=1e6, clock=clock)
    cache.set("a", {"n": 1})
    size = len(shared.entries["a"].value)
    assert (cache.get_stats()["bytes_written"], cache.get_stats()["bytes_read"]) == (size, 0)
    cache.get("a")  # which is near
    assert cache.get_stats()["bytes_read"] == 0

    other = ResourceCache(60, store=BareClient(shared), blocking=True, near_seconds=1e6, clock=clock)
    for _ in range(3):
        other.get("a")
    assert other.get_stats()["bytes_read"] == size
    for one in (cache, other):
        await one.aclose()


async def test_describing_counts_and_changes_nothing(cache, clock):
    cache.set(resources_key("a"), {"n": 1})
    cache.set("expired", {})
    cache.get(resources_key("a"))
    clock.now += 70
    cache.set("fresh", {})
    before = cache.get_stats()

    described = cache.describe([resources_key("a"), "fresh", "expired", "fresh", "unknown"])

    assert cache.get_stats() == before
    assert set(described) == {"fresh"}
    assert described["fresh"].items() >= {"age": 0.0, "expires_in": 60.0, "stale": False, "ttl_ms": None}.items()
    assert cache.cleanup_expired() == 2


async def test_a_store_says_what_people_should_know(clock):
    class Noting(MemoryStore):
        remarks: object = ("moved aside",)

        def notices(self):
            return self.remarks

    store = Noting()
    cache = ResourceCache(60, store=store, clock=clock)
    assert cache.get_stats()["notices"] == ["moved aside"]
    store.remarks = None
    assert cache.get_stats()["notices"] == []
    assert cache.get_stats()["errors"] == 1


async def test_a_store_whose_attributes_raise_has_no_abilities_and_works(clock):
    class Touchy(BareClient):
        @property
        def push_delay(self) -> float:
            raise ConnectionError("not connected yet")

        def watch(self, changed: object) -> None:
            raise AssertionError

        def in_step(self) -> bool:
            return True

        @property
        def get_objects(self) -> object:
            raise ConnectionError("not connected yet")

    cache = ResourceCache(60, store=Touchy(Shared(clock)), blocking=True, clock=clock)
    cache.set("a", {"n": 1})

    assert cache.get("a") == {"n": 1}
    assert cache.get_stats()["errors"] == 0
    await cache.aclose()


def in_threads(work: list) -> None:
    threads = [Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


@given(st.lists(st.sampled_from(["resources:a", "tools:a", "resources:b", "other"]), min_size=1, max_size=20))
def test_threads_lose_no_count(keys):
    statistics = Statistics(["a", "b"])
    tallies = statistics.tallies(keys)

    def count() -> None:
        statistics.looked_up(keys, keys[:1], keys[:1])
        statistics.hit(tallies)
        statistics.expired(keys)
        statistics.evicted(2)
        for key in keys:
            statistics.fetched(key)
            statistics.fetch_saved(key)
            statistics.read(key, 5)
            statistics.written(key, 7)

    in_threads([count] * 4)

    n = len(keys)
    report = statistics.report(0)
    assert report["hits"] == 4 * (1 + n)
    assert report["misses"] == 4 * (n - 1)
    assert (report["stale"], report["fetches"], report["fetches_saved"]) == (4, 4 * n, 4 * n)
    assert (report["bytes_read"], report["bytes_written"]) == (20 * n, 28 * n)
    assert report["evictions_by_cause"] == {"expired": 4 * n, "room": 8}
    assert report["total_requests"] == report["hits"] + report["misses"]
