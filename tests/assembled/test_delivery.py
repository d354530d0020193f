"""A tool runs once at most, whatever its server says afterwards, and one failing call is one failing call.

The upstream servers count what they carry out: that, and not our own account, is what these tests go by.
"""

import asyncio
import contextlib
import json
import math
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_orchestra import ToolCallError
from mcp_orchestra.config.tool_pins import write_pin_file
from mcp_orchestra.testing.raw_http import RawRequest, RawServer, json_answer, raw_answer
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess
from mcp_orchestra.tool_digest import tool_digest

pytestmark = pytest.mark.anyio

COMMON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
PAY = {"name": "pay", "inputSchema": {"type": "object"}}
TRANSPORTS = ["streamable-http", "sse"]


class Bank(ScriptedServer):
    """Carries every call out, and then answers with an error."""

    def __init__(self, name: str, error: MCPError) -> None:
        super().__init__(name, tools=["echo", "slow"])
        self.error = error
        self.ran = 0

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        if params.name != "echo":
            return await super()._call_tool(ctx, params)
        self.ran += 1
        raise self.error


def http(server: RawServer, **fields: Any) -> dict[str, Any]:
    return {"transport": "streamable-http", "url": server.url, "timeout": 5, **fields}


def connected(orchestrator) -> list[bool]:
    return [server["connected"] for server in orchestrator.get_status()["servers"]]


# What a server says never makes a tool run again


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "error",
    [
        MCPError(-32600, "Session budget of user exceeded after booking"),
        MCPError(-32600, "Session not found"),
        MCPError(1000, "quota exceeded after booking"),
        MCPError(1000, "not delivered, honestly", {"kind": "http", "delivered": "no"}),
        MCPError(1000, "not delivered, honestly", {"kind": "ConnectError", "delivered": "no"}),
        MCPError(1000, "not delivered, honestly", {"kind": "session", "delivered": "no", "token": "0" * 32}),
        MCPError(-32602, "booked, but the receipt is invalid"),
        MCPError(-32601, "Method not found"),
        MCPError(-32000, "Connection closed"),
        MCPError(-32001, "Request timed out at the bank"),
    ],
    ids=repr,
)
async def test_a_tool_that_has_run_is_not_run_again_whatever_its_server_answers(configure, serving, transport, error):
    first, second = Bank("first", error), Bank("second", error)
    orchestrator = configure(
        {
            "first": {**await serving(first, transport), "priority": 1, "domains": ["d"]},
            "second": {**await serving(second, transport), "priority": 2, "domains": ["d"]},
        }
    )
    await orchestrator.initialize()
    with pytest.raises(ToolCallError):
        await orchestrator.call_tool("echo", {"text": "pay 100"}, domain="d")
    assert (first.ran, second.ran) == (1, 0)
    assert connected(orchestrator) == [True, True]


