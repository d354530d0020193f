"""S35: stale answers while a server fails, and while a fresh one is fetched behind."""

import asyncio
import logging

import pytest
from fakes import BytesStore, Clock
from mcp_orchestra import MCPConnectionError, ResourceCache, ResourceFetchError
from mcp_orchestra.cache import Fetched, Freshness
from mcp_orchestra_memory import MemoryStore
from shared_store import BareClient, Client, Shared

pytestmark = pytest.mark.anyio


class Upstream:
    """Counts how often it is asked, and answers or fails when it is allowed to."""

    def __init__(self, data: dict | None = None, error: Exception | None = None) -> None:
        self.data = data
        self.error = error
        self.asked = 0
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Fetched:
        self.asked += 1
        self.reached.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Fetched(data=self.data or {})


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(10):
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


def objects(clock: Clock, **rules: float) -> ResourceCache:
    return ResourceCache(10, store=MemoryStore(), clock=clock, freshness=Freshness(**rules))


def inline_bytes(clock: Clock, **rules: float) -> ResourceCache:
    return ResourceCache(10, store=BytesStore(), clock=clock, freshness=Freshness(**rules))


def blocking(clock: Clock, **rules: float) -> ResourceCache:
    return ResourceCache(
        10, store=BareClient(Shared(clock)), blocking=True, near_entries=0, clock=clock, freshness=Freshness(**rules)
    )


def near(clock: Clock, **rules: float) -> ResourceCache:
    return ResourceCache(
        10, store=BareClient(Shared(clock)), blocking=True, near_seconds=1e6, clock=clock, freshness=Freshness(**rules)
    )


def shared(clock: Clock, **rules: float) -> ResourceCache:
    return ResourceCache(
        10, store=Client(Shared(clock)), blocking=True, store_timeout=5, clock=clock, freshness=Freshness(**rules)
    )


@pytest.fixture(params=[objects, inline_bytes, blocking, near, shared])
async def make(request, clock):
    made: list[ResourceCache] = []

    def make(**rules: float) -> ResourceCache:
        made.append(request.param(clock, **rules))
        return made[-1]

    yield make
    for cache in made:
        await cache.aclose()


async def served(cache: ResourceCache, *, failing: bool = False) -> tuple[dict, bool] | None:
    answer = (await cache.lookup(["a"], failing=["a"] if failing else [])).get("a")
    return None if answer is None else (answer.copy(), answer.stale)


def counts(cache: ResourceCache, *names: str) -> tuple[object, ...]:
    stats = cache.get_stats()
    assert stats["hits"] + stats["misses"] == stats["total_requests"]
    return tuple(stats[name] for name in names)


DOWN = MCPConnectionError("server a is away")


# While the server fails


