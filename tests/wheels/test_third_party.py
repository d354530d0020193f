"""A third party's plug-in, installed from its wheel, is chosen by name and used like any other."""

import json
from pathlib import Path

import anyio
import pytest
from mcp_orchestra import MCPOrchestrator
from mcp_orchestra.testing.servers import ScriptedServer
from tcp_server import TcpServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_resources_are_gathered_through_it(tmp_path: Path) -> None:
    config = tmp_path / "mcp_config.yaml"
    with anyio.fail_after(30):
        async with TcpServer(ScriptedServer("remote", resources=2).server).listening() as server:
            remote = {"name": "Remote", "url": server.url, "transport": "tcp", "domains": ["far"]}
            config.write_text(json.dumps({"mcp_servers": {"remote": remote}}), encoding="utf-8")
            async with MCPOrchestrator(config).managed_session() as orchestrator:
                gathered = await orchestrator.gather_all_resources()
                (status,) = orchestrator.get_status()["servers"]
            await server.all_left()
    assert {name: entry["data"] for name, entry in gathered["Remote"]["resources"].items()} == {
        "0": "remote text 0",
        "1": "remote text 1",
    }
    assert (status["transport"], status["protocol_version"]) == ("tcp", "2026-07-28")
