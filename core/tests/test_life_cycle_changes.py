"""Changing what is running (S12, S14): one change at a time, and never while it starts or stops."""

import asyncio
from typing import Any

import looptime
import pytest
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.life_cycle import LifeCycle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """An event loop whose clock jumps to the next thing that is due."""
    return "asyncio", {"loop_factory": looptime.new_event_loop}


class Engine:
    """Writes down what begins and ends; everything takes a second."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.life: LifeCycle[str] = LifeCycle(self.start, self.stop)

    async def start(self) -> str:
        await self.write("start")
        return "new"

    async def stop(self, running: str | None) -> None:
        await self.write(f"stop {running}")

    async def write(self, what: str) -> None:
        self.diary.append(what)
        await asyncio.sleep(1)
        self.diary.append(f"{what} done")

    async def turn(self, name: str) -> str:
        async def work(running: str | None) -> str:
            await self.write(f"{name} over {running}")
            if running is not None:
                self.life.put(name)
            return name

        return await self.life.change(work)


@pytest.fixture
async def engine():
    async with asyncio.timeout(100):
        yield Engine()


async def test_what_is_changed_is_what_runs_then(engine):
    await engine.life.bring_up()
    assert await engine.turn("one") == "one"
    assert (engine.life.running, await engine.life.bring_up()) == ("one", "one")
    await engine.life.take_down()
    assert engine.diary[-1] == "stop one done"


async def test_changes_run_one_after_the_other(engine):
    await engine.life.bring_up()
    assert await asyncio.gather(*map(engine.turn, ["one", "two", "three"])) == ["one", "two", "three"]
    assert engine.diary[2:] == [
        *("one over new", "one over new done"),
        *("two over one", "two over one done"),
        *("three over two", "three over two done"),
    ]


async def test_a_change_waits_for_a_start_and_a_start_for_a_change(engine):
    starting = asyncio.create_task(engine.life.bring_up())
    await asyncio.sleep(0.5)
    assert await engine.turn("one") == "one"
    assert await starting == "new"
    await engine.life.take_down()
    changing = asyncio.create_task(engine.turn("two"))
    await asyncio.sleep(0.5)
    assert not engine.life.down
    await engine.life.bring_up()
    assert await changing == "two"
    assert engine.diary == [
        *("start", "start done", "one over new", "one over new done", "stop one", "stop one done"),
        *("two over None", "two over None done", "start", "start done"),
    ]


async def test_s14_a_stop_ends_a_change_that_is_under_way(engine):
    await engine.life.bring_up()
    changing = asyncio.create_task(engine.turn("one"))
    await asyncio.sleep(0.5)
    await engine.life.take_down()
    with pytest.raises(MCPConnectionError) as caught:
        await changing
    assert caught.value.context["cause"] == "closed"
    assert engine.diary[2:] == ["one over new", "stop new", "stop new done"]


async def test_s14_a_change_that_cleans_up_and_what_runs_end_at_the_same_time(engine):
    """Each may take nearly as long as closing may."""
    await engine.life.bring_up()

    async def work(_running: str | None) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await engine.write("clean up")

    changing = asyncio.create_task(engine.life.change(work))
    await asyncio.sleep(0.5)
    await engine.life.take_down()
    assert set(engine.diary[2:4]) == {"clean up", "stop new"}
    assert set(engine.diary[4:]) == {"clean up done", "stop new done"}
    with pytest.raises(MCPConnectionError):
        await changing


async def test_who_is_cancelled_cancels_his_change_and_no_other(engine):
    await engine.life.bring_up()
    first, second = (asyncio.create_task(engine.turn(name)) for name in ("one", "two"))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == "two"
    assert first.cancelled()
    assert engine.diary[2:] == ["one over new", "two over new", "two over new done"]


async def test_a_change_that_fails_is_its_caller_s_affair(engine):
    await engine.life.bring_up()

    async def fail(running: str | None) -> None:
        raise MCPConnectionError(f"not over {running}")

    with pytest.raises(MCPConnectionError, match="not over new"):
        await engine.life.change(fail)
    assert engine.life.running == "new"
    assert await engine.turn("one") == "one"
