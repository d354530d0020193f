"""S42: a server that hangs while nobody asks it anything is found out, and so is that it is back; in simulated time."""

import asyncio
import contextlib
from itertools import pairwise

import pytest
from mcp_orchestra.errors import MCPConnectionError, MCPOrchestratorException, ToolCallError
from mcp_orchestra.wire import transport_error
from mcp_types import ErrorData

pytestmark = pytest.mark.anyio

HOURS = 4 * 3600
UNKNOWN_METHOD = ErrorData(code=-32601, message="Method not found")
REFUSED = ConnectionRefusedError()


def refused_credentials(method_status=401):
    return ErrorData(**transport_error("HTTP 401", kind="http", delivered="no", status=method_status))


@pytest.fixture
async def watched(connect, upstream):
    """Open a connection that is watched: ``connection, server = await watched(mode="legacy")``."""

    async def open_(**fields):
        server = upstream()
        connection = connect(server, **{"request_timeout": 10, "health_check_interval": 30, **fields})
        assert await connection.open() is None
        return connection, server

    return open_


@pytest.mark.parametrize(
    ("mode", "question", "at_first"), [("auto", "server/discover", 1), ("legacy", "ping", 0)], ids=["modern", "legacy"]
)
async def test_an_idle_server_is_asked_twice_a_minute_for_hours(watched, registry, mode, question, at_first):
    connection, server = await watched(mode=mode)
    await asyncio.sleep(HOURS)
    checks = server.asked[question] - at_first
    assert HOURS / 36 <= checks <= HOURS / 24
    assert sum(server.asked.values()) - checks < 10
    assert (registry.get_server("a").state, len(server.attempts)) == ("ready", 1)
    assert connection.current is not None


async def test_checks_of_many_servers_are_not_in_step(connect, upstream, clock):
    asked = []

    class Noting(dict):
        def get(self, method, default):
            if method == "ping":
                asked.append(clock())
            return default

    for i in range(50):
        server = upstream(instead=Noting())
        assert await connect(server, f"s{i}", mode="legacy", health_check_interval=30).open() is None
    await asyncio.sleep(300)
    busiest = max(sum(start <= at < start + 1 for at in asked) for start in asked)
    assert 50 * 300 / 36 - 50 <= len(asked) <= 50 * 300 / 24
    assert busiest <= 10


async def test_a_server_that_answers_questions_is_not_asked_how_it_does(watched):
    connection, server = await watched(mode="legacy")
    for _ in range(100):
        await connection.client.list_tools()
        await asyncio.sleep(20)
    assert server.asked["ping"] == 0


async def test_checks_can_be_switched_off(watched):
    _, server = await watched(health_check_interval=0, mode="legacy")
    await asyncio.sleep(HOURS)
    assert server.asked["ping"] == 0


async def test_a_server_that_does_not_know_the_question_is_well(watched, registry):
    _, server = await watched(mode="legacy")
    server.instead["ping"] = UNKNOWN_METHOD
    await asyncio.sleep(HOURS)
    assert registry.get_server("a").state == "ready"
    assert len(server.attempts) == 1


async def test_a_server_that_hangs_while_idle_is_found_out_and_at_last_connected_anew(watched, registry, clock):
    _, server = await watched()
    info = registry.get_server("a")
    server.instead["server/discover"] = ...
    seen = []
    while len(server.attempts) == 1 and clock() < 300:
        if not seen or seen[-1][0] != info.state:
            seen.append((info.state, clock()))
        await asyncio.sleep(0.5)
    assert [state for state, _ in seen] == ["ready", "degraded", "circuit_open"]
    times = dict(seen)
    assert times["degraded"] <= 36 + 5.5
    assert times["circuit_open"] <= 36 + 4 * 7.5 + 5 * 6
    assert len(server.attempts) == 2
    server.instead.clear()
    await asyncio.sleep(120)
    assert (info.state, info.connected) == ("ready", True)


async def test_a_check_closes_the_circuit_though_nobody_asks_anything(watched, registry, clock):
    connection, server = await watched()
    server.instead["tools/list"] = ...
    for _ in range(5):
        with pytest.raises(MCPConnectionError):
            await connection.client.list_tools()
    assert registry.get_server("a").state == "circuit_open"
    await asyncio.sleep(1.01)
    assert registry.get_server("a").state == "ready"


