"""Orchestrators over scripted servers, and proof that nothing is left of them."""

import asyncio
import gc
import inspect
import json
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator
from mcp_orchestra.caching import open_cache
from mcp_orchestra.testing.servers import serve, server_command
from mcp_orchestra.testing.valkey import ValkeyServer

Configure = Callable[..., MCPOrchestrator]
Until = Callable[..., Awaitable[Any]]

PATIENT = 5.0
"""Seconds."""


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


@pytest.fixture
def until() -> Until:
    """Wait until a condition holds, for ten seconds at most, and return what it returned: ``await until(condition)``.

    The condition may be a function or a coroutine function.
    """

    async def wait(condition: Callable[[], Any], *, seconds: float = 10) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                outcome = condition()
                if inspect.isawaitable(outcome):
                    outcome = await outcome
                if outcome:
                    return outcome
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A real server for all tests, in which each has a namespace of its own."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(params=["memory", "disk", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every built-in cache backend in turn."""
    return str(request.param)


@pytest.fixture
def caches(valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What a configuration says to use each backend: an empty one, and patient, for the machine may be busy."""
    monkeypatch.setitem(open_cache.__kwdefaults__, "store_timeout", PATIENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    namespace = f"test-{uuid.uuid4().hex}"
    patient = {"connect_timeout": PATIENT, "socket_timeout": PATIENT}
    options: dict[str, dict[str, Any]] = {
        "memory": {},
        "disk": {"timeout": PATIENT},
        "redis": {"url": valkey.url, "namespace": namespace, **patient},
    }
    return {backend: {"backend": backend, "options": fields} for backend, fields in options.items()}


@pytest.fixture
def cache(backend: str, caches: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a configuration says to use the backend."""
    return caches[backend]


class Deployment:
    """Orchestrators over files that differ in one line from one that says ``backend: memory``.

    Args:
        folder: Where the files are.
        cache: What the line says, in which everything about the cache stands.
    """

    def __init__(self, folder: Path, cache: dict[str, Any]) -> None:
        self.cache = cache
        self._folder = folder
        self._made: list[MCPOrchestrator] = []

    def __call__(
        self,
        servers: dict[str, dict[str, Any]],
        *,
        fail_fast: bool = False,
        timeout: float = 20,
        **rules: Any,
    ) -> MCPOrchestrator:
        """Write the file and return an orchestrator over it; ``rules`` are those of ``orchestration.cache``."""
        lines = ["mcp_servers:"]
        for key, fields in servers.items():
            lines.append(f"  {key}: {json.dumps({'name': key.title(), 'timeout': timeout, **fields})}")
        lines += ["orchestration:", f"  fail_fast: {json.dumps(fail_fast)}"]
        on_memory = f"  cache: {json.dumps({'backend': 'memory', 'options': {}, **rules})}"
        text = "\n".join([*lines, on_memory, ""])
        path = self._folder / f"{uuid.uuid4().hex}.yaml"
        path.write_text(text.replace(on_memory, f"  cache: {json.dumps({**self.cache, **rules})}"))
        differing = [
            pair for pair in zip(text.splitlines(), path.read_text().splitlines(), strict=True) if len(set(pair)) > 1
        ]
        assert len(differing) == (self.cache["backend"] != "memory")
        self._made.append(MCPOrchestrator(path))
        return self._made[-1]

    async def close(self) -> None:
        """Close all orchestrators."""
        for orchestrator in self._made:
            await orchestrator.close()


@pytest.fixture
async def deploy(serving: object, tmp_path: Path, cache: dict[str, Any]) -> AsyncIterator[Deployment]:
    """Make orchestrators from server fields by id, over configuration files; they are closed at the end."""
    deployment = Deployment(tmp_path, cache)
    yield deployment
    await deployment.close()


@pytest.fixture
def silent() -> Iterator[Callable[[int], socket.socket]]:
    """Listen on ports and never answer, until the socket is closed: ``silent(port).close()``."""
    with ExitStack() as stack:

        def listen(port: int) -> socket.socket:
            # The kernel takes connections and what is sent over them; nobody reads it.
            return stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=100))

        yield listen
