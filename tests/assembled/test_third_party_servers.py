"""Servers that other people wrote, of both eras, in one configuration."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio

EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"


@pytest.fixture(scope="session")
def everything(pytestconfig) -> list[str]:
    """The command line of the npm package, installed once."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm is not installed: server-everything comes from the npm registry")
    home = Path(pytestconfig.cache.mkdir("server-everything"))
    script = home / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    if not script.exists():
        subprocess.run(
            [npm, "install", "--prefix", home, "--no-audit", "--no-fund", EVERYTHING], check=True, timeout=80
        )
    return [node, str(script), "stdio"]


@pytest.fixture
def repository(tmp_path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


async def test_servers_of_both_eras_are_gathered_together(configure, everything, repository):
    scripts = Path(sys.executable).parent

    def python_server(name, *args):
        return {"transport": "stdio", "command": str(scripts / name), "args": list(args), "timeout": 60}

    orchestrator = configure(
        {
            "time": python_server("mcp-server-time", "--local-timezone", "UTC"),
            "git": python_server("mcp-server-git", "--repository", str(repository)),
            "fetch": python_server("mcp-server-fetch"),
            "everything": {
                "transport": "stdio",
                "command": everything[0],
                "args": everything[1:],
                "timeout": 60,
                "domains": ["demo"],
            },
        }
    )
    async with asyncio.timeout(80):
        gathered = await orchestrator.gather_all_resources()
        servers = {server["id"]: server for server in orchestrator.get_status()["servers"]}
        assert {key: server["protocol_version"] for key, server in servers.items()} == {
            "time": "2026-07-28",
            "git": "2026-07-28",
            "fetch": "2026-07-28",
            "everything": "2025-11-25",
        }
        assert {name: len(entry["resources"]) for name, entry in gathered.items()} == {
            "Time": 0,
            "Git": 0,
            "Fetch": 0,
            "Everything": 7,
        }
        assert all(entry["data"] for entry in gathered["Everything"]["resources"].values())
        assert len(await orchestrator.get_resources_for_domain("demo")) == 7
        client = orchestrator.registry.get_server("everything").client
        assert len((await client.list_resource_templates()).resource_templates) == 2
        tools = {tool.name for tool in await orchestrator.list_tools()}
        assert {"get_current_time", "git_status", "fetch", "echo"} <= tools
        result = await orchestrator.call_tool("get_current_time", {"timezone": "UTC"})
        assert "UTC" in result.content[0].text
        assert not (await orchestrator.call_tool("echo", {"message": "hello"})).is_error
