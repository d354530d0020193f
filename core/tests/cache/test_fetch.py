"""Fetching through the cache: S34, and S31 for those who wait."""

import asyncio
import logging

import pytest
from fakes import BytesStore, Clock
from mcp_orchestra import MCPConnectionError, ResourceCache, ResourceFetchError
from mcp_orchestra.cache import Fetched
from mcp_orchestra.cache.entry import decode
from mcp_orchestra_memory import MemoryStore
from plain_cache import PlainCache

pytestmark = pytest.mark.anyio


class Upstream:
    """Counts how often it is asked, and answers when it is allowed to."""

    def __init__(self, answer: Fetched | Exception | None = None) -> None:
        self.answer = answer if answer is not None else Fetched(data={"list": [{"n": 1}]})
        self.asked = 0
        self.cancelled = 0
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self) -> Fetched:
        self.asked += 1
        self.reached.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(10):
        yield


@pytest.fixture
def clock():
    return Clock(0.0)


@pytest.fixture(params=[False, True], ids=["inline", "blocking"])
def blocking(request):
    return request.param


@pytest.fixture(params=[MemoryStore, BytesStore], ids=["objects", "bytes"])
async def cache(request, clock, blocking):
    cache = PlainCache(60, store=request.param(), blocking=blocking, near_entries=0, clock=clock, store_timeout=5)
    yield cache
    await cache.aclose()


