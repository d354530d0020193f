"""S14: close() at every stage ends within five seconds and leaves nothing, in simulated time."""

import asyncio
from contextvars import Context

import pytest
from mcp_orchestra.connection.attempt import Attempt

pytestmark = pytest.mark.anyio

REFUSED = ConnectionRefusedError()
STUBBORN = {"leaving": 60.0, "stubborn": True}


async def opened(connection, upstream):
    await connection.open()


async def opening(connection, upstream):
    asyncio.create_task(connection.open())  # noqa: RUF006 - awaited by nobody, as after a cancellation
    await asyncio.sleep(1)


async def lost(connection, upstream):
    await connection.open()
    await upstream.link.hang_up()
    await asyncio.sleep(0.001)


async def timed_out(connection, upstream):
    await connection.open()
    await asyncio.sleep(0.5)


STAGES = {
    "connecting": (opening, {"entering": 10.0}),
    "shaking hands": (opening, {"silent": True}),
    "shaking hands with a stubborn transport": (opening, {"silent": True, **STUBBORN}),
    "connected": (opened, {}),
    "connected over a slow transport": (opened, {"leaving": 4.0}),
    "connected over a stubborn transport": (opened, STUBBORN),
    "backing off": (timed_out, {"fails": REFUSED}),
    "letting go after a loss": (lost, {"leaving": 4.0}),
    "stubbornly letting go after a loss": (lost, STUBBORN),
    "letting go after a hang": (timed_out, {"entering": 1e5, "leaving": 4.0}),
    "letting go after a timeout": (timed_out, {"silent": True, "leaving": 4.0}),
    "stubbornly letting go after a timeout": (timed_out, {"silent": True, **STUBBORN}),
    "given up": (opened, {"fails": FileNotFoundError(2, "No such file")}),
}


@pytest.mark.parametrize("stage", STAGES)
async def test_s14_a_close_ends_within_five_seconds(connect, upstream, clock, registry, stage):
    reach, manner = STAGES[stage]
    server = upstream(afterwards=manner)
    connection = connect(server, timeout=5, max_retries=0)
    await reach(connection, server)
    started = clock()
    await connection.close()
    assert clock() - started < 5
    assert connection.current is None
    attempts = len(server.attempts)
    await asyncio.sleep(3600)
    assert len(server.attempts) == attempts


@pytest.mark.parametrize("stage", STAGES)
async def test_s42_a_closed_connection_is_shown_as_closed_at_once(connect, upstream, registry, stage):
    reach, manner = STAGES[stage]
    server = upstream(afterwards=manner)
    connection = connect(server, timeout=5, max_retries=0)
    await reach(connection, server)
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0.001)
    seen = registry.get_server("a")
    assert (seen.connected, seen.state) == (False, "closed")
    await closing
    assert (seen.connected, seen.state, seen.retry_at) == (False, "closed", None)


@pytest.mark.parametrize("stage", STAGES)
async def test_s14_a_close_may_be_asked_for_from_many_tasks_and_again(connect, upstream, clock, stage):
    reach, manner = STAGES[stage]
    server = upstream(afterwards=manner)
    connection = connect(server, timeout=5, max_retries=0)
    await reach(connection, server)
    started = clock()
    await asyncio.gather(*(connection.close() for _ in range(3)))
    await connection.close()
    assert clock() - started < 5


async def test_closing_what_was_never_opened_does_nothing(connect, upstream):
    server = upstream()
    connection = connect(server)
    await connection.close()
    assert server.attempts == []


async def test_s14_a_close_in_the_very_moment_of_opening_ends_both(connect, upstream):
    server = upstream()
    connection = connect(server)
    opening = asyncio.create_task(connection.open())
    await asyncio.sleep(0)
    await connection.close()
    assert (await opening).cause == "closed"
    assert server.attempts == []


@pytest.mark.parametrize("steps", range(40))
async def test_s14_a_close_after_any_number_of_steps_of_opening_ends_both(connect, upstream, clock, steps):
    connection = connect(upstream())
    opening = asyncio.create_task(connection.open())
    for _ in range(steps):
        await asyncio.sleep(0)
    await connection.close()
    assert clock() < 5
    fault = await opening
    assert fault is None or fault.cause == "closed"
    assert connection.current is None


@pytest.mark.parametrize("stage", ["shaking hands", "connecting"])
async def test_s14_a_close_while_opening_is_told_to_whoever_opens(connect, upstream, stage):
    _, manner = STAGES[stage]
    connection = connect(upstream(afterwards=manner))
    opening = asyncio.create_task(connection.open())
    await asyncio.sleep(1)
    await connection.close()
    assert (await opening).cause == "closed"


@pytest.mark.parametrize("stage", [name for name in STAGES if "stubborn" in name or "letting go" in name])
async def test_a_transport_is_not_disturbed_while_it_lets_go(connect, upstream, stage):
    """A second cancellation would interrupt what cleans up after the first, such as ending a process."""
    reach, manner = STAGES[stage]
    server = upstream(afterwards={**manner, "leaving": 4.0})
    connection = connect(server, timeout=5, max_retries=0)
    await reach(connection, server)
    await connection.close()
    assert server.link.cancellations == 0


async def test_an_abandoned_transport_is_reported(connect, upstream, caplog):
    connection = connect(upstream(afterwards=STUBBORN))
    await connection.open()
    await connection.close()
    assert "a: its transport does not close; abandoned" in caplog.text


async def test_an_abandoned_transport_does_not_keep_the_server_from_being_reconnected(connect, upstream, registry):
    server = upstream(STUBBORN)
    connection = connect(server)
    await connection.open()
    await server.link.hang_up()
    await asyncio.sleep(6)
    assert registry.get_server("a").connected
    assert len(server.attempts) == 2


async def test_a_cancelled_close_goes_on(connect, upstream):
    server = upstream(afterwards={"leaving": 3.0})
    connection = connect(server)
    await connection.open()
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0.1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await asyncio.sleep(4)
    assert server.open == 0


async def test_an_attempt_that_ran_out_of_time_is_cancelled_once():
    """Also where the cancellation takes its time to get through, because the transport waits for a task of its own."""
    cancellations = 0

    async def start_process() -> None:
        nonlocal cancellations
        for seconds in (1e5, 2.0):
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                cancellations += 1

    async def enter(_stack, _ended):
        await asyncio.create_task(start_process())

    attempt = Attempt("a", enter, Context())
    assert (await attempt.connected(1.0)).cause == "timeout"
    await attempt.leave()
    assert cancellations == 1
    assert attempt.ended
