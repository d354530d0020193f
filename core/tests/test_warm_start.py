"""Answers from a cache that outlived its process, while the servers are being connected."""

import asyncio
import logging
from typing import Any

import looptime
import pytest
from mcp_orchestra import MCPConnectionError, MCPRegistry, MCPServerConfig, ResourceCache
from mcp_orchestra.cache import Freshness
from mcp_orchestra.life_cycle import LifeCycle
from mcp_orchestra.warm_start import WarmStart
from mcp_orchestra_memory import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": looptime.new_event_loop}


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(3600):
        yield


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


@pytest.fixture
def registry() -> MCPRegistry:
    registry = MCPRegistry()
    for server_id, priority in (("late", 9), ("early", 1)):
        config = MCPServerConfig(name=server_id.title(), url="http://x", priority=priority, domains=["d"])
        registry.register_server(server_id, config)
    return registry


@pytest.fixture
async def cache():
    clock = asyncio.get_running_loop().time
    cache = ResourceCache(60, store=MemoryStore(), clock=clock, freshness=Freshness(max_stale=30))
    for server_id in ("late", "early"):
        cache.set(f"resources:{server_id}", {"of": [server_id]})
    yield cache
    await cache.aclose()


class Starting:
    """A start that opens the cache at once and then takes ten seconds to connect."""

    def __init__(self, registry: MCPRegistry, cache: ResourceCache) -> None:
        self.registry = registry
        self.cache = cache
        self.error: Exception | None = None
        self.starts = 0
        self.cancelled = 0
        self.opens = True
        self.life: LifeCycle[str] = LifeCycle(self.start, self.stop)
        self.warm = WarmStart(self.life.bring_up)

    async def start(self) -> str:
        self.starts += 1
        try:
            await asyncio.sleep(1)
            if self.opens:
                self.warm.opened(self.registry, self.cache)
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return "running"

    async def stop(self, running: str | None) -> None:
        self.warm.closed()


@pytest.fixture
def starting(registry, cache) -> Starting:
    return Starting(registry, cache)


def now() -> float:
    return asyncio.get_running_loop().time()


def part(server_id: str, priority: int, **more: object) -> dict[str, Any]:
    return {"priority": priority, "domains": ["d"], "capabilities": [], "resources": {"of": [server_id]}} | more


WHOLE = {"Early": part("early", 1), "Late": part("late", 9)}


async def test_the_first_answer_does_not_wait_for_the_servers(starting):
    begun = now()
    found = await starting.warm.gather()

    assert found == WHOLE
    assert list(found) == ["Early", "Late"]
    assert now() - begun == 1
    assert starting.life.running is None
    await asyncio.sleep(10)
    assert starting.life.running == "running"


async def test_s31_the_answer_is_the_callers_own(starting):
    one, other = await asyncio.gather(starting.warm.gather(), starting.warm.gather())
    one["Early"]["resources"]["of"].append("changed")
    one["Late"]["domains"].clear()

    assert other == WHOLE
    assert await starting.warm.gather() == WHOLE


@pytest.mark.parametrize("key", ["resources:late", None])
async def test_if_anything_is_missing_the_start_is_waited_for(starting, cache, key):
    cache.invalidate(key)
    begun = now()

    assert await starting.warm.gather() is None
    assert now() - begun == 10
    assert starting.life.running == "running"


async def test_a_server_that_is_not_enabled_is_neither_missed_nor_answered_for(starting, registry, cache):
    config = MCPServerConfig(name="Off", url="http://x", enabled=False)
    registry.register_server("off", config)
    assert await starting.warm.gather() == WHOLE

    cache.set("resources:off", {"of": ["off"]})
    assert await starting.warm.gather() == WHOLE


async def test_without_any_server_the_start_is_waited_for(cache):
    starting = Starting(MCPRegistry(), cache)

    assert await starting.warm.gather() is None
    assert starting.life.running == "running"


async def test_s35_what_is_beyond_its_time_is_marked_and_what_is_too_old_is_missing(starting):
    await asyncio.sleep(60)
    stale = {"Early": part("early", 1, stale=True), "Late": part("late", 9, stale=True)}
    assert await starting.warm.gather() == stale
    await asyncio.sleep(30)

    assert await starting.warm.gather() is None


