"""A server that is killed and comes back: S13 and S42, on every transport and in both eras."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import psutil
import pytest
from mcp_orchestra import MCPOrchestratorException
from mcp_orchestra.testing.servers import ServerProcess, server_command

pytestmark = pytest.mark.anyio


def state(orchestrator):
    (only,) = orchestrator.get_status()["servers"]
    return only


async def becomes(orchestrator, connected, *, seconds):
    async with asyncio.timeout(seconds):
        while state(orchestrator)["connected"] is not connected:
            await asyncio.sleep(0.01)


LAUNCH = "import os, sys; os.path.exists(sys.argv[1]) and sys.exit(3); os.execv(sys.argv[2], sys.argv[2:])"


class Child:
    """A server over stdio, which does not start while it is down."""

    def __init__(self, command, folder):
        self._down = folder / "down"
        self.fields = {
            "transport": "stdio",
            "command": sys.executable,
            "args": ["-I", "-S", "-c", LAUNCH, str(self._down), *command],
        }

    async def start(self):
        self._down.unlink(missing_ok=True)

    async def kill(self):
        self._down.touch()
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if "mcp_orchestra.testing.servers" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)


@pytest.fixture(params=["stdio", "streamable-http modern", "streamable-http legacy", "sse"])
async def victim(request, tmp_path):
    transport, _, era = request.param.partition(" ")
    server = Child(server_command(name="a"), tmp_path) if transport == "stdio" else ServerProcess(transport, name="a")
    await server.start()
    yield (
        server,
        {
            **(server.fields if transport == "stdio" else {"transport": transport, "url": server.url}),
            "timeout": 10,
            "mode": era if era == "legacy" else "auto",
        },
    )
    await server.kill()


@pytest.mark.parametrize("meanwhile", ["nobody asks", "somebody asks"])
async def test_s42_a_killed_server_is_known_to_be_down_and_the_first_call_after_its_return_works(
    configure, victim, meanwhile
):
    server, fields = victim
    orchestrator = configure({"a": fields})
    await orchestrator.initialize()
    assert not (await orchestrator.call_tool("echo", {"text": "before"})).is_error
    await server.kill()
    await becomes(orchestrator, False, seconds=1)
    assert state(orchestrator)["error"]
    if meanwhile == "somebody asks":
        for _ in range(3):
            with pytest.raises(MCPOrchestratorException):
                await orchestrator.call_tool("echo", {"text": "while down"})
    await server.start()
    result = await orchestrator.call_tool("echo", {"text": "after"})
    assert result.content[0].text == "a: after"
    assert state(orchestrator)["connected"]
    assert state(orchestrator)["error"] is None
