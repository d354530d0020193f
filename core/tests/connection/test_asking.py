"""S16: one request ends in its time, and only a connection that takes nothing any more is lost by it."""

import asyncio
import gc
from collections.abc import Callable

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_orchestra.connection.asking import answer_to
from mcp_orchestra.connection.fault import Fault
from mcp_orchestra.connection.watch import Line

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

CLOSED = MCPError(-32000, "Connection closed")
TIMED_OUT = MCPError(-32001, "Request timed out")


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def ask(line: Line) -> Callable[..., "asyncio.Task[tuple[object, bool]]"]:
    """Wait 10 s for a request over a connection that is given up if nothing is taken for 10 s."""

    async def outcome(request, seconds, patience):
        given_up = asyncio.Event()
        answer = await answer_to(request, line, given_up.set, seconds=seconds, patience=patience)
        return answer, given_up.is_set()

    def start(request, *, seconds=10.0, patience=10.0):
        return asyncio.create_task(outcome(request, seconds, patience))

    return start


async def send(line: Line, seconds: float) -> None:
    """Send a message that is taken after so many seconds."""
    with line.sending():
        await asyncio.sleep(seconds)


async def fail(error: BaseException, after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise error


async def test_a_request_that_takes_several_answers_and_too_long_costs_nobody_else_the_connection(ask, line, clock):
    async def in_three_legs():
        for _ in range(3):
            await send(line, 0.001)
            await asyncio.sleep(7)

    fault, given_up = await ask(in_three_legs())
    assert (fault.cause, fault.reason) == ("timeout", "no answer within 10 s")
    assert not given_up
    assert clock() <= 10.6


async def test_a_connection_that_takes_nothing_for_the_whole_time_is_given_up(ask, line):
    fault, given_up = await ask(send(line, 60))
    assert fault.cause == "timeout"
    assert given_up


async def test_a_time_that_was_too_short_does_not_end_a_connection_that_is_slow(ask, line):
    fault, given_up = await ask(send(line, 5), seconds=0.1)
    assert (fault.cause, given_up) == ("timeout", False)


async def test_many_short_times_end_a_connection_that_takes_nothing(ask, line):
    stuck = asyncio.create_task(send(line, 60))
    outcomes = [(await ask(send(line, 60), seconds=1))[1] for _ in range(10)]
    assert outcomes[0] is False
    assert outcomes[-1] is True
    stuck.cancel()


async def test_a_connection_that_takes_other_messages_is_not_given_up(ask, line):
    call = ask(send(line, 60))
    for _ in range(11):
        await send(line, 1)
    _, given_up = await call
    assert not given_up


async def test_what_is_taken_while_the_answer_is_late_shows_that_the_application_was_held_up(ask, line):
    """The event loop stood still for so long that the time is up before the message could be taken."""
    sending = asyncio.create_task(send(line, 10.2))
    _, given_up = await ask(asyncio.sleep(60))
    assert not given_up
    await sending


async def test_a_server_that_speaks_of_a_closed_connection_does_not_close_ours(ask, line):
    fault, _ = await ask(fail(CLOSED))
    assert (fault.cause, fault.connection_lost) == ("broken", False)
    line.ended = True
    fault, _ = await ask(fail(CLOSED))
    assert (fault.cause, fault.connection_lost) == ("lost", True)


async def test_a_servers_timeout_is_its_answer_and_ours_is_ours(ask):
    fault, _ = await ask(fail(TIMED_OUT, after=2))
    assert (fault.cause, fault.delivered) == ("rejected", "yes")
    fault, _ = await ask(fail(TIMED_OUT, after=10))
    assert (fault.cause, fault.reason) == ("timeout", "no answer within 10 s")


@pytest.mark.parametrize("broken", [anyio.ClosedResourceError(), anyio.BrokenResourceError()])
async def test_a_connection_that_takes_nothing_because_it_is_closed_has_ended(line, broken):
    with pytest.raises(type(broken)), line.sending():
        raise broken
    assert line.ended
    assert line.stuck_since is None


@pytest.mark.parametrize(
    "error",
    [
        BaseExceptionGroup("g", [GeneratorExit()]),
        GeneratorExit(),
        BaseExceptionGroup("g", [asyncio.CancelledError(), KeyError("x")]),
        asyncio.CancelledError(),
        type("ForeignError", (BaseException,), {})(),
    ],
    ids=repr,
)
async def test_whatever_else_a_request_raises_is_a_fault(ask, error):
    fault, _ = await ask(fail(error))
    assert isinstance(fault, Fault)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("steps", range(4))
async def test_s16_a_request_that_fails_while_its_caller_is_cancelled_is_nobodys_error(ask, steps):
    loop, reported = asyncio.get_running_loop(), []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    failing = loop.create_future()
    asking = ask(asyncio.wait_for(failing, None))
    for _ in range(5):
        await asyncio.sleep(0)
    failing.set_exception(CLOSED)
    for _ in range(steps):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    del asking, failing
    await asyncio.sleep(0)
    gc.collect()
    loop.set_exception_handler(before)
    assert reported == []
