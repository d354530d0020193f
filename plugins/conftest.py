"""What the tests of several plug-ins share."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_orchestra.types import Endpoint, TransportSpec


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def connect(spec: TransportSpec) -> Connect:
    """Connect to an endpoint in a task of its own, as core does, and lend the client to the test for 30 seconds."""

    @asynccontextmanager
    async def connected(endpoint: Endpoint[Any], mode: str = "auto") -> AsyncIterator[Client]:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def own() -> None:
            async with Client(spec.open(endpoint), cache=None, mode=mode) as client:
                ready.set_result(client)
                await done.wait()

        owner = asyncio.create_task(own())
        async with asyncio.timeout(30):
            await asyncio.wait({owner, ready}, return_when=asyncio.FIRST_COMPLETED)
            try:
                yield ready.result() if ready.done() else await _failure(owner)
            finally:
                done.set()
                await owner

    return connected


async def _failure(owner: "asyncio.Task[None]") -> Client:
    await owner
    raise AssertionError("it neither connected nor failed")


Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Wait until a condition holds, for ten seconds at most."""
    return _until


async def _until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.01)


@pytest.fixture
async def nothing_is_left(anyio_backend: str) -> AsyncIterator[None]:
    """Fail a test that leaves a descriptor or a task."""
    descriptors, tasks = _descriptors(), asyncio.all_tasks()
    yield
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)  # asyncio closes abandoned generators in tasks
    assert _descriptors() <= descriptors
    # The runner of this test, and a task of the SDK's server.
    theirs = ("TestRunner", "_shutdown_watcher")
    left = {task for task in asyncio.all_tasks() - tasks if not any(name in repr(task) for name in theirs)}
    assert left <= {asyncio.current_task()}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
