"""S12, S14 and S16 without servers: starting once and stopping once, in whatever order it is asked for."""

import asyncio
import threading
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.life_cycle import LifeCycle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """An event loop whose clock jumps to the next thing that is due."""
    return "asyncio", {"loop_factory": looptime.new_event_loop}


class Engine:
    """Something that takes its time to start and to stop, and notices what must not happen to it."""

    def __init__(self, *, starting=1.0, cleaning=1.0, stopping=1.0, failures=()) -> None:
        self.starting, self.cleaning, self.stopping = starting, cleaning, stopping
        self.failures = list(failures)
        self.starts = self.stops = 0
        self.up: set[int] = set()
        self.busy = 0
        self.wrongs: list[str] = []
        self.life: LifeCycle[int] = LifeCycle(self.start, self.stop)

    async def start(self) -> int:
        self.starts += 1
        number = self.starts
        if self.up or self.busy:
            self.wrongs.append(f"start {number} began while something was up or under way")
        self.busy += 1
        try:
            await asyncio.sleep(self.starting)
            if self.failures and (failure := self.failures.pop(0)) is not None:
                raise failure
        except BaseException:
            await self.clean_up(number)
            raise
        finally:
            self.busy -= 1
        self.up.add(number)
        return number

    async def clean_up(self, number: int) -> None:
        end = asyncio.get_running_loop().time() + self.cleaning
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling() > 1:
                    self.wrongs.append(f"start {number} was disturbed while it cleaned up")

    async def stop(self, running: int | None) -> None:
        self.stops += 1
        if self.busy:
            self.wrongs.append("a stop began while something else was under way")
        self.busy += 1
        if running is not None:
            if running not in self.up:
                self.wrongs.append(f"{running} was stopped though it was not up")
            self.up.discard(running)
        try:
            await asyncio.sleep(self.stopping)
        except asyncio.CancelledError:
            self.wrongs.append("a stop was disturbed")
            raise
        finally:
            self.busy -= 1


@pytest.fixture
async def engines():
    """Make engines; what takes more than a thousand seconds with them is at an end."""
    async with asyncio.timeout(1000):
        yield Engine


async def steps(number=3):
    for _ in range(number):
        await asyncio.sleep(0)


async def test_s12_ten_who_ask_at_once_start_it_once(engines):
    engine = engines()
    assert await asyncio.gather(*(engine.life.bring_up() for _ in range(10))) == [1] * 10
    assert await engine.life.bring_up() == 1
    assert engine.starts == 1


