import asyncio

import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator, ToolCallError
from mcp_orchestra.testing.faults import FaultProxy, http, sick_command, sick_server
from mcp_orchestra.testing.servers import ScriptedServer, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def connected(**fields):
    server = {"name": "A", "timeout": 20, "request_timeout": 1, **fields}
    return MCPOrchestrator(config=MCPConfig.model_validate({"mcp_servers": {"a": server}})).managed_session()


async def test_a_network_that_loses_the_answer():
    async with (
        asyncio.timeout(30),
        serve(ScriptedServer()) as url,
        FaultProxy(url) as proxy,
        connected(transport="streamable-http", url=proxy.url) as orchestrator,
    ):
        await orchestrator.list_tools()
        proxy.downstream.swallow = True
        with pytest.raises(ToolCallError, match="no answer within 1 s"):
            await orchestrator.call_tool("echo", {"text": "x"})
        await proxy.heal()
        assert not (await orchestrator.call_tool("echo", {"text": "x"})).is_error


async def test_a_server_over_http_that_cuts_its_answer():
    async with (
        asyncio.timeout(30),
        sick_server({"tools/call": http.cut_body}).listening() as server,
        connected(transport="streamable-http", url=server.url) as orchestrator,
    ):
        with pytest.raises(ToolCallError, match="without a complete HTTP answer"):
            await orchestrator.call_tool("echo")


async def test_a_process_that_crashes_in_the_middle_of_a_call():
    command, *args = sick_command("crashes", on="tools/call")
    async with asyncio.timeout(30), connected(transport="stdio", command=command, args=args) as orchestrator:
        with pytest.raises(ToolCallError, match="the connection was closed"):
            await orchestrator.call_tool("echo")
