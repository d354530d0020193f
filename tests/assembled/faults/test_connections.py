"""Connections that cannot be made, that end in any order, and calls that their callers give up."""

import asyncio
import random
import time

import pytest
from mcp_orchestra import MCPConfig, MCPConnectionError
from mcp_orchestra.testing.faults import FaultProxy, http
from mcp_orchestra.testing.servers import ScriptedServer, free_port

pytestmark = pytest.mark.anyio

GRACE = 1.0
"""Seconds more that a busy machine may take."""
SERVERS, REMOVALS = 20, 200
SPAWNING = 1.0
"""Seconds that it takes to import what a first connection needs."""

# What a server does from the first byte on → a part of the reason that the status shows.
SILENT = "no answer within"
STDIO = {"silent": SILENT, "exits-at-once": "the database is not there"}
HTTP = {
    "hang": (http.hang, SILENT),
    "headers-then-hang": (http.headers_then_hang, SILENT),
    "drip": (http.drip(0.3), SILENT),
    "endless-pings": (http.endless_events(), SILENT),
    "401": (http.status(401), "HTTP 401"),
    "503": (http.status(503), "HTTP 503"),
    "garbage": (http.garbage, "not valid JSON-RPC"),
    "cut-body": (http.cut_body, "without a complete HTTP answer"),
    "huge-body": (http.huge_body(3_000_000), "max_message_bytes=1000000"),
    "redirect": (http.redirect("http://198.51.100.1/mcp"), "198.51.100.1"),
}
NETWORK = {
    "black-hole": (FaultProxy.black_hole, SILENT),
    "reset": (lambda proxy: proxy.upstream.reset(after=1), "the connection was cut"),
    "cut": (lambda proxy: proxy.downstream.cut(after=5), "without a complete HTTP answer"),
}


@pytest.fixture
async def strangers(by_stdio, by_http, proxied, serving):
    """Servers that cannot be connected to, and why not."""
    behind = (await serving(ScriptedServer("behind")))["url"]
    proxies = {fault: await proxied(behind) for fault in NETWORK}
    for fault, (break_it, _) in NETWORK.items():
        break_it(proxies[fault])
    handshakes = ("server/discover", "initialize")
    return {
        **{name: (by_stdio(name), reason) for name, reason in STDIO.items()},
        **{
            name: (await by_http(dict.fromkeys(handshakes, fault), max_message_bytes=1_000_000), reason)
            for name, (fault, reason) in HTTP.items()
        },
        **{
            name: ({"transport": "streamable-http", "url": proxies[name].url}, reason)
            for name, (_, reason) in NETWORK.items()
        },
        "refused": ({"transport": "streamable-http", "url": f"http://127.0.0.1:{free_port()}/mcp"}, "refused"),
    }


async def test_s10_what_cannot_be_connected_costs_its_own_timeout_and_says_why(ward, strangers):
    loop = asyncio.get_running_loop()
    started = loop.time()
    sick = await ward({name: {**fields, "timeout": 2} for name, (fields, _) in strangers.items()}, max_retries=0)
    assert loop.time() - started < 2 + GRACE + SPAWNING
    status = {name: sick.status(name) for name in strangers}
    wrong = {name: one["error"] for name, one in status.items() if strangers[name][1] not in one["error"]}
    assert wrong == {}
    assert {one["connected"] for one in status.values()} == {False}
    await sick.beside(asyncio.sleep(1))  # they are being tried again all the while


async def test_s11_with_fail_fast_the_start_fails_in_time_with_the_reason(configure, strangers):
    loop = asyncio.get_running_loop()

    async def start(name: str) -> tuple[str, float]:
        orchestrator = configure({name: {**strangers[name][0], "timeout": 2}}, fail_fast=True, max_retries=0)
        started = loop.time()
        with pytest.raises(MCPConnectionError) as caught:
            await orchestrator.initialize()
        return caught.value.context["failed"][name], loop.time() - started

    found = dict(zip(strangers, await asyncio.gather(*map(start, strangers)), strict=True))
    assert {name: reason for name, (reason, _) in found.items() if strangers[name][1] not in reason} == {}
    # A server that takes two seconds to let go of is let go of before the error is raised.
    assert {name: seconds for name, (_, seconds) in found.items() if seconds > 2 + 4.5 + GRACE} == {}


async def test_clients_may_be_let_go_of_in_any_order(configure, serving):
    """Clients of one task that are not closed in the order of a stack: nobody else notices."""
    fields = await serving(ScriptedServer("a"))
    chance = random.Random(20)
    async with asyncio.timeout(60):
        for _ in range(3):
            open_ones = [configure({"a": fields}) for _ in range(SERVERS)]
            await asyncio.gather(*(one.initialize() for one in open_ones))
            while open_ones:
                await open_ones.pop(chance.randrange(len(open_ones))).close()
                if open_ones:
                    assert not (await chance.choice(open_ones).call_tool("echo")).is_error


async def test_servers_may_be_let_go_of_in_any_order(configure, serving):
    places = [await serving(ScriptedServer("a"), transport) for transport in ("sse", "streamable-http")]
    fields = {f"s{number}": {"name": f"S{number}", **places[number % 2]} for number in range(SERVERS)}
    orchestrator = configure(fields)
    chance = random.Random(21)
    async with asyncio.timeout(60):
        await orchestrator.initialize()
        for _ in range(REMOVALS // SERVERS):
            remaining = dict(fields)
            for server in chance.sample(list(fields), SERVERS - 1):
                del remaining[server]
                await orchestrator.reload(MCPConfig.model_validate({"mcp_servers": remaining}))
                answer = await orchestrator.call_tool("echo", server=chance.choice(list(remaining)))
                assert not answer.is_error
            await orchestrator.reload(MCPConfig.model_validate({"mcp_servers": fields}))
            assert {one["connected"] for one in orchestrator.get_status()["servers"]} == {True}


class Patient(ScriptedServer):
    """Counts the calls that it was told to give up."""

    given_up = 0

    async def _call_tool(self, ctx, params):
        try:
            return await super()._call_tool(ctx, params)
        except BaseException:
            self.given_up += 1
            raise


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_of_a_hundred_calls_the_one_that_is_cancelled_ends_and_its_server_gives_it_up(
    configure, serving, until, transport, mode
):
    server = Patient("a")
    orchestrator = configure({"a": {**await serving(server, transport), "mode": mode, "max_concurrent_requests": 200}})
    async with asyncio.timeout(20):
        await orchestrator.list_tools()
        since = orchestrator.registry.get_server("a").last_connected
        calls = [asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 1})) for _ in range(100)]
        await until(lambda: server.requests["tools/call:slow"] == 100)
        calls[21].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls.pop(21)
        await until(lambda: server.given_up == 1)
        assert {outcome.is_error for outcome in await asyncio.gather(*calls)} == {False}
        assert server.given_up == 1
        assert not (await orchestrator.call_tool("echo")).is_error
        assert orchestrator.registry.get_server("a").last_connected == since


async def test_what_holds_up_a_healthy_server_would_be_found_out(ward):
    """The measure that the other tests go by."""
    none = await ward({})

    async def hold_up() -> None:
        time.sleep(0.6)  # noqa: ASYNC251 - which is the point

    with pytest.raises(AssertionError):
        await none.beside(hold_up())
    await none.beside(asyncio.sleep(0.3))