async def test_s12_a_failure_reaches_every_waiter_as_a_copy_of_its_own(engines):
    failure = MCPConnectionError("no", {"failed": {"a": "refused"}})
    engine = engines(failures=[failure])
    outcomes = await asyncio.gather(*(engine.life.bring_up() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MCPConnectionError] * 3
    assert len({id(outcome) for outcome in (failure, *outcomes)}) == 4
    outcomes[0].context["failed"]["a"] = "changed"
    assert outcomes[1].context == {"failed": {"a": "refused"}}


async def test_s12_after_a_failure_it_can_be_started_again(engines):
    engine = engines(failures=[OSError("once")])
    with pytest.raises(OSError, match="once"):
        await engine.life.bring_up()
    assert engine.life.down
    assert await engine.life.bring_up() == 2


async def test_s12_after_a_stop_it_can_be_started_again(engines):
    engine = engines()
    for number in (1, 2, 3):
        assert await engine.life.bring_up() == number
        await engine.life.take_down()
        assert engine.life.running is None
    assert engine.up == set()


async def test_what_starts_while_another_stops_waits_for_it(engines):
    engine = engines(stopping=5.0)
    await engine.life.bring_up()
    stopping = asyncio.create_task(engine.life.take_down())
    await steps()
    assert await engine.life.bring_up() == 2
    assert stopping.done()
    assert engine.wrongs == []


async def test_s14_a_stop_ends_the_start_that_is_under_way(engines):
    engine = engines(starting=5.0)
    starting = [asyncio.create_task(engine.life.bring_up()) for _ in range(2)]
    await asyncio.sleep(1)
    await engine.life.take_down()
    outcomes = await asyncio.gather(*starting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MCPConnectionError] * 2
    assert outcomes[0].context["cause"] == "closed"
    assert (engine.up, engine.busy, engine.wrongs) == (set(), 0, [])


async def test_s14_a_stop_ends_also_the_start_that_waits_for_an_earlier_stop(engines):
    engine = engines(stopping=5.0)
    await engine.life.bring_up()
    first_stop = asyncio.create_task(engine.life.take_down())
    await steps()
    waiting = asyncio.create_task(engine.life.bring_up())
    await steps()
    await engine.life.take_down()
    with pytest.raises(MCPConnectionError, match="closed"):
        await waiting
    await first_stop
    assert engine.life.down
    assert engine.starts == 1


async def test_s14_stops_at_the_same_time_are_one(engines):
    engine = engines()
    await engine.life.bring_up()
    await asyncio.gather(*(engine.life.take_down() for _ in range(5)))
    assert engine.stops == 1


async def test_s14_a_stop_of_what_never_ran_cleans_up_all_the_same(engines):
    engine = engines()
    await engine.life.take_down()
    assert (engine.starts, engine.stops) == (0, 1)


async def test_a_stop_goes_on_though_its_waiter_is_cancelled(engines):
    engine = engines(stopping=5.0)
    await engine.life.bring_up()
    stopping = asyncio.create_task(engine.life.take_down())
    await asyncio.sleep(1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await engine.life.take_down()
    assert (engine.stops, engine.wrongs) == (1, [])


async def test_a_start_goes_on_while_anybody_waits_for_it(engines):
    engine = engines(starting=5.0)
    first, second = (asyncio.create_task(engine.life.bring_up()) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 1


async def test_a_start_ends_with_the_last_who_waits_for_it(engines):
    engine = engines(starting=5.0)
    waiting = [asyncio.create_task(engine.life.bring_up()) for _ in range(2)]
    await asyncio.sleep(1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(2)
    assert (engine.life.down, engine.up, engine.busy, engine.wrongs) == (True, set(), 0, [])


async def test_cleaning_up_after_a_cancelled_start_is_not_disturbed(engines):
    """The start is closed first, and then its last waiter is cancelled."""
    engine = engines(starting=5.0, cleaning=5.0)
    waiting = asyncio.create_task(engine.life.bring_up())
    await asyncio.sleep(1)
    stopping = asyncio.create_task(engine.life.take_down())
    await asyncio.sleep(1)
    waiting.cancel()
    await stopping
    assert (engine.busy, engine.wrongs) == (0, [])


async def test_who_asks_while_a_given_up_start_is_cleaning_up_gets_a_new_one(engines):
    engine = engines(starting=5.0, cleaning=5.0)
    leaving = asyncio.create_task(engine.life.bring_up())
    await asyncio.sleep(1)
    leaving.cancel()
    await asyncio.sleep(1)
    assert await engine.life.bring_up() == 2
    assert engine.wrongs == []


def test_what_ran_on_a_loop_that_has_ended_is_forgotten():
    engine = Engine()
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        assert runner.run(engine.life.bring_up()) == 1
    engine.up.clear()
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        assert runner.run(engine.life.bring_up()) == 2
    assert engine.wrongs == []


@pytest.fixture
def other_loop():
    """An event loop that runs in another thread: run(coroutine) returns a future of it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_s16_it_cannot_be_used_from_another_loop_while_it_runs(other_loop):
    engine = Engine(starting=0, stopping=0)
    assert other_loop(engine.life.bring_up()).result(10) == 1
    with pytest.raises(MCPConnectionError, match="belongs to another event loop"):
        asyncio.run(engine.life.bring_up())
    assert engine.life.running == 1


def test_s14_it_can_be_stopped_from_another_loop_and_started_there(other_loop):
    engine = Engine(starting=0, stopping=0)
    other_loop(engine.life.bring_up()).result(10)

    async def stop_and_start() -> int:
        async with asyncio.timeout(10):
            await engine.life.take_down()
            assert engine.life.down
            assert engine.up == set()
            return await engine.life.bring_up()

    assert asyncio.run(stop_and_start()) == 2
    assert engine.wrongs == []


TIMES = st.integers(0, 6).map(float)
MOVES = st.lists(
    st.tuples(TIMES, st.integers(0, 4), st.sampled_from(["up", "up", "down", "cancel"]), st.integers(0, 7)), max_size=10
)


@settings(max_examples=300, deadline=None)
@given(MOVES, TIMES, TIMES, TIMES, st.lists(st.sampled_from([None, OSError("no")]), max_size=3))
def test_s12_whatever_is_asked_in_whatever_order_starts_and_stops_are_balanced(
    moves, starting, cleaning, stopping, failures
):
    engine = Engine(starting=starting, cleaning=cleaning, stopping=stopping, failures=failures)

    async def play() -> None:
        asked: list[asyncio.Task] = []

        async def move(at: float, after: int, what: str, which: int) -> None:
            await asyncio.sleep(at)
            await steps(after)
            match what:
                case "up":
                    asked.append(asyncio.create_task(engine.life.bring_up()))
                case "down":
                    asked.append(asyncio.create_task(engine.life.take_down()))
                case _ if asked:
                    asked[which % len(asked)].cancel()

        await asyncio.gather(*(move(*one) for one in moves))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        unexpected = [
            outcome
            for outcome in outcomes
            if not (outcome is None or isinstance(outcome, int | OSError | MCPConnectionError | asyncio.CancelledError))
        ]
        assert unexpected == []
        await asyncio.sleep(100)
        # With nobody left who waits, it is up or down, and nothing is on its way.
        assert engine.busy == 0
        assert engine.up == ({engine.life.running} if engine.life.running is not None else set())
        assert engine.wrongs == []
        await engine.life.take_down()
        assert engine.life.down
        assert (engine.up, engine.busy, engine.wrongs) == (set(), 0, [])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())