async def test_a_server_that_is_at_work_is_not_disturbed(watched, registry):
    """One that does one thing at a time could not answer, and is not sick for that."""
    connection, server = await watched(mode="legacy", request_timeout=1000)
    server.instead["ping"] = ...
    assert not (await connection.client.call_tool("slow", {"seconds": 900})).is_error
    assert server.asked["ping"] == 0


async def test_a_server_that_flaps_for_a_day_is_probed_ever_less_often_while_it_is_down(watched, clock, registry):
    """Two hours down, two hours up, for a day: nothing is lost, and nothing is hammered."""
    _, server = await watched()
    broken = ErrorData(**transport_error("HTTP 500", kind="http", status=500))
    for _ in range(6):
        server.instead["server/discover"] = broken
        before = server.asked["server/discover"]
        await asyncio.sleep(2 * 3600)
        assert registry.get_server("a").state == "circuit_open"
        assert server.asked["server/discover"] - before <= 20 + 2 * 3600 / 15
        server.instead.clear()
        await asyncio.sleep(31)
        assert registry.get_server("a").state == "ready"
        await asyncio.sleep(2 * 3600)
    assert len(server.attempts) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_s42_credentials_that_are_refused_later_on_end_the_connection(watched, registry, status):
    """Not for one request's sake: a check finds out whether they are refused for all."""
    refused = refused_credentials(status)
    connection, server = await watched(health_check_interval=0)
    await connection.client.list_tools()
    server.instead["tools/call"] = [refused]
    with pytest.raises(ToolCallError) as caught:
        await connection.client.call_tool("echo")
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("auth", "no")
    await asyncio.sleep(0.01)
    assert registry.get_server("a").state == "ready"
    server.instead["tools/call"] = refused
    server.instead["server/discover"] = refused
    with pytest.raises(ToolCallError):
        await connection.client.call_tool("echo")
    await asyncio.sleep(1)
    info = registry.get_server("a")
    assert (info.connected, info.state, info.connection_error) == (False, "auth_required", "HTTP 401")


async def test_a_tool_that_is_always_refused_calls_for_one_check_a_second(watched, registry):
    connection, server = await watched(health_check_interval=0)
    await connection.client.list_tools()
    before = server.asked["server/discover"]
    server.instead["tools/call"] = refused_credentials(403)
    for _ in range(1000):
        with pytest.raises(ToolCallError):
            await connection.client.call_tool("echo")
        await asyncio.sleep(0.01)
    assert server.asked["server/discover"] - before in {10, 11}
    assert registry.get_server("a").state == "ready"


@pytest.mark.parametrize("interval", [0, 30])
async def test_a_server_whose_tools_take_too_long_is_not_left_alone_as_long_as_it_answers_checks(
    watched, registry, interval
):
    connection, server = await watched(health_check_interval=interval)
    before = server.asked["server/discover"]
    for _ in range(20):
        with pytest.raises(ToolCallError, match="no answer within 10 s"):
            await connection.client.call_tool("slow", {"seconds": 50})
        assert (await connection.client.list_resources()).resources
        await asyncio.sleep(0.01)
        assert registry.get_server("a").state == "ready"
    assert server.asked["server/discover"] - before == 20


