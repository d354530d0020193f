"""S36 in the long run: a store that goes away while an orchestrator is busy, and comes back, costs no request."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator
from mcp_orchestra.testing.servers import ScriptedServer, serve
from mcp_orchestra.testing.valkey import ValkeyServer

pytestmark = pytest.mark.anyio

PATIENCE = 30


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def deploy() -> AsyncIterator[Callable[..., Any]]:
    """Make an orchestrator over two servers whose cache has this backend."""
    async with AsyncExitStack() as stack:

        async def make(backend: str, **options: Any) -> tuple[MCPOrchestrator, list[ScriptedServer]]:
            servers = [ScriptedServer("a"), ScriptedServer("b")]
            fields = {
                server.name: {
                    "name": server.name,
                    "transport": "streamable-http",
                    "url": await stack.enter_async_context(serve(server)),
                }
                for server in servers
            }
            cache = {"backend": backend, "options": options}
            config = MCPConfig.model_validate({"mcp_servers": fields, "orchestration": {"cache": cache}})
            orchestrator = MCPOrchestrator(config=config)
            stack.push_async_callback(orchestrator.close)
            await orchestrator.initialize()
            return orchestrator, servers

        yield make


class Busy:
    """Gathers all the time, now and then after an invalidation, and checks what comes."""

    def __init__(self, orchestrator: MCPOrchestrator) -> None:
        self.gathers = 0
        self._orchestrator = orchestrator
        self._task = asyncio.create_task(self._go_on())

    async def gather(self, times: int = 30) -> None:
        """Wait for so many more gathers."""
        until = self.gathers + times
        async with asyncio.timeout(PATIENCE):
            while self.gathers < until:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _go_on(self) -> None:
        while True:
            if self.gathers % 5 == 0:
                self._orchestrator.cache.invalidate("resources:a")
            gathered = await self._orchestrator.gather_all_resources()
            assert {name: len(part["resources"]) for name, part in gathered.items()} == {"a": 3, "b": 3}
            assert not any("error" in part for part in gathered.values())
            self.gathers += 1
            await asyncio.sleep(0.002)


def stats(orchestrator: MCPOrchestrator) -> dict[str, Any]:
    return dict(orchestrator.get_status()["cache_stats"])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def put_in_the_way(directory: Path) -> None:
    """Put a file in the place of a directory that somebody makes anew all the time."""
    while not directory.is_file():
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(IsADirectoryError):
            directory.write_text("in the way", encoding="utf-8")


async def is_used_again(orchestrator: MCPOrchestrator, servers: list[ScriptedServer], busy: Busy) -> None:
    """Wait until gathers are answered from the store again, without asking a server."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await busy.gather(5)
            before = servers[1].requests["resources/list"]
            await busy.gather(20)
            if stats(orchestrator)["available"] and servers[1].requests["resources/list"] == before:
                return


@pytest.mark.parametrize("outage", ["stopped", "hung"])
async def test_s36_redis_goes_away_and_comes_back_while_resources_are_gathered(
    deploy: Callable[..., Any], valkey: ValkeyServer, caplog: pytest.LogCaptureFixture, outage: str
) -> None:
    # Patient with a server that is only slow: what a busy machine does is no outage.
    orchestrator, servers = await deploy("redis", url=valkey.url, connect_timeout=0.2, socket_timeout=0.2)
    busy = Busy(orchestrator)
    await busy.gather()
    assert stats(orchestrator)["available"]
    known = stats(orchestrator)["errors"]
    caplog.clear()
    for _ in range(2):
        await asyncio.to_thread(valkey.stop if outage == "stopped" else valkey.pause)
        await busy.gather()
        async with asyncio.timeout(PATIENCE):
            while stats(orchestrator)["available"]:
                await busy.gather(1)
        assert stats(orchestrator)["errors"] > known
        await asyncio.to_thread(valkey.start if outage == "stopped" else valkey.resume)
        await is_used_again(orchestrator, servers, busy)
    await busy.end()
    assert len([text for text in warnings(caplog) if "cache store" in text]) == 1
    assert stats(orchestrator)["bytes_written"] > 0


async def test_s36_the_directory_is_deleted_again_and_again_while_resources_are_gathered(
    deploy: Callable[..., Any], tmp_path: Path, seconds: float
) -> None:
    directory = tmp_path / "cache"
    orchestrator, servers = await deploy("disk", directory=str(directory), timeout=5.0)
    busy = Busy(orchestrator)
    await busy.gather()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds / 2
    while loop.time() < end:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        await busy.gather(10)
    await is_used_again(orchestrator, servers, busy)
    await busy.end()
    assert (directory / "cache.db").exists()


async def test_s36_the_directory_cannot_be_made_anew_for_a_while(
    deploy: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "cache"
    orchestrator, servers = await deploy("disk", directory=str(directory))
    busy = Busy(orchestrator)
    await busy.gather()
    known = stats(orchestrator)["errors"]
    caplog.clear()
    await asyncio.to_thread(put_in_the_way, directory)
    await busy.gather()
    assert stats(orchestrator)["errors"] > known
    directory.unlink()
    await is_used_again(orchestrator, servers, busy)
    await busy.end()
    assert len([text for text in warnings(caplog) if "cache store" in text]) == 1
