"""S16, S23 and S41: every request ends in time, with a result, one of our errors or the caller's own cancellation."""

import asyncio

import httpx2
import pytest
from mcp_orchestra.errors import MCPConnectionError, ResourceFetchError, ToolCallError
from mcp_orchestra.http.failures import call_failed, session_forgotten
from mcp_orchestra.testing.servers import ScriptedServer
from mcp_types import ErrorData

pytestmark = pytest.mark.anyio

INVALID = ErrorData(code=-32602, message="Invalid cursor")
FORGOTTEN = ErrorData(**session_forgotten())


@pytest.fixture
async def opened(connect, upstream):
    """Open a connection to a server: ``connection, server = await opened(request_timeout=5)``."""

    async def open_(server=None, **fields):
        server = server or upstream()
        connection = connect(server, **{"request_timeout": 10, **fields})
        assert await connection.open() is None
        return connection, server

    return open_


def requests(client):
    """Every kind of request, with the error that says that it failed."""
    return {
        "resources/list": (client.list_resources(), ResourceFetchError),
        "resources/templates/list": (client.list_resource_templates(), ResourceFetchError),
        "resources/read": (client.read_resource("res://scripted/0"), ResourceFetchError),
        "tools/list": (client.list_tools(), MCPConnectionError),
        "tools/call": (client.call_tool("echo"), ToolCallError),
        "prompts/list": (client.list_prompts(), MCPConnectionError),
        "prompts/get": (client.get_prompt("p", {"x": "y"}), MCPConnectionError),
    }


METHODS = [
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
]


def one(client, method):
    """Return the request of that kind, and its error; the others are thrown away."""
    chosen = None
    for name, (request, error) in requests(client).items():
        if name == method:
            chosen = request, error
        else:
            request.close()
    assert chosen is not None
    return chosen


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_that_is_not_answered_ends_with_its_time(opened, clock, method):
    connection, server = await opened(request_timeout=7)
    server.instead[method] = ...
    request, expected = one(connection.client, method)
    with pytest.raises(expected, match="no answer within 7 s") as caught:
        await request
    assert clock() == pytest.approx(7, abs=0.01)
    assert caught.value.context["cause"] == "timeout"
    assert caught.value.context["server"] == "A"
    assert caught.value.context["operation"] == method
    assert connection.current is not None  # one silent request is no reason to lose the others


@pytest.mark.parametrize("method", METHODS)
async def test_a_refused_request_says_why_and_leaves_the_connection_alone(opened, method):
    connection, server = await opened(secrets=["s3cret"])
    server.instead[method] = ErrorData(code=-32603, message="database of s3cret is down")
    request, expected = one(connection.client, method)
    with pytest.raises(expected, match=r"database of \*\*\* is down") as caught:
        await request
    assert caught.value.context["code"] == -32603
    assert connection.current is not None


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_under_way_when_the_connection_ends_says_so(opened, method):
    connection, server = await opened()
    server.instead[method] = ...
    request, expected = one(connection.client, method)
    task = asyncio.create_task(request)
    await asyncio.sleep(1)
    await server.link.hang_up()
    with pytest.raises((expected, MCPConnectionError), match="the connection was closed") as caught:
        await task
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("lost", "maybe")
    assert isinstance(caught.value, ToolCallError if method == "tools/call" else MCPConnectionError)


@pytest.mark.parametrize("method", METHODS)
async def test_s16_a_cancellation_that_nobody_asked_for_becomes_our_error(opened, method):
    connection, server = await opened()
    server.instead[method] = asyncio.CancelledError()
    request, _ = one(connection.client, method)
    with pytest.raises((ToolCallError, MCPConnectionError), match="the connection was torn down"):
        await request
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_that_the_server_does_not_accept_ends_with_its_time(opened, clock, method):
    """The SDK's own timeout begins only once the request has been accepted."""
    connection, server = await opened(request_timeout=7)
    server.instead[method] = asyncio.Event()
    server.instead["notifications/cancelled"] = asyncio.Event()
    request, expected = one(connection.client, method)
    with pytest.raises((expected, MCPConnectionError), match="no answer within 7 s"):
        await request
    assert clock() <= 7.51
    await asyncio.sleep(60)
    assert len(server.attempts) == 2  # nothing would ever have been accepted again


async def test_a_cancelled_request_is_cancelled_at_the_server_and_nowhere_else(opened):
    connection, server = await opened()
    calls = [asyncio.create_task(connection.client.call_tool("slow", {"seconds": 5})) for _ in range(3)]
    await asyncio.sleep(1)
    calls[0].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [outcome.content[0].text for outcome in outcomes[1:]] == ["done", "done"]
    assert server.asked["notifications/cancelled"] == 1
    assert len(server.attempts) == 1


