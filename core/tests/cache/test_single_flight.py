"""S34 without a cache: one piece of work at a time for each key."""

import asyncio
import traceback
from concurrent.futures import Future

import looptime
import pytest
from mcp_orchestra import MCPConnectionError, ResourceFetchError
from mcp_orchestra.cache.single_flight import SingleFlight

pytestmark = pytest.mark.anyio


class Work:
    """Work that ends when it is told to, and remembers what happened to it."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.flights = []

    async def __call__(self, flight):
        self.runs += 1
        self.flights.append(flight)
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.runs


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(10):
        yield


@pytest.fixture
def flights():
    return SingleFlight()


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def tasks_of_flights() -> list[asyncio.Task]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("fetch ")]


async def test_everyone_who_asks_while_it_runs_gets_the_one_result(flights):
    work = Work()
    waiting = [asyncio.create_task(flights.run("a", work)) for _ in range(1000)]
    await work.started.wait()
    await settle()
    work.gate.set()

    assert await asyncio.gather(*waiting) == [1] * 1000
    assert work.runs == 1


async def test_keys_do_not_wait_for_each_other(flights):
    slow, quick = Work(), Work()
    quick.gate.set()
    waiting = asyncio.create_task(flights.run("slow", slow))
    await slow.started.wait()

    assert await flights.run("quick", quick) == 1
    assert not waiting.done()
    slow.gate.set()
    assert await waiting == 1


async def test_who_asks_after_it_is_done_starts_anew(flights):
    work = Work()
    work.gate.set()

    assert [await flights.run("a", work), await flights.run("a", work)] == [1, 2]


async def test_the_others_get_the_result_although_the_first_is_cancelled(flights):
    work = Work()
    first = asyncio.create_task(flights.run("a", work))
    await work.started.wait()
    others = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await settle()

    first.cancel()
    await settle()
    work.gate.set()

    assert await asyncio.gather(*others) == [1, 1, 1]
    assert first.cancelled()
    assert work.cancelled == 0


async def test_the_first_gets_the_result_although_another_is_cancelled(flights):
    work = Work()
    first = asyncio.create_task(flights.run("a", work))
    other = asyncio.create_task(flights.run("a", work))
    await work.started.wait()
    other.cancel()
    await settle()
    work.gate.set()

    assert await first == 1


async def test_the_work_is_cancelled_when_the_last_one_is_gone(flights):
    work = Work()
    waiting = [asyncio.create_task(flights.run("a", work)) for _ in range(5)]
    await work.started.wait()
    for task in waiting[:4]:
        task.cancel()
    await settle()
    assert work.cancelled == 0

    waiting[4].cancel()
    await settle()

    assert all(task.cancelled() for task in waiting)
    assert work.cancelled == 1
    assert not work.flights[0].current
    assert tasks_of_flights() == []


async def test_who_comes_after_the_last_one_left_does_not_join_the_cancelled_work(flights):
    work = Work()
    alone = asyncio.create_task(flights.run("a", work))
    await work.started.wait()
    alone.cancel()
    work.gate.set()  # so that only the first run was held up

    with pytest.raises(asyncio.CancelledError):
        await alone
    assert await flights.run("a", work) == 2


async def test_a_failure_reaches_everyone_as_an_exception_of_his_own(flights):
    gate = asyncio.Event()

    async def fail(flight):
        await gate.wait()
        raise ResourceFetchError("it is broken", {"server": "Products", "attempts": []})

    waiting = [asyncio.create_task(flights.run("a", fail)) for _ in range(20)]
    await settle()
    gate.set()
    errors = await asyncio.gather(*waiting, return_exceptions=True)

    assert [(type(error), str(error)) for error in errors] == [(ResourceFetchError, "it is broken")] * 20
    assert len({id(error) for error in errors}) == 20
    errors[0].context["attempts"].append("mine")
    assert errors[1].context == {"server": "Products", "attempts": []}
    assert all("fail" in {frame.name for frame in traceback.extract_tb(error.__traceback__)} for error in errors)
    lengths = {len(traceback.extract_tb(error.__traceback__)) for error in errors}
    assert len(lengths) == 1  # with one instance the frames of all who raised it would pile up


async def test_a_failure_is_not_remembered(flights):
    work = Work()
    work.gate.set()

    async def fail(flight):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await flights.run("a", fail)
    assert await flights.run("a", work) == 1


async def test_a_failure_that_nobody_waits_for_any_more_is_not_complained_about(flights):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

    async def fail_when_cancelled(flight):
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("broken while leaving")

    waiting = asyncio.create_task(flights.run("a", fail_when_cancelled))
    await settle()
    waiting.cancel()
    await settle()

    assert tasks_of_flights() == []
    assert problems == []


async def test_a_stray_cancellation_is_an_error_for_those_who_wait(flights):
    async def stray(flight):
        await asyncio.sleep(0)
        raise asyncio.CancelledError("from some library")

    results = await asyncio.gather(*(flights.run("a", stray) for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [ResourceFetchError] * 3
    assert results[0].context["cause"] == "cancelled"


async def test_work_that_was_forgotten_still_answers_but_is_not_joined(flights):
    old, new = Work(), Work()
    before = asyncio.create_task(flights.run("a", old))
    await old.started.wait()

    flights.forget("a")
    after = asyncio.create_task(flights.run("a", new))
    await settle()
    old.gate.set()
    assert await before == 1
    joined = asyncio.create_task(flights.run("a", new))  # the old one landing must not push the new one out
    await settle()
    new.gate.set()

    assert (await after, await joined) == (1, 1)
    assert new.runs == 1
    assert (old.flights[0].current, new.flights[0].current) == (False, True)


async def test_s34_however_often_it_is_forgotten_the_work_runs_once_at_a_time_and_once_more_for_all_who_ask(flights):
    old, new = Work(), Work()
    waiting = [asyncio.create_task(flights.run("a", old))]
    await old.started.wait()
    for _ in range(100):
        flights.forget("a")
        waiting.append(asyncio.create_task(flights.run("a", new)))
        await settle()
    assert new.runs == 0

    old.gate.set()
    new.gate.set()

    assert await asyncio.gather(*waiting) == [1] * 101
    assert new.runs == 1
    assert new.flights[0].current


async def test_s33_what_is_forgotten_once_the_next_work_has_begun_is_not_answered_by_that(flights):
    works = [Work(), Work(), Work()]
    first = asyncio.create_task(flights.run("a", works[0]))
    await works[0].started.wait()
    flights.forget("a")
    second = asyncio.create_task(flights.run("a", works[1]))
    await settle()
    works[0].gate.set()
    await works[1].started.wait()

    flights.forget("a")
    third = asyncio.create_task(flights.run("a", works[2]))
    await settle()
    assert works[2].runs == 0
    works[1].gate.set()
    works[2].gate.set()

    assert await asyncio.gather(first, second, third) == [1, 1, 1]
    assert [work.runs for work in works] == [1, 1, 1]
    assert [work.flights[0].current for work in works] == [False, False, True]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": looptime.new_event_loop})])
async def test_forgotten_work_that_hangs_holds_up_the_next_for_a_second(flights):
    hanging, new = Work(), Work()
    first = asyncio.create_task(flights.run("a", hanging))
    await hanging.started.wait()
    flights.forget("a")
    new.gate.set()
    asked_at = asyncio.get_running_loop().time()

    assert await flights.run("a", new) == 1

    assert asyncio.get_running_loop().time() - asked_at == pytest.approx(1, abs=0.01)
    assert new.flights[0].current
    hanging.gate.set()
    assert await first == 1


async def test_the_next_work_does_not_wait_for_forgotten_work_that_nobody_wants_any_more(flights):
    let_go = asyncio.Event()

    async def resist(flight):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await let_go.wait()
        return "too late"

    alone = asyncio.create_task(flights.run("a", resist))
    await settle()
    flights.forget("a")
    new = Work()
    new.gate.set()
    after = asyncio.create_task(flights.run("a", new))
    await settle()
    assert new.runs == 0

    alone.cancel()

    assert await after == 1
    let_go.set()
    await settle()
    assert tasks_of_flights() == []


async def test_who_waits_for_the_next_work_may_give_up_before_it_begins(flights):
    old, new = Work(), Work()
    before = asyncio.create_task(flights.run("a", old))
    await old.started.wait()
    flights.forget("a")
    after = asyncio.create_task(flights.run("a", new))
    await settle()

    after.cancel()
    await settle()
    later = asyncio.create_task(flights.run("a", new))
    await settle()
    old.gate.set()
    new.gate.set()

    assert (await before, await later) == (1, 1)
    assert new.runs == 1


async def test_forgetting_everything_forgets_all_keys(flights):
    works = [Work(), Work()]
    waiting = [asyncio.create_task(flights.run(str(n), work)) for n, work in enumerate(works)]
    await settle()
    flights.forget("unknown")
    assert all(work.flights[0].current for work in works)

    flights.forget()

    assert not any(work.flights[0].current for work in works)
    for work in works:
        work.gate.set()
    assert await asyncio.gather(*waiting) == [1, 1]


async def test_closing_gives_everyone_the_reason_and_leaves_no_task(flights):
    work = Work()
    waiting = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    forgotten = asyncio.create_task(flights.run("b", work))
    await settle()
    flights.forget("b")

    await flights.aclose(MCPConnectionError("the orchestrator was closed"))

    errors = await asyncio.gather(*waiting, forgotten, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(MCPConnectionError, "the orchestrator was closed")] * 4
    assert len({id(error) for error in errors}) == 4
    assert work.cancelled == 2
    assert not any(flight.current for flight in work.flights)
    assert tasks_of_flights() == []
    later = await asyncio.gather(*(flights.run("a", work) for _ in range(2)), return_exceptions=True)
    assert [str(error) for error in later] == ["the orchestrator was closed"] * 2
    assert later[0] is not later[1]


async def test_closing_does_not_make_anyone_wait_for_work_that_resists(flights):
    resisted = asyncio.Event()
    let_go = asyncio.Event()

    async def resist(flight):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            resisted.set()
            await let_go.wait()
        return "too late"

    waiting = asyncio.create_task(flights.run("a", resist))
    await settle()
    closing = asyncio.create_task(flights.aclose(MCPConnectionError("closed")))
    await resisted.wait()

    with pytest.raises(MCPConnectionError):
        await waiting
    assert not closing.done()
    let_go.set()
    await closing
    assert tasks_of_flights() == []


async def test_closing_twice_or_without_work_does_nothing(flights):
    await flights.aclose(MCPConnectionError("closed"))
    await flights.aclose(MCPConnectionError("closed"))

    assert tasks_of_flights() == []


async def test_work_may_close_itself(flights):
    async def close(flight):
        await flights.aclose(MCPConnectionError("closed"))
        return "done"

    assert await flights.run("a", close) == "done"


async def test_a_flight_of_another_loop_is_not_joined(flights):
    started: Future[tuple[asyncio.AbstractEventLoop, Work]] = Future()

    async def elsewhere() -> int:
        work = Work()
        waiting = asyncio.create_task(flights.run("a", work))
        await work.started.wait()
        started.set_result((asyncio.get_running_loop(), work))
        return await waiting

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    loop, work = await asyncio.wrap_future(started)
    own = Work()
    own.gate.set()

    assert await flights.run("a", own) == 1
    loop.call_soon_threadsafe(work.gate.set)
    assert await other == 1
