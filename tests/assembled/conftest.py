"""Orchestrators over scripted servers, and proof that nothing is left of them."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator
from mcp_orchestra.testing.servers import serve, server_command

Configure = Callable[..., MCPOrchestrator]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """End a test that hangs, whatever it hangs in."""

    def expire(*_: object) -> None:
        raise TimeoutError("the test took longer than 90 s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Undo what configurations do to the library's logger, which all orchestrators of a process share."""
    logger = logging.getLogger("mcp_orchestra")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
async def serving() -> AsyncIterator[Callable[..., Any]]:
    """Serve scripted servers in this process until the test ends: ``url = await serving(server)``."""
    async with AsyncExitStack() as stack:

        async def start(server: Any, transport: Any = "streamable-http") -> dict[str, str]:
            url = await stack.enter_async_context(serve(server, transport))
            return {"transport": transport, "url": url}

        yield start


@pytest.fixture
async def configure(serving: object) -> AsyncIterator[Configure]:  # closed before what they are connected to
    """Make orchestrators from server fields by id; they are closed at the end."""
    made: list[MCPOrchestrator] = []

    def make(servers: dict[str, dict[str, Any]], **orchestration: Any) -> MCPOrchestrator:
        tracer_provider = orchestration.pop("tracer_provider", None)
        config = MCPConfig.model_validate(
            {
                "mcp_servers": {key: {"name": key.title(), **fields} for key, fields in servers.items()},
                "orchestration": {"fail_fast": False, **orchestration},
            }
        )
        made.append(MCPOrchestrator(config=config, tracer_provider=tracer_provider))
        return made[-1]

    yield make
    for orchestrator in made:
        await orchestrator.close()


@pytest.fixture
def stdio() -> Callable[..., dict[str, Any]]:
    """Return the fields of a scripted server over stdio: ``stdio(name="a", resources=25)``."""

    def fields(**options: object) -> dict[str, Any]:
        command, *args = server_command(**options)
        return {"transport": "stdio", "command": command, "args": args}

    return fields


@pytest.fixture
def leftovers() -> Callable[[], dict[str, Any]]:
    """Count what may leak: the tasks of the loop, the descriptors and the descendants of this process."""
    process = psutil.Process()

    def count() -> dict[str, Any]:
        gc.collect()
        return {
            "tasks": sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()),
            "descriptors": len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())),
            "children": sorted(child.pid for child in process.children(recursive=True)),
        }

    return count