async def test_a_cancelled_request_does_not_hold_its_caller(opened, clock):
    """The SDK tells the server, for up to five seconds, also if that does not read."""
    connection, server = await opened()
    await connection.client.list_tools()
    server.instead["tools/call"] = asyncio.Event()
    server.instead["notifications/cancelled"] = asyncio.Event()
    call = asyncio.create_task(connection.client.call_tool("echo"))
    await asyncio.sleep(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert clock() == pytest.approx(1, abs=0.01)
    await asyncio.sleep(6)  # what lingers ends by itself


async def test_the_time_of_a_call_may_be_longer_or_shorter_than_that_of_other_requests(opened, clock):
    connection, _ = await opened(request_timeout=10)
    assert not (await connection.client.call_tool("slow", {"seconds": 60}, timeout=100)).is_error
    assert clock() == pytest.approx(60, abs=0.01)
    with pytest.raises(ToolCallError, match=r"no answer within 0\.5 s"):
        await connection.client.call_tool("slow", {"seconds": 60}, timeout=0.5)
    assert clock() == pytest.approx(60.5, abs=0.01)


async def test_a_forgotten_session_is_made_anew_and_the_request_repeated(opened):
    connection, server = await opened(mode="legacy")
    await connection.client.list_tools()
    server.instead["tools/call"] = [FORGOTTEN]
    assert (await connection.client.call_tool("echo", {"text": "x"})).content[0].text == "scripted: x"
    assert server.asked["tools/call"] == 2
    assert server.server.requests["tools/call"] == 1
    assert len(server.attempts) == 2


async def test_a_session_that_is_forgotten_again_is_an_error_at_once(opened, clock):
    connection, server = await opened(mode="legacy")
    await connection.client.list_tools()
    server.instead["tools/call"] = FORGOTTEN
    await asyncio.sleep(60)
    server.afterwards = type(server.afterwards)(entering=3.0)
    started = clock()
    with pytest.raises(ToolCallError, match="the server forgot the session") as caught:
        await connection.client.call_tool("echo")
    assert caught.value.context["delivered"] == "no"
    assert server.asked["tools/call"] == 2
    assert clock() - started == pytest.approx(3, abs=0.01)  # for the one new session


async def test_a_session_that_cannot_be_made_anew_is_an_error_in_time(opened, clock):
    connection, server = await opened(mode="legacy", request_timeout=5)
    server.afterwards.silent = False
    server.instead["resources/list"] = FORGOTTEN
    server.afterwards = type(server.afterwards)(entering=1e5)
    with pytest.raises(MCPConnectionError, match="forgot the session"):
        await connection.client.list_resources()
    assert clock() <= 5.01


async def test_many_requests_of_a_forgotten_session_cause_one_new_session(opened):
    """Those that were not answered yet when the first found out end with the old session."""
    connection, server = await opened(mode="legacy")
    server.instead["resources/list"] = [FORGOTTEN] * 20
    lists = (connection.client.list_resources() for _ in range(20))
    outcomes = await asyncio.gather(*lists, return_exceptions=True)
    assert any(not isinstance(outcome, BaseException) for outcome in outcomes)
    assert all(isinstance(error, MCPConnectionError) for error in outcomes if isinstance(error, BaseException))
    assert len(server.attempts) == 2
    server.instead.clear()
    assert len((await connection.client.list_resources()).resources) == 3


@pytest.mark.parametrize("failure", [httpx2.ConnectError("x"), httpx2.ConnectTimeout("x"), httpx2.PoolTimeout("x")])
async def test_a_call_that_never_left_says_that_it_was_not_delivered(opened, failure):
    connection, server = await opened()
    await connection.client.list_tools()
    server.instead["tools/call"] = ErrorData(**call_failed(failure))
    with pytest.raises(ToolCallError) as caught:
        await connection.client.call_tool("echo")
    assert caught.value.context["delivered"] == "no"


@pytest.mark.parametrize("failure", [httpx2.ConnectError("x"), httpx2.ReadError("x")])
async def test_a_request_that_fails_on_its_way_is_no_end_of_the_connection(opened, failure):
    """The transport watches its server itself; descriptors may be short here for a moment."""
    connection, server = await opened()
    await connection.client.list_tools()
    server.instead["resources/list"] = ErrorData(**call_failed(failure))
    other = asyncio.create_task(connection.client.call_tool("slow", {"seconds": 5}))
    with pytest.raises(ResourceFetchError):
        await connection.client.list_resources()
    assert not (await other).is_error
    assert len(server.attempts) == 1


@pytest.mark.parametrize("code", [-32000, -32001])
async def test_what_a_server_says_of_its_own_upstream_does_not_end_the_connection_to_it(opened, code):
    connection, server = await opened()
    await connection.client.list_tools()
    other = asyncio.create_task(connection.client.call_tool("slow", {"seconds": 5}))
    await asyncio.sleep(1)
    server.instead["tools/call"] = ErrorData(code=code, message="Connection closed")
    with pytest.raises(ToolCallError, match="Connection closed") as caught:
        await connection.client.call_tool("echo")
    assert caught.value.context["code"] == code
    assert not (await other).is_error
    assert len(server.attempts) == 1


WRONG_CALLS = {
    "a name that is no text": (lambda c: c.call_tool(None), TypeError),
    "a name that is not Unicode": (lambda c: c.call_tool("\ud800"), ValueError),
    "an argument that is not Unicode": (lambda c: c.call_tool("echo", {"text": "\ud800"}), ValueError),
    "an argument that is not JSON": (lambda c: c.call_tool("echo", {"text": object()}), TypeError),
    "arguments without names": (lambda c: c.call_tool("echo", ["x"]), TypeError),
    "no time at all": (lambda c: c.call_tool("echo", timeout=0), ValueError),
    "less than no time": (lambda c: c.call_tool("echo", timeout=-1), ValueError),
    "a time that is no number": (lambda c: c.call_tool("echo", timeout="5"), TypeError),
    "a URI that is no text": (lambda c: c.read_resource(5), TypeError),
    "a URI that is not Unicode": (lambda c: c.read_resource("res://\ud800"), ValueError),
    "a prompt that is no text": (lambda c: c.get_prompt(None), TypeError),
    "a prompt's argument that is no text": (lambda c: c.get_prompt("p", {"x": 5}), TypeError),
}


@pytest.mark.parametrize("what", WRONG_CALLS)
async def test_s16_a_wrong_call_is_its_callers_error_and_nothing_is_sent(opened, what):
    connection, server = await opened()
    before = server.asked.copy()
    call, error = WRONG_CALLS[what]
    with pytest.raises(error):
        await call(connection.client)
    assert server.asked == before


async def test_the_tools_are_listed_before_the_first_call_over_each_connection(opened):
    """The SDK would list them after the call, and lose its result if that fails."""
    connection, server = await opened()
    for _ in range(3):
        await connection.client.call_tool("echo")
    assert server.asked["tools/list"] == 1
    await server.link.hang_up()
    await asyncio.sleep(60)
    for _ in range(3):
        await connection.client.call_tool("echo")
    assert server.asked["tools/list"] == 2


@pytest.mark.parametrize(
    ("listing", "fields"),
    [
        (ErrorData(code=-32603, message="busy"), {}),
        (ErrorData(code=-32601, message="Method not found"), {}),
        (..., {}),
        ({"resultType": "complete", "tools": 5}, {}),
        ("pass", {"max_items": 3}),
    ],
    ids=["refused", "unknown", "silent", "malformed", "too long"],
)
async def test_a_tool_is_not_called_if_its_result_would_be_lost(opened, listing, fields):
    connection, server = await opened(**fields)
    server.instead["tools/list"] = listing
    with pytest.raises(ToolCallError, match="its tools cannot be listed") as caught:
        await connection.client.call_tool("echo")
    assert caught.value.context["delivered"] == "no"
    assert caught.value.context["tool"] == "echo"
    assert server.asked["tools/call"] == 0


async def test_s22_a_listing_is_complete_and_says_for_how_long_it_is_fresh(opened, upstream):
    server = ScriptedServer(resources=25, page_size=10, ttl_ms=5000, scope="public")
    connection, _ = await opened(upstream(server=server))
    answer = await connection.client.list_resources()
    assert len(answer.resources) == 25
    assert (answer.next_cursor, answer.ttl_ms, answer.cache_scope) == (None, 5000, "public")
    assert len((await connection.client.list_tools()).tools) == 6
    assert server.requests["resources/list"] == 3


async def test_an_expired_cursor_starts_the_listing_again(opened, upstream):
    connection, server = await opened(upstream(server=ScriptedServer(resources=25, page_size=10)))
    server.instead["resources/list"] = ["pass", INVALID]
    assert len((await connection.client.list_resources()).resources) == 25
    assert server.asked["resources/list"] == 2 + 3


async def test_invalid_parameters_of_a_first_page_are_no_expired_cursor(opened):
    connection, server = await opened()
    server.instead["resources/list"] = INVALID
    with pytest.raises(ResourceFetchError, match="Invalid cursor") as caught:
        await connection.client.list_resources()
    assert caught.value.context["code"] == -32602
    assert server.asked["resources/list"] == 1


async def test_s23_a_listing_beyond_a_limit_says_whose_it_is(opened):
    connection, _ = await opened(max_items=2)
    with pytest.raises(ResourceFetchError, match="max_items=2") as caught:
        await connection.client.list_resources()
    assert {key: caught.value.context[key] for key in ("server", "server_id", "operation", "limit")} == {
        "server": "A",
        "server_id": "a",
        "operation": "resources/list",
        "limit": "max_items",
    }


async def test_a_failed_read_names_its_uri_and_a_failed_call_its_tool(opened):
    connection, _ = await opened()
    with pytest.raises(ResourceFetchError) as caught:
        await connection.client.read_resource("res://nowhere")
    assert caught.value.context["uri"] == "res://nowhere"
    with pytest.raises(ToolCallError) as caught:
        await connection.client.call_tool("nothing")
    assert caught.value.context["tool"] == "nothing"


async def test_the_time_of_the_last_answer_is_noted(opened, registry):
    connection, _ = await opened()
    assert registry.get_server("a").latency is None
    await connection.client.list_resources()
    assert registry.get_server("a").latency > 0


async def test_s6_a_client_shows_nothing_but_its_servers_id(opened):
    connection, _ = await opened()
    assert repr(connection.client) == "<ServerClient a>"
