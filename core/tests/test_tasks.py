"""S16 for what runs at the same time: one plain error comes out, and nothing is left running."""

import asyncio
import gc
from typing import Any

import looptime
import pytest
from mcp_orchestra.tasks import finish, run_all


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """An event loop whose clock jumps to the next thing that is due."""
    return "asyncio", {"loop_factory": looptime.new_event_loop}


pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def nothing_left():
    """What takes more than a thousand seconds is at an end; afterwards no task may be left."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(1000):
        yield
    left = [task for task in asyncio.all_tasks() - before if "TestRunner" not in repr(task.get_coro())]
    assert left == []


class Work:
    """Coroutines that end after some seconds, and a record of those that were cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.most = self.now = 0

    async def __call__(self, name: str, seconds: float = 0.0, *, error: Exception | None = None, cleaning=0.0) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
            if error is not None:
                raise error
        except asyncio.CancelledError:
            await asyncio.sleep(cleaning)
            self.cancelled.append(name)
            raise
        finally:
            self.now -= 1
        return name


@pytest.fixture
def work() -> Work:
    return Work()


async def test_results_come_in_the_order_of_what_was_asked(work):
    assert await run_all([work("slow", 3), work("quick", 1), work("now")]) == ["slow", "quick", "now"]
    assert work.most == 3


async def test_nothing_to_run_is_nothing_to_wait_for():
    assert await run_all([]) == []


async def test_the_first_failure_is_raised_as_it_is_and_the_others_are_cancelled(work):
    failure = LookupError("second")
    with pytest.raises(LookupError) as caught:
        await run_all([work("a", 9), work("b", 2, error=failure), work("c", 3, error=LookupError("third"))])
    assert caught.value is failure
    assert sorted(work.cancelled) == ["a", "c"]
    assert asyncio.get_running_loop().time() == 2


async def test_a_failure_comes_out_once_the_others_have_cleaned_up(work):
    with pytest.raises(LookupError):
        await run_all([work("a", 9, cleaning=5), work("b", 1, error=LookupError())])
    assert work.cancelled == ["a"]
    assert asyncio.get_running_loop().time() == 6


async def test_what_others_raise_while_they_are_cancelled_does_not_replace_the_failure():
    async def spiteful() -> None:
        try:
            await asyncio.sleep(9)
        finally:
            raise ValueError

    async def failing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await run_all([spiteful(), failing()])


async def test_of_failures_at_the_same_time_one_is_raised_and_none_is_lost_in_the_log(work):
    with pytest.raises(LookupError, match="b"):
        await run_all([work("a", 5), *(work(name, 1, error=LookupError(name)) for name in "bcd")])


async def test_a_cancelled_caller_is_cancelled_itself_after_all_have_ended(work):
    running = asyncio.create_task(run_all([work("a", 9, cleaning=2), work("b", 9), work("done")]))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(work.cancelled) == ["a", "b"]
    assert asyncio.get_running_loop().time() == 3


async def test_what_is_finished_is_not_interrupted_by_cancellations(work):
    running = asyncio.create_task(finish(work("a", 5)))
    for _ in range(3):
        await asyncio.sleep(1)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.cancelled == []
    assert asyncio.get_running_loop().time() == 5


async def test_what_fails_while_it_is_finished_is_raised(work):
    with pytest.raises(LookupError):
        await finish(work("a", 1, error=LookupError()))


async def test_what_fails_after_its_caller_was_cancelled_is_not_reported_as_lost(work):
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    running = asyncio.create_task(finish(work("a", 5, error=LookupError())))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    del running
    gc.collect()
    assert reported == []
