"""A store that cannot be reached is left alone for a while, and then tried by one at a time: S36."""

import asyncio
import errno

import pytest
from fakes import Clock
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import ResourceCache
from mcp_orchestra.cache.breaker import Breaker
from shared_store import BareClient, Shared

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock) -> Breaker:
    return Breaker(clock)


@pytest.fixture
def client(clock) -> BareClient:
    return BareClient(Shared(clock))


@pytest.fixture
async def cache(client, clock):
    cache = ResourceCache(60, store=client, blocking=True, near_entries=0, clock=clock, store_timeout=5)
    yield cache
    await cache.aclose()


async def test_while_nothing_fails_everything_is_admitted(breaker):
    assert [breaker.admits() for _ in range(3)] == [True] * 3
    assert not breaker.open


async def test_after_a_failure_one_may_try_after_half_a_second(breaker, clock):
    breaker.failed()
    assert breaker.open
    assert not breaker.admits()
    clock.now += 0.499
    assert not breaker.admits()
    clock.now += 0.001
    assert breaker.admits()
    assert not breaker.admits()


async def test_the_pause_doubles_with_each_failed_trial_up_to_five_seconds(breaker, clock):
    breaker.failed()
    pauses = []
    for _ in range(6):
        begun = clock.now
        while not breaker.admits():
            clock.now += 0.125
        pauses.append(clock.now - begun)
        breaker.failed()

    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


async def test_after_a_success_everything_is_as_before_the_failure(breaker, clock):
    for _ in range(5):
        breaker.failed()
    breaker.worked()

    assert (breaker.admits(), breaker.open) == (True, False)
    breaker.failed()
    clock.now += 0.5
    assert breaker.admits()


async def test_a_trial_that_never_ends_does_not_keep_the_others_out_for_ever(breaker, clock):
    breaker.failed()
    clock.now += 0.5
    assert breaker.admits()
    assert not breaker.admits()
    clock.now += 0.5
    assert breaker.admits()


@given(st.lists(st.sampled_from(["fail", "work", "ask"]) | st.floats(-1e6, 1e6), max_size=30))
def test_whatever_the_clock_does_nobody_is_kept_out_for_longer_than_five_seconds(steps):
    clock = Clock()
    breaker = Breaker(clock)
    for step in steps:
        if step == "fail":
            breaker.failed()
        elif step == "work":
            breaker.worked()
        elif step == "ask":
            breaker.admits()
        else:
            clock.now += step
    waited = 0.0
    while not breaker.admits():
        clock.now += 0.25
        waited += 0.25

    assert waited <= 5.0


@pytest.mark.parametrize("error", [ConnectionError("away"), TimeoutError("late"), ConnectionRefusedError("no")])
async def test_s36_a_store_that_cannot_be_reached_is_not_asked_again_at_once(cache, client, clock, error):
    client.broken, client.error = {"get_many"}, error
    assert await cache.lookup(["a"]) == {}
    client.calls.clear()

    for _ in range(5):
        assert await cache.lookup(["a"]) == {}
    assert client.calls == []
    assert not cache.get_stats()["available"]
    assert cache.get_stats()["errors"] == 1
    clock.now += 0.5
    assert await cache.lookup(["a"]) == {}
    assert client.calls == ["get_many"]


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(errno.ENOSPC, "full")])
async def test_s36_a_call_that_fails_for_another_reason_keeps_nobody_out(cache, client, error):
    client.broken, client.error = {"get_many"}, error
    for _ in range(3):
        await cache.lookup(["a"])

    assert client.calls == ["get_many"] * 3
    assert cache.get_stats()["available"]


async def test_a_store_that_is_back_is_used_again_and_what_was_invalidated_meanwhile_is_gone(cache, client, clock):
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})
    client.broken, client.error = {"get_many", "delete_many"}, ConnectionError("away")
    await cache.lookup(["a"])
    cache.invalidate("a")
    client.broken = set()
    assert await cache.lookup(["b"]) == {}
    clock.now += 0.5

    assert {key: one.copy() for key, one in (await cache.lookup(["a", "b"])).items()} == {"b": {"n": 2}}
    assert cache.get_stats()["available"]


async def test_an_invalidation_on_the_loop_that_gets_through_ends_the_pause(cache, client, clock):
    cache.set("a", {"n": 1})
    client.broken, client.error = {"get_many"}, ConnectionError("away")
    await cache.lookup(["a"])
    client.broken = set()
    clock.now += 0.5
    client.calls.clear()

    cache.invalidate("b")  # which nobody waits for
    async with asyncio.timeout(10):
        while not cache.get_stats()["available"]:
            await asyncio.sleep(0)

    assert client.calls[0] == "delete_many"
    assert (await cache.lookup(["a"]))["a"].copy() == {"n": 1}