async def test_calls_at_once_of_a_tool_that_takes_too_long_call_for_one_check_or_two(watched, registry):
    connection, server = await watched(health_check_interval=0)
    before = server.asked["server/discover"]
    calls = [connection.client.call_tool("slow", {"seconds": 50}) for _ in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(5)
    assert [outcome.context["cause"] for outcome in outcomes] == ["timeout"] * 10
    assert server.asked["server/discover"] - before in {1, 2}
    assert registry.get_server("a").state == "ready"


async def test_a_server_that_hangs_is_found_out_by_nothing_but_tool_calls_too(watched, registry):
    connection, server = await watched(health_check_interval=0)
    await connection.client.list_tools()
    server.instead["tools/call"] = server.instead["server/discover"] = ...
    for _ in range(5):
        with pytest.raises(ToolCallError, match="no answer within 10 s"):
            await connection.client.call_tool("echo")
        await asyncio.sleep(6.5)
    info = registry.get_server("a")
    assert (info.connected, info.state) == (True, "circuit_open")


async def asking(connection, timeout):
    """Ask again as soon as there is an answer or none: with ``timeout`` for a tool call, without one for a list."""
    while True:
        with contextlib.suppress(MCPOrchestratorException):
            await (
                connection.client.call_tool("echo", timeout=timeout) if timeout else connection.client.list_resources()
            )
        await asyncio.sleep(0.1 if connection.supervisor.circuit.open else 0)


@pytest.mark.parametrize("callers", [1, 10])
@pytest.mark.parametrize("timeout", [None, 2, 10])
@pytest.mark.parametrize("last", [True, False])
async def test_a_server_that_hangs_is_connected_anew_however_it_is_asked_meanwhile(
    watched, connect, upstream, last, timeout, callers
):
    if not last:
        assert await connect(upstream(), "other", domains=["d"]).open() is None
    connection, server = await watched(domains=["d"])
    await connection.client.list_tools()
    server.instead |= dict.fromkeys(["tools/call", "tools/list", "resources/list", "server/discover"], ...)
    tasks = [asyncio.create_task(asking(connection, timeout)) for _ in range(callers)]
    async with asyncio.timeout(240):
        await server.attempted(2)
    await run_down(tasks)


async def test_a_server_that_answers_checks_keeps_its_connection_whatever_hangs(watched):
    connection, server = await watched(domains=["d"])
    server.instead["resources/list"] = ...
    tasks = [asyncio.create_task(asking(connection, None)) for _ in range(10)]
    await asyncio.sleep(1000)
    assert len(server.attempts) == 1
    await run_down(tasks)


async def test_calls_that_are_given_little_time_call_for_a_check_only_after_a_long_silence(watched):
    connection, server = await watched(health_check_interval=0)
    before = server.asked["server/discover"]
    for _ in range(55):
        with pytest.raises(ToolCallError, match="no answer within 1 s"):
            await connection.client.call_tool("slow", {"seconds": 50}, timeout=1)
    assert server.asked["server/discover"] - before == 5


async def run_down(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_refused_credentials_are_tried_rarely_whatever_is_asked(watched, registry, clock):
    connection, server = await watched()
    server.afterwards.fails = MCPConnectionError("401", {"cause": "auth", "retryable": False, "status": 401})
    await server.link.hang_up()
    await server.attempted(2)
    await asyncio.sleep(0.1)
    assert registry.get_server("a").state == "auth_required"
    started = clock()
    for _ in range(300):
        assert not await connection.revive(2.0)
        await asyncio.sleep(1)
    assert clock() - started <= 310  # a question does not wait for what will not come
    assert len(server.attempts) - 2 <= 11
    assert min(later - earlier for earlier, later in pairwise(server.attempts[1:])) >= 29.999


async def test_an_explicit_retry_tries_refused_credentials_at_once(watched, registry, clock):
    connection, server = await watched()
    server.afterwards.fails = MCPConnectionError("401", {"cause": "auth", "retryable": False, "status": 401})
    await server.link.hang_up()
    await server.attempted(2)
    await asyncio.sleep(0.1)
    server.afterwards.fails = None
    assert await connection.retry()
    assert registry.get_server("a").state == "ready"
    assert clock() <= 3


async def test_questions_hurry_attempts_again_once_the_credentials_were_accepted(watched, clock):
    connection, server = await watched()
    server.afterwards.fails = MCPConnectionError("401", {"cause": "auth", "retryable": False, "status": 401})
    await server.link.hang_up()
    await server.attempted(2)
    await asyncio.sleep(0.1)
    server.afterwards.fails = None
    assert await connection.retry()
    server.afterwards.fails = MCPConnectionError("refused", {"cause": "refused"})
    await server.link.hang_up()
    await asyncio.sleep(20)
    server.afterwards.fails = None
    started = clock()
    assert await connection.revive(2.0)
    assert clock() - started <= 1


async def test_s13_no_attempt_is_made_before_a_server_wants_one(connect, upstream, registry, clock):
    busy = MCPConnectionError("503", {"cause": "http", "retryable": True, "status": 503, "retry_after": "120"})
    server = upstream({"fails": busy})
    connection = connect(server, max_retries=3)
    fault = await connection.open()
    assert fault.retry_after == "120"
    assert clock() < 1  # the server's timeout leaves no time for it
    assert registry.get_server("a").retry_at == pytest.approx(server.attempts[0] + 120, abs=0.01)
    for _ in range(100):
        assert not await connection.revive(1.0)
        await asyncio.sleep(1)
    assert len(server.attempts) == 1
    await asyncio.sleep(21)
    assert registry.get_server("a").connected
    assert server.attempts[1] == pytest.approx(server.attempts[0] + 120, abs=0.01)