@pytest.mark.parametrize("body", [b"", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session"}}'])
@pytest.mark.parametrize(
    ("status", "asked"),
    [
        *((status, [1, 0]) for status in (302, 303, 307, 400, 404, 407, 408, 409, 422, 425, 499, 500, 503)),
        *((status, [1, 1]) for status in (401, 403, 429)),
    ],
)
async def test_only_statuses_that_prove_that_nothing_ran_let_another_server_be_asked(configure, status, asked, body):
    answers = {
        "tools/list": json_answer(result={**COMMON, "tools": [PAY]}),
        "tools/call": raw_answer(status, body, content_type="application/json", location="http://elsewhere.invalid/"),
    }
    servers = [RawServer(**answers), RawServer(**answers)]
    async with servers[0].listening(), servers[1].listening():
        orchestrator = configure(
            {f"s{i}": http(server, priority=i + 1, domains=["d"]) for i, server in enumerate(servers)}
        )
        await orchestrator.initialize()
        with pytest.raises(ToolCallError) as caught:
            await orchestrator.call_tool("pay", {}, domain="d")
        assert caught.value.context["delivered"] == ("no" if asked == [1, 1] else "maybe")
        assert [_count(server, "tools/call") for server in servers] == asked
        await orchestrator.close()


@pytest.mark.parametrize("status", [405, 413])
async def test_a_status_that_refuses_the_request_itself_lets_another_server_be_asked(configure, serving, status):
    spare = ScriptedServer("spare", tools=["echo"])
    echo = {"name": "echo", "inputSchema": {"type": "object"}}
    answers = {
        "tools/list": json_answer(result={**COMMON, "tools": [echo]}),
        "tools/call": raw_answer(status),
    }
    async with RawServer(**answers).listening() as server:
        orchestrator = configure(
            {
                "first": http(server, priority=1, domains=["d"]),
                "spare": {**await serving(spare), "priority": 2, "domains": ["d"]},
            }
        )
        result = await orchestrator.call_tool("echo", {"text": "x"}, domain="d")
        assert result.content[0].text == "spare: x"
        await orchestrator.close()


def _count(server: RawServer, method: str) -> int:
    return sum(request.message.get("method") == method for request in server.requests)


class Sessions(RawServer):
    """A server of the legacy era that forgets its sessions when it is told to, and counts what it carries out."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.ran: list[object] = []
        self._made = 0
        super().__init__(
            **{
                "server/discover": json_answer(error={"code": -32601, "message": "Method not found"}),
                "initialize": self._initialize,
                "notifications/initialized": raw_answer(202),
                "notifications/cancelled": raw_answer(202),
                "GET": raw_answer(405),
                "DELETE": raw_answer(204),
                "tools/list": self._in_session(json_answer(result={"tools": [PAY]})),
                "tools/call": self._in_session(self._pay),
            }
        )

    def _initialize(self, request: RawRequest) -> bytes:
        self._made += 1
        self.known.add(session := f"s{self._made}")
        info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": PAY | {"version": "1"}}
        message = {"jsonrpc": "2.0", "id": request.message["id"], "result": info}
        return raw_answer(200, json.dumps(message).encode(), content_type="application/json", mcp_session_id=session)

    def _in_session(self, answer: Callable[[RawRequest], bytes]) -> Callable[[RawRequest], bytes]:
        def check(request: RawRequest) -> bytes:
            if request.headers.get("mcp-session-id") in self.known:
                return answer(request)
            body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'
            return raw_answer(404, body, content_type="application/json")

        return check

    def _pay(self, request: RawRequest) -> bytes:
        self.ran.append(request.message["params"]["arguments"]["number"])
        return json_answer(result={"content": []})(request)


async def test_a_call_in_a_forgotten_session_runs_once_in_a_new_one(configure):
    async with Sessions().listening() as server:
        orchestrator = configure({"a": http(server)})
        await orchestrator.call_tool("pay", {"number": 1})
        server.known.clear()
        await orchestrator.call_tool("pay", {"number": 2})
        assert server.ran == [1, 2]
        assert _count(server, "tools/call") == 3
        await orchestrator.close()


async def test_a_call_in_a_forgotten_session_is_not_made_again_if_the_tool_is_another_one_now(configure, tmp_path):
    file = tmp_path / "pins.json"
    async with Sessions().listening() as server:
        first = configure({"a": http(server)})
        ((tool),) = await first.list_tools()
        write_pin_file(file, {"a": {"pay": tool_digest(asdict(tool))}})
        orchestrator = configure({"a": http(server)}, security={"tool_pins": str(file)})
        await orchestrator.call_tool("pay", {"number": 1})
        server.known.clear()
        await orchestrator.call_tool("pay", {"number": 2})
        await orchestrator.list_tools()  # what is called next is known, in a session that will be forgotten
        server.known.clear()
        changed = json_answer(result={"tools": [{**PAY, "description": "another one"}]})
        server.answers["tools/list"] = server._in_session(changed)
        with pytest.raises(ToolCallError, match=r"server a is not the one that was approved"):
            await orchestrator.call_tool("pay", {"number": 3})
        assert server.ran == [1, 2]
        await orchestrator.close()
        await first.close()


async def test_many_calls_in_a_forgotten_session_never_run_twice(configure):
    async with Sessions().listening() as server:
        orchestrator = configure({"a": http(server)})
        await orchestrator.call_tool("pay", {"number": -1})
        server.known.clear()
        calls = (orchestrator.call_tool("pay", {"number": number}) for number in range(50))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        succeeded = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
        assert succeeded
        assert sorted(server.ran) == [-1, *succeeded]
        await orchestrator.close()


# One failing call is one failing call


@pytest.fixture
def slow() -> Callable[[Any], "asyncio.Task[Any]"]:
    """Start somebody else's call, which must not notice anything."""
    return lambda orchestrator: asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 1}, timeout=20))


WRONG_ARGUMENTS = {
    "half a pair": "\ud800",
    "not a number": math.nan,
    "an object": object(),
    "bytes": b"\xff",
    "a set": {1},
}


@pytest.mark.parametrize("transport", [*TRANSPORTS, "stdio"])
async def test_s16_an_argument_that_cannot_be_sent_is_its_callers_error_alone(
    configure, serving, stdio, slow, transport
):
    scripted = ScriptedServer("a")
    fields = stdio(name="a") if transport == "stdio" else await serving(scripted, transport)
    orchestrator = configure({"a": fields})
    await orchestrator.list_tools()
    other = slow(orchestrator)
    await asyncio.sleep(0.1)
    for value in WRONG_ARGUMENTS.values():
        with pytest.raises((TypeError, ValueError), match=r"arguments\.text"):
            await orchestrator.call_tool("echo", {"text": value})
    assert not (await other).is_error
    assert connected(orchestrator) == [True]
    assert scripted.requests["tools/call:echo"] == 0