async def test_s35_what_is_answered_for_a_server_that_failed_to_connect_is_marked(starting, registry):
    registry.mark_disconnected("late", "connection refused")

    assert await starting.warm.gather() == {"Early": part("early", 1), "Late": part("late", 9, stale=True)}


async def test_a_cache_that_does_not_outlive_its_process_is_waited_for(starting):
    starting.opens = False
    begun = now()

    assert await starting.warm.gather() is None
    assert now() - begun == 10


async def test_many_who_gather_at_once_start_once(starting):
    found = await asyncio.gather(*(starting.warm.gather() for _ in range(50)))
    more = await asyncio.gather(*(starting.warm.gather() for _ in range(50)))
    await asyncio.sleep(20)

    assert found + more == [WHOLE] * 100
    assert starting.starts == 1


async def test_a_start_that_fails_behind_an_answer_is_logged_and_the_next_question_tries_again(starting, cache, log):
    starting.error = MCPConnectionError("2 servers failed to connect")
    assert await starting.warm.gather() == WHOLE
    assert log.records == []
    await asyncio.sleep(10)

    (record,) = log.records
    assert "2 servers failed to connect" in record.getMessage()
    cache.invalidate()
    with pytest.raises(MCPConnectionError, match="2 servers"):
        await starting.warm.gather()
    assert starting.starts == 2
    starting.error = None
    assert await starting.warm.gather() is None
    assert starting.life.running == "running"


async def test_a_start_that_fails_before_there_is_an_answer_is_raised(starting, log):
    starting.error = MCPConnectionError("a server failed to connect")
    starting.opens = False

    for _ in range(2):
        with pytest.raises(MCPConnectionError, match="failed to connect"):
            await starting.warm.gather()
    assert log.records == []


@pytest.mark.parametrize("seconds", [0.5, 5])
async def test_who_is_cancelled_while_waiting_cancels_the_start(starting, cache, seconds, log):
    cache.invalidate()
    waiting = asyncio.create_task(starting.warm.gather())
    await asyncio.sleep(seconds)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.1)

    assert starting.cancelled == 1
    assert await starting.warm.gather() is None
    assert starting.starts == 2
    assert log.records == []


async def test_who_is_cancelled_does_not_take_the_start_from_the_others(starting, cache):
    cache.invalidate()
    one, other = (asyncio.create_task(starting.warm.gather()) for _ in range(2))
    await asyncio.sleep(5)
    one.cancel()

    assert await other is None
    assert (starting.starts, starting.cancelled) == (1, 0)
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_closing_ends_a_start_that_goes_on_behind_an_answer_and_nobody_is_warned(starting, log):
    assert await starting.warm.gather() == WHOLE
    await starting.life.take_down()
    await asyncio.sleep(1)

    assert starting.cancelled == 1
    assert log.records == []
    assert [task.get_name() for task in asyncio.all_tasks() if "start" in task.get_name()] == []


async def test_after_closing_the_cache_has_to_be_opened_again(starting):
    assert await starting.warm.gather() == WHOLE
    await starting.life.take_down()
    begun = now()

    assert await starting.warm.gather() == WHOLE
    assert now() - begun == 1
    assert starting.starts == 2


async def test_an_error_that_nobody_waits_for_is_not_complained_about(registry, cache, log):
    """The caller is cancelled in the very moment in which the start has failed."""
    caller: list[asyncio.Task[object]] = []

    async def fail() -> object:
        caller[0].cancel()
        raise MCPConnectionError("failed")

    warm = WarmStart(fail)
    caller.append(asyncio.create_task(warm.gather()))
    with pytest.raises(asyncio.CancelledError):
        await caller[0]
    caller.clear()
    await asyncio.sleep(0)

    assert [record.getMessage() for record in log.records] == []


async def test_a_cache_that_finds_nothing_because_it_fails_is_waited_for(registry):
    class Broken(MemoryStore):
        def get_objects(self, keys):
            raise ConnectionError

    clock = asyncio.get_running_loop().time
    starting = Starting(registry, ResourceCache(60, store=Broken(), clock=clock))

    assert await starting.warm.gather() is None
