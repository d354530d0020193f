"""Streamable HTTP in both eras, and what happens when the server goes away."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import pytest
from mcp import MCPError
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.testing.raw_http import RawRequest, RawServer, raw_answer
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, serve
from mcp_orchestra.wire import TRANSPORT_ERROR, transport_facts

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]

ERAS = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]
MODES = ["auto", "legacy"]


async def read_until_end(read) -> None:
    with anyio.fail_after(5):
        async for _ in read:
            pass


async def connection_closed(client) -> None:
    """Wait until calls no longer fail one by one, but because the connection is known to be lost."""
    with anyio.fail_after(5):
        while True:
            with pytest.raises(MCPError) as caught:
                await client.list_tools()
            if caught.value.message == "Connection closed":
                return
            await anyio.sleep(0.01)


@pytest.mark.parametrize(("mode", "era"), ERAS)
async def test_a_server_answers_in_both_eras(connect, endpoint, mode, era):
    async with serve(ScriptedServer("a", resources=2)) as url, connect(endpoint(url), mode) as client:
        assert client.protocol_version == era
        listed = await client.list_resources()
        assert [resource.uri for resource in listed.resources] == ["res://a/0", "res://a/1"]
        assert (await client.read_resource("res://a/1")).contents[0].text == "a text 1"
        assert (await client.call_tool("echo", {"text": "é"})).content[0].text == "a: é"


@pytest.mark.parametrize("mode", MODES)
async def test_a_hundred_calls_at_once_each_get_their_own_answer(connect, endpoint, mode):
    async with serve(ScriptedServer()) as url, connect(endpoint(url), mode) as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(100)))
    assert [result.content[0].text for result in results] == [f"scripted: {n}" for n in range(100)]


@pytest.mark.parametrize("mode", MODES)
async def test_s23_an_answer_may_be_as_large_as_configured_and_no_larger(connect, endpoint, mode):
    server = ScriptedServer(resources={"res://big": "x" * 3_000_000, "res://huge": "x" * 5_000_000})
    async with serve(server) as url, connect(endpoint(url, limit=4_000_000), mode) as client:
        assert len((await client.read_resource("res://big")).contents[0].text) == 3_000_000
        with pytest.raises(MCPError) as caught:
            await client.read_resource("res://huge")
        assert caught.value.code == TRANSPORT_ERROR
        assert caught.value.data["kind"] == "too_large"
        assert "max_message_bytes=4000000" in caught.value.message
        assert len((await client.list_resources()).resources) == 2


async def test_the_configured_headers_go_with_every_request(connect, endpoint):
    async with (
        RawServer().listening() as server,
        connect(endpoint(server.url, headers={"Authorization": "Bearer t"})) as client,
    ):
        await client.list_tools()
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer t"}


@pytest.mark.parametrize("mode", MODES)
async def test_a_kill_among_twenty_calls_gives_each_an_error(connect, endpoint, mode):
    async with ServerProcess() as server, connect(endpoint(server.url), mode) as client:
        calls = [asyncio.create_task(client.call_tool("slow", {"seconds": 60})) for _ in range(20)]
        await asyncio.sleep(0.3)
        await server.kill()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [MCPError] * 20


@pytest.mark.parametrize("mode", MODES)
async def test_s42_the_death_of_an_idle_server_ends_the_stream_and_a_new_connection_works(connect, endpoint, mode):
    async with ServerProcess() as server:
        async with connect(endpoint(server.url), mode) as client:
            await client.list_tools()
            await server.kill()
            await connection_closed(client)
        await server.start()
        async with connect(endpoint(server.url), mode) as client:
            assert (await client.list_tools()).tools


async def test_the_read_stream_ends_when_nothing_was_ever_asked(spec, endpoint, until):
    server = RawServer()
    async with AsyncExitStack() as listening:
        await listening.enter_async_context(server.listening())
        async with spec.open(endpoint(server.url)) as (read, _write):
            await until(lambda: server.connections)
            await listening.aclose()
            await read_until_end(read)


async def test_without_the_watch_a_modern_connection_outlives_a_restart(connect, endpoint):
    async with ServerProcess() as server, connect(endpoint(server.url, watch=False)) as client:
        await client.list_tools()
        await server.kill()
        with pytest.raises(MCPError) as caught:
            await client.list_tools()
        assert caught.value.data["delivered"] in ("no", "maybe")
        await server.start()
        assert (await client.list_tools()).tools


async def test_a_session_that_a_restarted_server_has_forgotten_is_the_error_of_the_call(connect, endpoint):
    async with ServerProcess() as server, connect(endpoint(server.url, watch=False), "legacy") as client:
        await client.list_tools()
        await server.kill()
        await server.start()
        with pytest.raises(MCPError, match="forgot the session") as caught:
            await client.list_tools()
        facts = transport_facts(caught.value.code, caught.value.data)
        assert facts == {"kind": "session", "delivered": "no", "status": 404}


async def test_behind_a_proxy_the_server_is_not_watched(connect, endpoint, monkeypatch):
    async with RawServer().listening() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/mcp"))
        async with connect(endpoint("http://far.invalid/mcp")) as client:
            await client.list_tools()
            assert proxy.connections == 1


async def test_a_failing_handshake_raises_the_reason(spec, endpoint, connect):
    async with RawServer(**{"server/discover": raw_answer(401)}).listening() as server:
        with pytest.RaisesGroup(MCPConnectionError, flatten_subgroups=True, allow_unwrapped=True):
            async with connect(endpoint(server.url)):
                pytest.fail("it must not connect")


async def test_leaving_while_calls_are_under_way_is_quiet(connect, endpoint):
    scripted = ScriptedServer()
    async with serve(scripted) as url:
        scripted.gate.clear()
        calls = []
        for mode in MODES:
            async with connect(endpoint(url), mode) as client:
                calls.append(asyncio.create_task(client.list_resources()))
                await asyncio.sleep(0.1)
        scripted.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [MCPError] * 2


async def test_an_answer_that_comes_while_the_session_is_being_ended_disturbs_nobody(connect, endpoint, until):
    ending = asyncio.Event()

    def initialize(request: RawRequest) -> bytes:
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": request.message["id"], "result": result}
        return raw_answer(200, json.dumps(message).encode(), content_type="application/json", mcp_session_id="s1")

    async def late() -> AsyncIterator[bytes]:
        await ending.wait()
        yield raw_answer(200, b'{"jsonrpc": "2.0", "id": 2, "result": {"tools": []}}', content_type="application/json")

    async def end() -> AsyncIterator[bytes]:
        ending.set()
        await asyncio.sleep(0.3)
        yield raw_answer(204)

    server = RawServer(
        **{
            "initialize": initialize,
            "notifications/initialized": raw_answer(202),
            "GET": raw_answer(405),
            "tools/list": lambda _: late(),
            "DELETE": lambda _: end(),
        }
    )
    async with server.listening():
        async with connect(endpoint(server.url), "legacy") as client:
            call = asyncio.create_task(client.list_tools())
            await until(lambda: any(request.message.get("method") == "tools/list" for request in server.requests))
        assert ending.is_set()
        with pytest.raises(MCPError, match="Connection closed"):
            await call
