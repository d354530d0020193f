"""What was replaced is closed when nobody uses it any more."""

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


async def test_it_is_closed_soon_after_the_last_question() -> None:
    retiring, usage, closed = Retiring(), Usage(), Closed()
    async with asyncio.timeout(100):
        started = asyncio.get_running_loop().time()
        with usage:
            retiring.add(lambda: usage.busy, closed.close)
            await asyncio.sleep(10)
            assert closed.at is None
        await asyncio.sleep(1)
        assert closed.at is not None
        assert closed.at - started == pytest.approx(10, abs=0.2)


async def test_closing_waits_for_nobody() -> None:
    retiring, closed = Retiring(), [Closed(), Closed()]
    async with asyncio.timeout(100):
        started = asyncio.get_running_loop().time()
        for one in closed:
            retiring.add(lambda: True, one.close)
        await asyncio.sleep(1)
        await retiring.aclose()
    assert [one.at is not None and one.at - started < 1.5 for one in closed] == [True, True]
