"""Runs the command, in this process where it can and in one of its own where it must."""

import asyncio
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mcp.server import Server
from mcp_orchestra.testing.servers import ScriptedServer, serve, server_command
from mcp_orchestra_cli.main import main
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

COMMAND = [sys.executable, "-m", "mcp_orchestra_cli"]
DEADLINE = 60.0


@dataclass
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees another's configuration, or that of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    for name in ("MCP_ORCHESTRA_CONFIG", "MCP_ORCHESTRA_DISABLE_PLUGINS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Outcome]:
    """Run the command in this process, its output captured where it goes: at the file descriptors."""

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Outcome(code, out.decode(), err.decode())

    return run


@pytest.fixture
def process() -> Callable[..., Outcome]:
    """Run the command as a process of its own."""

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, **(env or {})},
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def terminal() -> Callable[..., Outcome]:
    """Run the command as a process with a pseudo-terminal for all three streams; both outputs are in ``out``."""

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Outcome:
        ours, theirs = pty.openpty()
        started = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **(env or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        watchdog = threading.Timer(DEADLINE, started.kill)
        watchdog.start()
        shown = b""
        try:
            while chunk := _read(ours):
                shown += chunk
            return Outcome(started.wait(DEADLINE), shown.decode(), "")
        finally:
            watchdog.cancel()
            os.close(ours)

    return run


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux: the other side has no more owner
        return b""


@pytest.fixture
def no_process_left(a_folder_of_its_own: Path) -> Iterator[None]:
    """Fail if a test leaves a process behind, whoever its parent is by now: all start in the test's own folder."""
    yield
    _, alive = psutil.wait_procs(list(_others_in(a_folder_of_its_own)), timeout=10)
    assert alive == []


def _others_in(folder: Path) -> Iterator[psutil.Process]:
    for found in psutil.process_iter():
        with suppress(psutil.Error):
            if found.pid != os.getpid() and found.cwd() == str(folder):
                yield found


@dataclass
class Upstreams:
    """Servers that run as long as the tests do, by what they are for."""

    urls: dict[str, str]
    servers: dict[str, ScriptedServer]
    """Those whose contents a test may change."""

    def config(self, **servers: dict[str, Any]) -> dict[str, Any]:
        """Return a configuration; a server without a transport is the upstream of its id."""
        return {
            "mcp_servers": {
                server_id: {"name": server_id.title(), **self._where(server_id, fields), **fields}
                for server_id, fields in servers.items()
            },
            "orchestration": {"max_retries": 0},
        }

    def _where(self, server_id: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {} if "transport" in fields else {"transport": "streamable-http", "url": self.urls[server_id]}


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Upstreams]:
    texts = {
        "res://alpha/greeting": "Grüße\n",
        "res://alpha/plain": "no newline",
        "res://alpha/picture": b"\x89PNG\x00",
    }
    apps: dict[str, ScriptedServer | Starlette] = {
        "alpha": ScriptedServer("alpha", resources=texts),
        "beta": ScriptedServer("beta", resources=2, tools=["echo"]),
        "one": ScriptedServer("one"),
        "two": ScriptedServer("two"),
        "nasty": ScriptedServer("nasty", resources={"res://nasty/\x1b[31mred": "a\x1b]0;title\x07b"}, tools=[]),
        "locked": Starlette(routes=[Route("/mcp", lambda _request: PlainTextResponse("no", 401), methods=["POST"])]),
        "elsewhere": Starlette(routes=[]),
        "bare": Server("bare").streamable_http_app(),
    }
    urls: dict[str, str] = {}
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def run_all(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            for name, app in apps.items():
                urls[name] = await stack.enter_async_context(serve(app))
            ready.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run_all(stop)))
    thread.start()
    assert ready.wait(DEADLINE)
    yield Upstreams(urls, {name: app for name, app in apps.items() if isinstance(app, ScriptedServer)})
    loop.call_soon_threadsafe(stop.set)
    thread.join(DEADLINE)
    loop.close()


@pytest.fixture
def configured(tmp_path: Path, upstreams: Upstreams) -> Callable[..., Path]:
    """Write ``mcp_config.yaml`` with the given servers; ``alpha={}`` is the upstream of that name."""

    def write(**servers: dict[str, Any]) -> Path:
        file = tmp_path / "mcp_config.yaml"
        file.write_text(yaml.safe_dump(upstreams.config(**servers), sort_keys=False))
        return file

    return write


@pytest.fixture
def over_stdio() -> Callable[..., dict[str, Any]]:
    """Return the fields of a scripted server that is a child process."""

    def fields(**options: object) -> dict[str, Any]:
        command, *arguments = server_command("stdio", **options)
        return {"transport": "stdio", "command": command, "args": arguments}

    return fields