@pytest.mark.parametrize("timeout", [0, -1, math.nan, True, "5"])
async def test_s16_a_timeout_that_is_none_is_a_wrong_call(configure, serving, timeout):
    scripted = ScriptedServer("a")
    orchestrator = configure({"a": await serving(scripted)})
    await orchestrator.list_tools()
    with pytest.raises((TypeError, ValueError)):
        await orchestrator.call_tool("echo", {"text": "x"}, timeout=timeout)
    assert scripted.requests["tools/call"] == 0
    assert connected(orchestrator) == [True]


@pytest.mark.parametrize(("name", "error"), [(None, TypeError), (5, TypeError), ("\ud800", ValueError)])
async def test_s16_a_name_or_uri_that_is_no_text_is_a_wrong_call(configure, serving, name, error):
    orchestrator = configure({"a": await serving(ScriptedServer("a"))})
    with pytest.raises(error):
        await orchestrator.call_tool(name)
    with pytest.raises(error):
        await orchestrator.read_resource(name)


async def test_s16_a_wrong_call_is_one_whatever_there_is_to_ask(configure):
    orchestrator = configure({})
    await orchestrator.close()  # so that any other question would be told that it is closed
    wrong = [
        *(orchestrator.call_tool("echo", {"text": value}) for value in WRONG_ARGUMENTS.values()),
        *(orchestrator.call_tool("echo", **{what: 7}) for what in ("server", "domain", "capability", "key")),
        *(orchestrator.get_prompt("greet", **{what: 7}) for what in ("server", "domain", "capability", "key")),
        orchestrator.call_tool("echo", ["text"]),
        orchestrator.read_resource("res://a/0", server=7),
    ]
    for question in wrong:
        with pytest.raises((TypeError, ValueError)):
            await question


async def test_a_server_that_speaks_of_its_own_broken_connection_keeps_ours(configure, serving, slow):
    bank = Bank("a", MCPError(-32000, "Connection closed"))
    orchestrator = configure({"a": await serving(bank)})
    await orchestrator.list_tools()
    other = slow(orchestrator)
    await asyncio.sleep(0.1)
    with pytest.raises(ToolCallError, match="Connection closed") as caught:
        await orchestrator.call_tool("echo")
    assert caught.value.context["delivered"] == "maybe"
    assert not (await other).is_error
    assert connected(orchestrator) == [True]


async def test_a_call_of_many_rounds_that_takes_too_long_costs_nobody_else_anything(configure):
    async def pay(request: RawRequest):
        await asyncio.sleep(0.7)
        yield json_answer(result={"resultType": "input_required", "requestState": "more"})(request)

    async def read(request: RawRequest):
        await asyncio.sleep(0.9)
        yield json_answer(result={**COMMON, "contents": []})(request)

    server = RawServer(
        **{
            "tools/list": json_answer(result={**COMMON, "tools": [PAY]}),
            "tools/call": lambda request: pay(request),
            "resources/read": lambda request: read(request),
        }
    )
    async with server.listening():
        orchestrator = configure({"a": http(server, request_timeout=1)})
        await orchestrator.list_tools()
        call = asyncio.create_task(orchestrator.call_tool("pay", {}))
        for _ in range(3):
            assert (await orchestrator.read_resource("res://x")).contents == []
        with pytest.raises(ToolCallError, match="no answer within 1 s"):
            await call
        assert connected(orchestrator) == [True]
        await orchestrator.close()


async def test_an_application_that_holds_up_the_event_loop_keeps_its_connections(configure, slow):
    async with ServerProcess(name="a") as process:
        fields = {"transport": "streamable-http", "url": process.url, "timeout": 10, "request_timeout": 1}
        orchestrator = configure({"a": fields})
        await orchestrator.list_tools()
        other = slow(orchestrator)
        late = asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 30}))
        await asyncio.sleep(0.8)
        time.sleep(1.2)  # noqa: ASYNC251 - which is the point
        with pytest.raises(ToolCallError, match="no answer within 1 s"):
            await late
        assert not (await other).is_error
        assert connected(orchestrator) == [True]
        await orchestrator.close()


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_left_here_new_calls_fail_and_those_under_way_do_not(configure, slow):
    async with ServerProcess(name="a") as process:
        orchestrator = configure({"a": {"transport": "streamable-http", "url": process.url, "timeout": 10}})
        await orchestrator.list_tools()
        under_way = [slow(orchestrator) for _ in range(3)]
        await asyncio.sleep(0.3)
        with no_more_descriptors():
            calls = (orchestrator.call_tool("slow", {"seconds": 0.1}) for _ in range(6))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert errors
        assert {(error.context["cause"], error.context["delivered"]) for error in errors} == {("resources", "no")}
        assert [(await call).is_error for call in under_way] == [False] * 3
        assert connected(orchestrator) == [True]
        assert not (await orchestrator.call_tool("echo", {"text": "x"})).is_error
        await orchestrator.close()
