"""What was replaced is closed when nobody uses it any more, and not for ever later."""

import asyncio
from typing import Any

import looptime
import pytest
from mcp_orchestra.retiring import Retiring, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """An event loop whose clock jumps to the next thing that is due."""
    return "asyncio", {"loop_factory": looptime.new_event_loop}


class Closed:
    def __init__(self) -> None:
        self.at: float | None = None

    async def close(self) -> None:
        self.at = asyncio.get_running_loop().time()


def test_a_successor_is_busy_while_what_was_before_it_is() -> None:
    first = Usage()
    with first:
        second = first.successor()
        third = second.successor()
        assert (first.busy, second.busy, third.busy) == (True, True, True)
        with third:
            assert not Usage().busy
    assert (first.busy, second.busy, third.busy) == (False, False, False)


def test_a_time_that_a_caller_has_set_counts_as_long_as_his_question_does() -> None:
    usage = Usage()
    usage.longest = 60.0
    with usage:
        assert usage.successor().longest == 60.0
    assert usage.successor().longest == 0.0


async def test_it_is_closed_soon_after_the_last_question() -> None:
    retiring, usage, closed = Retiring(), Usage(), Closed()
    async with asyncio.timeout(100):
        started = asyncio.get_running_loop().time()
        with usage:
            retiring.add(lambda: usage.busy, 30, closed.close)
            await asyncio.sleep(10)
            assert closed.at is None
        await asyncio.sleep(1)
        assert closed.at is not None
        assert closed.at - started == pytest.approx(10, abs=0.2)


async def test_it_is_closed_at_the_latest_when_its_time_is_over() -> None:
    retiring, closed = Retiring(), Closed()
    async with asyncio.timeout(100):
        started = asyncio.get_running_loop().time()
        retiring.add(lambda: True, 30, closed.close)
        await asyncio.sleep(40)
    assert closed.at is not None
    assert closed.at - started == pytest.approx(30, abs=0.2)


async def test_closing_waits_for_nobody() -> None:
    retiring, closed = Retiring(), [Closed(), Closed()]
    async with asyncio.timeout(100):
        started = asyncio.get_running_loop().time()
        for one in closed:
            retiring.add(lambda: True, 30, one.close)
        await asyncio.sleep(1)
        await retiring.aclose()
    assert [one.at is not None and one.at - started < 1.5 for one in closed] == [True, True]
