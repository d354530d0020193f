"""S10 and S13: the first connect, its retries and its deadline, in simulated time."""

import asyncio

import pytest
from mcp.shared.exceptions import MCPError
from mcp_orchestra.errors import MCPConnectionError
from mcp_types import ErrorData

pytestmark = pytest.mark.anyio

REFUSED = ConnectionRefusedError()


async def test_an_opened_connection_is_ready(connect, upstream, registry):
    connection = connect(upstream())
    assert await connection.open() is None
    info = registry.get_server("a")
    assert (info.connected, info.state, info.client) == (True, "ready", connection.client)
    assert connection.protocol_version == "2026-07-28"
    assert connection.server_info.name == "scripted"


async def test_s13_a_failed_attempt_is_repeated(connect, upstream, registry):
    server = upstream({"fails": REFUSED}, {"fails": REFUSED})
    assert await connect(server).open() is None
    assert len(server.attempts) == 3
    assert registry.get_server("a").connection_error is None


@pytest.mark.parametrize("retries", [0, 2])
async def test_s13_max_retries_are_the_attempts_after_the_first(connect, upstream, registry, retries):
    server = upstream(afterwards={"fails": REFUSED})
    fault = await connect(server, max_retries=retries).open()
    assert fault.cause == "refused"
    assert len(server.attempts) == retries + 1
    assert registry.get_server("a").state == "backing_off"


async def test_s13_what_failed_to_open_is_retried_in_the_background(connect, upstream, registry):
    server = upstream({"fails": REFUSED}, {"fails": REFUSED})
    connection = connect(server, max_retries=0)
    assert (await connection.open()).cause == "refused"
    await asyncio.sleep(60)
    assert registry.get_server("a").connected
    assert len(server.attempts) == 3


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (FileNotFoundError(2, "No such file"), "failed"),
        (PermissionError(13, "Permission denied"), "failed"),
        (MCPConnectionError("no such option", {"cause": "options", "retryable": False}), "failed"),
        (MCPConnectionError("refused the credentials", {"cause": "auth", "retryable": False}), "auth_required"),
    ],
    ids=["no such command", "not executable", "options", "credentials"],
)
async def test_s13_what_cannot_succeed_is_tried_once(connect, upstream, registry, error, state):
    server = upstream(afterwards={"fails": error})
    fault = await connect(server, max_retries=5).open()
    assert not fault.retryable
    await asyncio.sleep(3600)
    assert len(server.attempts) == 1
    assert registry.get_server("a").state == state
    assert registry.get_server("a").connection_error == fault.reason


@pytest.mark.parametrize(
    "manner",
    [
        {"silent": True},
        {"entering": 1e5},
        {"silent": True, "leaving": 4.0},
        {"silent": True, "leaving": 4.0, "stubborn": True},
        {"silent": True, "leaving": 60.0, "stubborn": True},
        {"entering": 2.0, "fails": REFUSED},
    ],
    ids=["silent", "hangs", "leaves slowly", "leaves late", "stays", "fails late"],
)
async def test_s10_an_open_ends_within_its_timeout(connect, upstream, clock, manner):
    connection = connect(upstream(afterwards=manner), timeout=5)
    fault = await connection.open()
    assert clock() <= 5.001
    assert fault is not None


async def test_s10_a_silent_server_is_said_to_be_silent(connect, upstream, registry):
    fault = await connect(upstream(afterwards={"silent": True}), timeout=2.5).open()
    assert (fault.cause, fault.reason) == ("timeout", "no answer within 2.5 s")
    assert registry.get_server("a").connection_error == "no answer within 2.5 s"


async def test_s13_a_request_that_timed_out_is_retried_while_there_is_time(connect, upstream):
    """The timeout of a request may be much shorter than that of the whole connect."""
    server = upstream({"silent": True})
    assert await connect(server, timeout=30, request_timeout=1, mode="legacy").open() is None
    assert len(server.attempts) == 2


async def test_an_attempt_that_the_timeout_leaves_no_time_for_is_not_waited_for(connect, upstream, clock):
    server = upstream(afterwards={"entering": 0.4, "fails": REFUSED})
    fault = await connect(server, timeout=1, max_retries=100).open()
    assert fault.cause in {"refused", "timeout"}
    assert clock() <= 1.001


async def test_an_attempt_that_the_timeout_cuts_short_does_not_hide_why_the_one_before_it_failed(
    connect, upstream, registry
):
    server = upstream({"fails": REFUSED}, {"silent": True})
    fault = await connect(server, timeout=5).open()
    assert (fault.reason, fault.cause) == ("connection refused", "refused")
    assert registry.get_server("a").connection_error == "connection refused"
    assert len(server.attempts) == 2


async def test_later_attempts_have_their_full_time_and_speak_for_themselves(connect, upstream, registry):
    connection = connect(upstream({"fails": REFUSED}, afterwards={"silent": True}), timeout=5, max_retries=0)
    assert (await connection.open()).reason == "connection refused"
    await asyncio.sleep(60)
    assert registry.get_server("a").connection_error == "no answer within 5 s"


async def test_s16_a_transport_that_cancels_the_task_that_entered_it_harms_no_caller(connect, upstream, registry):
    server = upstream({"silent": True})
    connection = connect(server, max_retries=0)
    opening = asyncio.create_task(connection.open())
    await asyncio.sleep(1)
    server.link.crash(OSError(5, "Input/output error"))
    fault = await opening
    assert fault.reason == "Input/output error"
    await asyncio.sleep(60)
    assert registry.get_server("a").connected


async def test_an_open_that_is_cancelled_leaves_the_connection_to_its_owner(connect, upstream, registry):
    server = upstream({"entering": 5.0})
    opening = asyncio.create_task(connect(server).open())
    await asyncio.sleep(1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.sleep(5)
    assert registry.get_server("a").connected


async def test_whoever_opens_what_is_being_opened_joins_in_and_may_leave_again(connect, upstream):
    server = upstream({"entering": 2.0})
    connection = connect(server)
    first, second = (asyncio.create_task(connection.open()) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second is None
    assert len(server.attempts) == 1


async def test_s13_a_handshake_that_fails_inside_the_server_is_tried_again(connect, upstream, registry):
    server = upstream()
    server.instead["initialize"] = [ErrorData(code=-32603, message="starting up\nat line 3")]
    assert (await connect(server, mode="legacy", max_retries=0).open()).reason == "starting up"
    await asyncio.sleep(60)
    assert registry.get_server("a").connected


async def test_s13_a_server_that_does_not_know_the_handshake_is_not_asked_again(connect, upstream, registry):
    server = upstream()
    server.instead["initialize"] = ErrorData(code=-32601, message="Method not found")
    assert (await connect(server, mode="legacy").open()).reason == "Method not found"
    await asyncio.sleep(3600)
    assert registry.get_server("a").state == "failed"
    assert len(server.attempts) == 1


async def test_s6_a_server_that_refuses_does_not_get_to_show_our_credentials(connect, upstream, registry):
    error = MCPError(-32603, "bad token s3cret-token")
    server = upstream(afterwards={"fails": error})
    fault = await connect(server, secrets=["s3cret-token"], max_retries=0).open()
    assert fault.reason == "bad token ***"
    assert registry.get_server("a").connection_error == "bad token ***"
