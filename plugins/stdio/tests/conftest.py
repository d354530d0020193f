"""What the tests of the stdio transport share: small servers of any behaviour, and proof that nothing is left."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_orchestra_stdio
import psutil
import pytest
from mcp import Client
from mcp_orchestra.types import Endpoint, TransportSpec

PRELUDE = """
import json, os, signal, subprocess, sys, time
COMMON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
SERVER = {"name": "m", "version": "1"}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "serverInfo": SERVER}
def say(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()
def answer(request, **result):
    say(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {**COMMON, **result}}))
def requests():
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("method") == "server/discover":
            answer(request, **DISCOVERED)
        elif "id" in request:
            yield request
def serve():
    for request in requests():
        answer(request, tools=[])
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def spec() -> TransportSpec:
    (spec,) = mcp_orchestra_stdio.mcp_orchestra_transports()
    return spec


@pytest.fixture
def endpoint() -> Callable[..., Endpoint[Any]]:
    """Make an endpoint of options; ``code=`` makes a server of Python code after the prelude."""

    def make(*, code: str | None = None, limit: int = 10 * 1024 * 1024, **options: Any) -> Endpoint[Any]:
        if code is not None:
            options = {"command": sys.executable, "args": ["-I", "-S", "-c", PRELUDE + code], **options}
        validated = mcp_orchestra_stdio.StdioOptions.model_validate(options)
        return Endpoint(server_id="x", options=validated, max_message_bytes=limit)

    return make


Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def connect(spec: TransportSpec) -> Connect:
    """Connect to an endpoint; the block has 30 seconds."""

    @asynccontextmanager
    async def connected(endpoint: Endpoint[Any], mode: str = "auto") -> AsyncIterator[Client]:
        with anyio.fail_after(30):
            async with Client(spec.open(endpoint), cache=None, mode=mode) as client:
                yield client

    return connected


@pytest.fixture
async def nothing_is_left(
    anyio_backend: str, until: Callable[[Callable[[], object]], Awaitable[None]]
) -> AsyncIterator[None]:
    """Fail a test that leaves a descriptor, a child process or a task."""
    descriptors, children, tasks = _descriptors(), _children(), asyncio.all_tasks()
    yield
    gc.collect()
    with contextlib.suppress(TimeoutError):  # a thread of asyncio's may just be reaping
        await until(lambda: _descriptors() <= descriptors and _children() <= children)
    assert _descriptors() <= descriptors
    assert _children() <= children
    left = {task for task in asyncio.all_tasks() - tasks if "TestRunner" not in repr(task)}
    assert left <= {asyncio.current_task()}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
