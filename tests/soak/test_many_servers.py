"""A hundred servers, started and closed again and again: S10 and S14."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator
from mcp_orchestra.testing.servers import ServerProcess

from .leftovers import left

pytestmark = pytest.mark.anyio

BARE_SERVER = Path(__file__).with_name("bare_server.py")
ON_STDIO, ON_HTTP = 20, 80
ON_STDIO_ONLY = 200
PROCESSES = 4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def on_stdio(name: str) -> dict[str, object]:
    """Return what a configuration says of a server in a process of its own."""
    return {
        "name": name,
        "transport": "stdio",
        "command": sys.executable,
        "args": ["-I", "-S", str(BARE_SERVER), name],
        "timeout": 60,
    }


@pytest.fixture
def cycles() -> int:
    """Return how often to start and close: three times, or twenty in a long run."""
    return 20 if "MCP_ORCHESTRA_TEST_SECONDS" in os.environ else 3


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, dict[str, object]]]:
    """Return the configuration of a hundred servers, eighty of them in four processes that are already there."""
    async with AsyncExitStack() as stack:
        running = [ServerProcess(name=f"http{number}", resources=1) for number in range(PROCESSES)]
        await asyncio.gather(*map(stack.enter_async_context, running))
        yield {
            **{f"stdio{number}": on_stdio(f"stdio{number}") for number in range(ON_STDIO)},
            **{
                f"http{number}": {
                    "name": f"http{number}",
                    "transport": "streamable-http",
                    "url": running[number % PROCESSES].url,
                }
                for number in range(ON_HTTP)
            },
        }


def orchestrator_over(servers: dict[str, dict[str, object]]) -> MCPOrchestrator:
    return MCPOrchestrator(config=MCPConfig.model_validate({"mcp_servers": servers}), fail_fast=True)


async def started_in(servers: dict[str, dict[str, object]]) -> float:
    """Return the seconds that these servers take to start, and close them."""
    orchestrator = orchestrator_over(servers)
    began = time.perf_counter()
    await orchestrator.initialize()
    seconds = time.perf_counter() - began
    await orchestrator.close()
    return seconds


async def test_s14_a_hundred_servers_come_and_go_without_a_trace(servers, cycles):
    only_stdio = {key: fields for key, fields in servers.items() if key.startswith("stdio")}
    only_http = {key: fields for key, fields in servers.items() if key.startswith("http")}
    await started_in(servers)  # warm: imports, threads
    before, memory = left(), []
    for _ in range(cycles):
        # The slowest costs what it costs; on few cores the rest is what it takes to start so many at all.
        alone = await started_in(only_stdio) + await started_in(only_http)
        orchestrator = orchestrator_over(servers)
        began = time.perf_counter()
        await orchestrator.initialize()
        seconds = time.perf_counter() - began
        gathered = await orchestrator.gather_all_resources()
        assert len(gathered) == ON_STDIO + ON_HTTP
        assert all(len(entry["resources"]) == 1 for entry in gathered.values())
        began = time.perf_counter()
        await orchestrator.close()
        closing = time.perf_counter() - began
        print(f"started in {seconds:.2f} s (alone {alone:.2f} s), closed in {closing:.2f} s")
        assert seconds <= 1.2 * alone + 1.0
        assert closing < 5
        assert left() == before
        memory.append(psutil.Process().memory_info().rss)
    grown = (memory[-1] - memory[len(memory) // 2]) / 1e6
    print(f"grew by {grown:.1f} MB over the second half")
    assert grown < 20


async def test_s10_of_two_hundred_processes_sixteen_are_being_started_at_a_time():
    servers = {f"s{number}": on_stdio(f"s{number}") for number in range(ON_STDIO_ONLY)}
    await started_in({"s0": servers["s0"]})  # warm: imports, threads
    before, others = left(), len(psutil.Process().children())
    orchestrator = orchestrator_over(servers)
    starting = asyncio.create_task(orchestrator.initialize())
    at_once = []
    while not starting.done():
        children = len(psutil.Process().children()) - others
        at_once.append(children - sum(info.connected for info in orchestrator.registry.get_all_servers()))
        await asyncio.sleep(0.02)
    await starting
    assert len(psutil.Process().children()) == others + ON_STDIO_ONLY
    async with asyncio.timeout(5):
        await orchestrator.close()
    assert left() == before
    print(f"{max(at_once)} at once, seen {len(at_once)} times")
    assert max(at_once) <= 16
    assert len(at_once) > 10