async def settle() -> None:
    """Let everything that can go on go on, a thread's answer to an idle store included."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def ask(cache: ResourceCache, upstream: Upstream) -> dict[str, object]:
    """Do what the orchestrator does: look, and fetch what is missing."""
    found = await cache.lookup(["a"])
    return found["a"] if "a" in found else await cache.fetch("a", upstream)


async def test_what_was_fetched_is_kept(cache, clock):
    upstream = Upstream()
    upstream.gate.set()

    assert await ask(cache, upstream) == {"list": [{"n": 1}]}
    assert await ask(cache, upstream) == {"list": [{"n": 1}]}
    assert cache.get("a") == {"list": [{"n": 1}]}
    assert upstream.asked == 1

    clock.now += 60
    assert await ask(cache, upstream) == {"list": [{"n": 1}]}
    assert upstream.asked == 2


async def test_the_age_counts_from_the_answer(cache, clock):
    upstream = Upstream()
    waiting = asyncio.create_task(ask(cache, upstream))
    await upstream.reached.wait()
    clock.now = 50.0
    upstream.gate.set()
    await waiting

    clock.now = 109.0
    assert cache.get("a") is not None
    clock.now = 110.0
    assert cache.get("a") is None


async def test_s34_a_thousand_concurrent_misses_cause_one_fetch(cache):
    upstream = Upstream()
    waiting = [asyncio.create_task(ask(cache, upstream)) for _ in range(1000)]
    await upstream.reached.wait()
    upstream.gate.set()

    answers = await asyncio.gather(*waiting)

    assert upstream.asked == 1
    assert answers == [{"list": [{"n": 1}]}] * 1000
    stats = cache.get_stats()
    assert (stats["hits"] + stats["misses"], stats["cached_items"]) == (1000, 1)


async def test_s34_a_miss_that_is_older_than_the_answer_does_not_cause_a_second_fetch(cache):
    upstream = Upstream()
    upstream.gate.set()
    assert await cache.lookup(["a"]) == {}  # somebody misses, and is slow to go on
    await ask(cache, upstream)
    before = cache.get_stats()

    assert await cache.fetch("a", upstream) == {"list": [{"n": 1}]}

    assert upstream.asked == 1
    after = cache.get_stats()
    assert after["total_requests"] == before["total_requests"]  # looking again is not another request
    assert after["fetches_saved"] == before["fetches_saved"] + 1


async def test_s31_those_who_share_an_answer_that_was_there_already_get_copies_of_their_own(cache):
    upstream = Upstream()
    cache.set("a", {"list": [1]})

    one, other = await asyncio.gather(cache.fetch("a", upstream), cache.fetch("a", upstream))
    one["list"].append(2)

    assert upstream.asked == 0
    assert other == {"list": [1]}


async def test_s34_the_others_get_an_answer_although_the_first_is_cancelled(cache):
    upstream = Upstream()
    first = asyncio.create_task(ask(cache, upstream))
    await upstream.reached.wait()
    others = [asyncio.create_task(ask(cache, upstream)) for _ in range(5)]
    await settle()
    first.cancel()
    await settle()
    upstream.gate.set()

    assert await asyncio.gather(*others) == [{"list": [{"n": 1}]}] * 5
    assert (upstream.asked, upstream.cancelled) == (1, 0)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_s34_the_fetch_is_cancelled_when_everyone_is_gone_and_the_next_one_starts_anew(cache):
    upstream = Upstream()
    waiting = [asyncio.create_task(ask(cache, upstream)) for _ in range(5)]
    await upstream.reached.wait()
    await settle()
    for task in waiting:
        task.cancel()
    await settle()
    assert upstream.cancelled == 1
    assert cache.get("a") is None

    upstream.gate.set()
    assert await ask(cache, upstream) == {"list": [{"n": 1}]}
    assert upstream.asked == 2


async def test_s34_a_failure_reaches_everyone_and_is_not_cached(cache):
    upstream = Upstream(ResourceFetchError("it is broken", {"server": "Products"}))
    waiting = [asyncio.create_task(ask(cache, upstream)) for _ in range(50)]
    await upstream.reached.wait()
    await settle()
    upstream.gate.set()

    errors = await asyncio.gather(*waiting, return_exceptions=True)

    assert upstream.asked == 1
    assert [(type(error), str(error), error.context) for error in errors] == [
        (ResourceFetchError, "it is broken", {"server": "Products"})
    ] * 50
    assert len({id(error) for error in errors}) == 50
    upstream.answer = Fetched(data={"n": 2})
    assert await ask(cache, upstream) == {"n": 2}


async def test_a_stray_cancellation_in_the_fetch_is_an_error_and_not_the_callers_cancellation(cache):
    async def stray() -> Fetched:
        raise asyncio.CancelledError

    with pytest.raises(ResourceFetchError, match="cancelled"):
        await cache.fetch("a", stray)


async def test_s31_everyone_who_waits_gets_a_copy_of_his_own(cache):
    data = {"list": [{"n": 1}]}
    upstream = Upstream(Fetched(data=data))
    waiting = [asyncio.create_task(ask(cache, upstream)) for _ in range(3)]
    await upstream.reached.wait()
    await settle()
    upstream.gate.set()
    one, *others = await asyncio.gather(*waiting)

    one["list"][0]["n"] = "changed"
    one["list"].append("more")
    data["list"].clear()

    assert others == [{"list": [{"n": 1}]}] * 2
    assert cache.get("a") == {"list": [{"n": 1}]}


@pytest.mark.parametrize("key", ["a", None])
async def test_what_was_invalidated_while_it_was_fetched_is_handed_out_but_not_kept(cache, key):
    old, new = Upstream(Fetched(data={"n": "old"})), Upstream(Fetched(data={"n": "new"}))
    before = asyncio.create_task(ask(cache, old))
    await old.reached.wait()

    cache.invalidate(key)
    after = asyncio.create_task(ask(cache, new))
    await settle()
    old.gate.set()

    assert await before == {"n": "old"}
    await new.reached.wait()  # who has asked since then has not joined the old fetch
    assert cache.get("a") is None
    new.gate.set()
    assert await after == {"n": "new"}
    assert cache.get("a") == {"n": "new"}


async def test_s34_a_storm_of_notices_causes_one_fetch_after_the_one_under_way(cache):
    old, new = Upstream(Fetched(data={"n": "old"})), Upstream(Fetched(data={"n": "new"}))
    before = asyncio.create_task(ask(cache, old))
    await old.reached.wait()
    after: list[asyncio.Task] = []
    for _ in range(20):
        cache.outdate("a")
        after.append(asyncio.create_task(ask(cache, new)))
        await settle()
    assert new.asked == 0
    old.gate.set()
    new.gate.set()

    assert await before == {"n": "old"}
    assert await asyncio.gather(*after) == [{"n": "new"}] * 20
    assert new.asked == 1
    assert cache.get("a") == {"n": "new"}


async def test_invalidating_another_key_does_not_disturb_a_fetch(cache):
    upstream = Upstream()
    waiting = asyncio.create_task(ask(cache, upstream))
    await upstream.reached.wait()
    cache.invalidate("b")
    upstream.gate.set()
    await waiting

    assert cache.get("a") == {"list": [{"n": 1}]}


async def test_an_answer_that_is_not_to_be_kept_is_handed_out_only(cache):
    upstream = Upstream(Fetched(data={"partial": [1]}, cacheable=False))
    upstream.gate.set()
    one, other = await asyncio.gather(ask(cache, upstream), ask(cache, upstream))
    one["partial"].append(2)

    assert other == {"partial": [1]}
    assert upstream.answer.data == {"partial": [1]}
    assert cache.get("a") is None


async def test_what_is_set_while_it_is_fetched_is_newer_and_stays(cache):
    old, new = Upstream(Fetched(data={"n": "fetched"})), Upstream(Fetched(data={"n": "fetched later"}))
    before = asyncio.create_task(ask(cache, old))
    await old.reached.wait()
    cache.set("a", {"n": "set"})
    old.gate.set()

    assert await before == {"n": "fetched"}
    assert await ask(cache, new) == {"n": "set"}
    assert new.asked == 0


async def test_an_answer_that_is_no_json_is_handed_out_with_one_warning(clock, blocking, caplog):
    cache = PlainCache(60, store=BytesStore(), blocking=blocking, near_entries=0, clock=clock, store_timeout=5)
    upstream = Upstream(Fetched(data={"set": {1, 2}}))
    upstream.gate.set()

    with caplog.at_level(logging.WARNING, "mcp_orchestra"):
        answers = [await ask(cache, upstream) for _ in range(3)]

    assert answers == [{"set": {1, 2}}] * 3
    assert upstream.asked == 3
    assert ["data['set'] is set" in record.getMessage() for record in caplog.records] == [True]


async def test_an_answer_that_is_no_json_is_kept_by_a_store_of_objects(clock, blocking):
    cache = PlainCache(60, store=MemoryStore(), blocking=blocking, near_entries=0, clock=clock, store_timeout=5)
    upstream = Upstream(Fetched(data={"set": {1, 2}}))
    upstream.gate.set()
    one, other = await asyncio.gather(ask(cache, upstream), ask(cache, upstream))
    one["set"].clear()

    assert other == await ask(cache, upstream) == {"set": {1, 2}}
    assert upstream.asked == 1


async def test_an_answer_that_can_neither_be_kept_nor_copied_is_handed_out(cache, caplog):
    thing = (item for item in "x")
    upstream = Upstream(Fetched(data={"thing": thing}))
    upstream.gate.set()

    assert (await ask(cache, upstream))["thing"] is thing


async def test_closing_tells_those_who_wait_and_those_who_come_later(cache):
    upstream = Upstream()
    waiting = [asyncio.create_task(ask(cache, upstream)) for _ in range(3)]
    await upstream.reached.wait()
    await settle()

    await cache.aclose()

    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(MCPConnectionError, "the orchestrator was closed")] * 3
    assert upstream.cancelled == 1
    with pytest.raises(MCPConnectionError, match="closed"):
        await cache.fetch("a", upstream)


async def test_a_closed_cache_finds_and_keeps_nothing_and_keeps_its_statistics(cache, caplog):
    cache.set("a", {"n": 1})
    assert cache.get("a") == {"n": 1}
    assert not cache.closed

    await cache.aclose()
    await cache.aclose()
    cache.set("b", {"n": 2})
    cache.invalidate()

    assert cache.closed
    assert (cache.get("a"), await cache.lookup(["b"]), cache.cleanup_expired()) == (None, {}, 0)
    assert (
        cache.get_stats().items()
        >= {
            "hits": 1,
            "misses": 2,
            "evictions": 0,
            "total_requests": 3,
            "hit_rate": "33.33%",
            "cached_items": 0,
            "errors": 0,
        }.items()
    )
    assert caplog.records == []


async def test_what_the_server_said_about_keeping_reaches_the_store(clock):
    store = BytesStore()
    cache = PlainCache(60, store=store, clock=clock)
    upstream = Upstream(Fetched(data={}, ttl_ms=5000, scope="public"))
    upstream.gate.set()
    await ask(cache, upstream)

    kept = store.get_many(["a"])["a"]
    entry = decode("a", kept.value)
    assert (entry.ttl_ms, entry.scope, entry.expires_at, kept.expires_at) == (5000, "public", 5.0, 5.0)