async def test_s35_a_failed_fetch_is_made_up_for_by_a_stale_entry(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 39.999

    assert await served(cache) is None
    answer = await cache.fetch("a", Upstream(error=DOWN))

    assert (answer.copy(), answer.stale) == ({"n": 1}, True)
    assert counts(cache, "stale", "hits", "misses", "fetches") == (1, 0, 1, 1)


async def test_s35_beyond_max_stale_the_failure_is_raised(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 40

    with pytest.raises(MCPConnectionError, match="away"):
        await cache.fetch("a", Upstream(error=DOWN))
    assert counts(cache, "stale") == (0,)


async def test_s35_it_is_off_unless_it_is_configured(make, clock):
    cache = make()
    cache.set("a", {"n": 1})
    clock.now += 10

    with pytest.raises(MCPConnectionError, match="away"):
        await cache.fetch("a", Upstream(error=DOWN))
    assert await served(cache, failing=True) is None
    assert not cache.serves_stale


async def test_s35_who_wants_no_stale_answer_gets_the_failure(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 10

    with pytest.raises(MCPConnectionError, match="away"):
        await cache.fetch("a", Upstream(error=DOWN), fall_back=False)


async def test_s35_a_server_that_answers_is_believed_rather_than_a_stale_entry(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 10

    answer = await cache.fetch("a", Upstream({"n": 2}))

    assert (answer.copy(), answer.stale) == ({"n": 2}, False)
    assert await served(cache) == ({"n": 2}, False)


async def test_s35_an_entry_of_a_server_known_to_fail_is_found_without_asking(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    assert await served(cache, failing=True) == ({"n": 1}, False)
    clock.now += 39

    assert await served(cache, failing=True) == ({"n": 1}, True)
    assert await served(cache) is None
    clock.now += 1
    assert await served(cache, failing=True) is None
    assert counts(cache, "hits", "misses", "stale") == (2, 2, 1)


async def test_s35_get_serves_nothing_stale_and_leaves_it_for_when_it_is_needed(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 10

    assert cache.get("a") is None
    assert await served(cache, failing=True) == ({"n": 1}, True)
    assert counts(cache, "evictions") == (0,)


async def test_s35_a_fresh_entry_that_came_while_the_fetch_failed_is_no_stale_answer(make, clock):
    cache = make(max_stale=30)
    upstream = Upstream(error=DOWN)
    upstream.gate.clear()
    waiting = asyncio.create_task(cache.fetch("a", upstream))
    await upstream.reached.wait()
    cache.set("a", {"n": "set"})
    upstream.gate.set()

    answer = await waiting

    assert (answer.copy(), answer.stale) == ({"n": "set"}, False)
    assert counts(cache, "stale") == (0,)


async def test_s35_an_error_of_the_caller_s_own_is_no_failing_server(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 10
    upstream = Upstream({"n": 2})
    upstream.gate.clear()
    waiting = asyncio.create_task(cache.fetch("a", upstream))
    await upstream.reached.wait()

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cached_items_are_the_fresh_ones_and_cleaning_up_leaves_what_may_be_served_stale(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 5
    cache.set("b", {})
    assert counts(cache, "cached_items") == (2,)
    clock.now += 5
    assert counts(cache, "cached_items") == (1,)
    assert cache.cleanup_expired() == 0
    clock.now += 30
    assert cache.cleanup_expired() == 1
    assert counts(cache, "cached_items", "evictions") == (0, 1)
    assert cache.describe(["a"]) == {}


# Served at once and refreshed behind


async def test_s35_within_the_bound_a_stale_entry_is_served_at_once_and_refreshed_behind(make, clock):
    cache = make(stale_while_revalidate=5)
    cache.set("a", {"n": 1})
    clock.now += 14.999
    upstream = Upstream({"n": 2})
    upstream.gate.clear()

    for _ in range(100):
        assert await served(cache) == ({"n": 1}, True)
        cache.refresh("a", upstream)
    await upstream.reached.wait()
    assert await served(cache) == ({"n": 1}, True)
    upstream.gate.set()
    while (await served(cache)) != ({"n": 2}, False):
        await asyncio.sleep(0)

    assert upstream.asked == 1
    assert counts(cache, "fetches", "misses") == (1, 0)


async def test_s35_at_the_bound_a_stale_entry_is_a_miss(make, clock):
    cache = make(stale_while_revalidate=5)
    cache.set("a", {"n": 1})
    clock.now += 15

    assert await served(cache) is None
    assert await served(cache, failing=True) is None


async def test_s35_a_refresh_that_fails_leaves_things_as_they_are(make, clock, caplog):
    cache = make(stale_while_revalidate=5)
    cache.set("a", {"n": 1})
    clock.now += 10
    broken = Upstream(error=RuntimeError("no"))

    cache.refresh("a", broken)
    await cache._refreshing.ended()
    assert broken.asked == 1
    assert await served(cache) == ({"n": 1}, True)
    cache.refresh("a", broken)  # and may be tried again
    while broken.asked < 2:
        await asyncio.sleep(0)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_s35_who_misses_while_it_is_refreshed_joins_in(make, clock):
    cache = make(stale_while_revalidate=5)
    cache.set("a", {"n": 1})
    clock.now += 10
    upstream = Upstream({"n": 2})
    upstream.gate.clear()
    cache.refresh("a", upstream)
    await upstream.reached.wait()
    joining = asyncio.create_task(cache.fetch("a", upstream))
    await asyncio.sleep(0)
    upstream.gate.set()

    assert (await joining).copy() == {"n": 2}
    assert upstream.asked == 1


async def test_closing_ends_a_refresh(make, clock):
    cache = make(stale_while_revalidate=5)
    cache.set("a", {"n": 1})
    clock.now += 10
    upstream = Upstream({"n": 2})
    upstream.gate.clear()
    cache.refresh("a", upstream)
    cache.refresh("b", upstream)
    await upstream.reached.wait()

    await cache.aclose()
    cache.refresh("a", upstream)

    assert [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("refresh")] == []


async def test_a_refresh_that_a_torn_down_loop_left_behind_does_not_keep_the_next_one_from_refreshing(clock):
    cache = objects(clock, stale_while_revalidate=5)

    def refresh_in_a_loop_that_is_torn_down() -> None:
        async def begin() -> Upstream:
            upstream = Upstream()
            upstream.gate.clear()
            cache.refresh("a", upstream)
            await upstream.reached.wait()
            return upstream

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        left.extend(asyncio.all_tasks(loop))
        loops.append(loop)

    left: list[asyncio.Task] = []
    loops: list[asyncio.AbstractEventLoop] = []
    await asyncio.to_thread(refresh_in_a_loop_that_is_torn_down)
    upstream = Upstream({"n": 2})
    cache.refresh("a", upstream)
    await upstream.reached.wait()
    await cache.aclose()

    def tidy_up() -> None:
        for task in left:
            task.cancel()
        loops[0].run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loops[0].close()

    await asyncio.to_thread(tidy_up)


# What the server says has changed


async def test_s33_what_is_outdated_is_dropped_where_nothing_stale_is_served(make, clock):
    cache = make(stale_while_revalidate=100)
    cache.set("a", {"n": 1})
    await served(cache)

    cache.outdate("a")

    assert await served(cache) is None
    assert await served(cache, failing=True) is None
    assert cache.get("a") is None
    assert counts(cache, "cached_items", "evictions") == (0, 0)


async def test_s33_s35_what_is_outdated_is_stale_at_once_and_serves_while_its_server_fails(make, clock):
    cache = make(max_stale=30, stale_while_revalidate=30)
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})
    await served(cache)
    clock.now += 4

    cache.outdate("a")

    assert await served(cache) is None
    assert cache.get("a") is None
    assert await served(cache, failing=True) == ({"n": 1}, True)
    assert cache.get("b") == {"n": 2}
    assert counts(cache, "cached_items", "evictions") == (1, 0)
    described = cache.describe(["a"])["a"]
    assert (described["outdated"], described["stale"], described["expires_in"]) == (True, True, 0.0)
    clock.now += 29.999
    assert await served(cache, failing=True) == ({"n": 1}, True)
    clock.now += 0.001
    assert await served(cache, failing=True) is None


async def test_s35_saying_once_more_that_it_is_outdated_does_not_prolong_anything(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    cache.outdate("a")
    assert await served(cache) is None
    clock.now += 20
    cache.outdate("a")
    clock.now += 10

    assert await served(cache, failing=True) is None


async def test_what_was_fetched_after_it_was_outdated_is_fresh(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    cache.outdate("a")

    await cache.fetch("a", Upstream({"n": 2}))

    assert await served(cache) == ({"n": 2}, False)


@pytest.mark.parametrize("rules", [{}, {"max_stale": 30}])
async def test_s33_what_is_outdated_while_it_is_fetched_is_handed_out_but_not_kept(make, clock, rules):
    cache = make(**rules)
    upstream = Upstream({"n": "old"})
    upstream.gate.clear()
    waiting = asyncio.create_task(cache.fetch("a", upstream))
    await upstream.reached.wait()
    cache.outdate("a")
    newer = Upstream({"n": "new"})
    after = asyncio.create_task(cache.fetch("a", newer))
    upstream.gate.set()

    assert (await waiting).copy() == {"n": "old"}
    assert (await after).copy() == {"n": "new"}
    assert newer.asked == 1
    assert await served(cache) == ({"n": "new"}, False)


async def test_what_is_outdated_while_the_store_is_out_of_order_is_not_fresh_when_it_is_back(clock):
    client = BareClient(Shared(clock))
    cache = ResourceCache(
        10, store=client, blocking=True, near_seconds=1e6, clock=clock, freshness=Freshness(max_stale=30)
    )
    cache.set("a", {"n": 1})
    assert await served(cache) == ({"n": 1}, False)
    for broken in ("get_many", "delete_many", "set_many"):
        client.broken = {broken}
        cache.outdate("a")
        assert await served(cache) is None
        client.broken = set()
        assert await served(cache) is None
        cache.set("a", {"n": 1})
    await cache.aclose()


async def test_a_fetch_that_was_cancelled_from_outside_is_made_up_for_as_well(make, clock):
    cache = make(max_stale=30)
    cache.set("a", {"n": 1})
    clock.now += 10

    async def stray() -> Fetched:
        raise asyncio.CancelledError

    assert (await cache.fetch("a", stray)).stale
    clock.now += 30
    with pytest.raises(ResourceFetchError, match="cancelled"):
        await cache.fetch("a", stray)
