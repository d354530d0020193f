"""HTTP+SSE against real servers in both eras, and what happens when one goes away."""

import asyncio

import anyio
import pytest
from mcp import MCPError
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, serve
from mcp_orchestra.wire import TRANSPORT_ERROR

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]

ERAS = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]
MODES = ["auto", "legacy"]


@pytest.mark.parametrize(("mode", "era"), ERAS)
async def test_a_server_answers_in_both_eras(connect, endpoint, mode, era):
    async with serve(ScriptedServer("a", resources=2), "sse") as url, connect(endpoint(url), mode) as client:
        assert client.protocol_version == era
        listed = await client.list_resources()
        assert [resource.uri for resource in listed.resources] == ["res://a/0", "res://a/1"]
        assert (await client.read_resource("res://a/1")).contents[0].text == "a text 1"
        assert (await client.call_tool("echo", {"text": "é"})).content[0].text == "a: é"


async def test_a_hundred_calls_at_once_each_get_their_own_answer(connect, endpoint):
    async with serve(ScriptedServer(), "sse") as url, connect(endpoint(url)) as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(100)))
    assert [result.content[0].text for result in results] == [f"scripted: {n}" for n in range(100)]


@pytest.mark.parametrize("mode", MODES)
async def test_s23_an_answer_may_be_as_large_as_configured_and_no_larger(connect, endpoint, mode):
    server = ScriptedServer(resources={"res://big": "x" * 3_000_000, "res://huge": "x" * 5_000_000})
    async with serve(server, "sse") as url, connect(endpoint(url, limit=4_000_000), mode) as client:
        assert len((await client.read_resource("res://big")).contents[0].text) == 3_000_000
        with pytest.raises(MCPError) as caught:
            await client.read_resource("res://huge")
        assert caught.value.code == TRANSPORT_ERROR
        assert caught.value.data["kind"] == "too_large"
        assert "max_message_bytes=4000000" in caught.value.message
        assert len((await client.list_resources()).resources) == 2


@pytest.mark.parametrize("mode", MODES)
async def test_a_kill_among_twenty_calls_gives_each_an_error(connect, endpoint, mode):
    async with ServerProcess("sse") as server, connect(endpoint(server.url), mode) as client:
        calls = [asyncio.create_task(client.call_tool("slow", {"seconds": 60})) for _ in range(20)]
        await asyncio.sleep(0.3)
        await server.kill()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [MCPError] * 20


async def test_s42_the_death_of_an_idle_server_ends_the_stream_and_a_new_connection_works(spec, connect, endpoint):
    async with ServerProcess("sse") as server:
        async with spec.open(endpoint(server.url)) as (read, _write):
            await server.kill()
            with anyio.fail_after(5):
                async for _ in read:
                    pass
        await server.start()
        async with connect(endpoint(server.url)) as client:
            assert (await client.list_tools()).tools


async def test_leaving_while_calls_are_under_way_is_quiet(connect, endpoint):
    scripted = ScriptedServer()
    scripted.gate.clear()
    async with serve(scripted, "sse") as url:
        async with connect(endpoint(url)) as client:
            call = asyncio.create_task(client.list_resources())
            await asyncio.sleep(0.1)
        with pytest.raises(MCPError, match="Connection closed"):
            await call
        scripted.gate.set()
