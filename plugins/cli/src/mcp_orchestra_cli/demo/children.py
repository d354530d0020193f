"""The demo's HTTP servers as processes: started, killed on purpose, started again, and never left behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp_orchestra_cli.demo.contents import READY
from mcp_orchestra_cli.failures import CommandError

__all__ = ["START_SECONDS", "Child", "ended", "server_command", "start"]

START_SECONDS = 30.0
"""How long a server may take to start: it imports the SDK."""


def server_command(role: str, transport: str, port: int | None = None) -> list[str]:
    """Return the command line of a sample server."""
    # -P: a file of the working directory must not be imported in place of a library.
    command = [sys.executable, "-P", "-m", "mcp_orchestra_cli.demo.servers", "--role", role, "--transport", transport]
    return command if port is None else [*command, "--port", str(port)]


class Child:
    """An HTTP server in a process of its own.

    It ends when its standard input does, so it outlives this process by no means, not even a SIGKILL.

    Args:
        role: What it serves.
        transport: How.
    """

    def __init__(self, role: str, transport: str) -> None:
        self.role = role
        self.transport = transport
        self.url = ""
        self.port = 0
        """Chosen at the first start, and the same at every other."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The number of its process while it runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it and wait until it can be connected to.

        Raises:
            CommandError: It did not start.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *server_command(self.role, self.transport, self.port),
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=os.name == "posix",  # Ctrl-C is for us alone
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                line = (await process.stdout.readline()).decode() if process.stdout is not None else ""
        except TimeoutError:
            raise CommandError(f"the sample server {self.role} did not start within {START_SECONDS:.0f} s") from None
        if not line.startswith(READY):
            said = (await process.stderr.read()).decode(errors="replace") if process.stderr is not None else ""
            last = next(reversed(said.strip().splitlines()), "it said nothing")
            raise CommandError(f"the sample server {self.role} did not start: {last}")
        self.url = line.removeprefix(READY).strip()
        self.port = int(self.url.rpartition(":")[2].partition("/")[0])

    def kill(self) -> None:
        """Kill it the hard way, with whatever it has started."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    async def gone(self) -> None:
        """Wait until its process is no more, and release its pipes."""
        if self._process is None:
            return
        # Reads what is left, too: a transport is released when its pipes have ended.
        await self._process.communicate()
        self._process = None


async def start(*wanted: Child) -> None:
    """Start servers at once.

    Raises:
        CommandError: One did not start.
    """
    # All have to come to an end before any is killed, so that each is known by then.
    outcomes = await asyncio.gather(*(child.start() for child in wanted), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


@asynccontextmanager
async def ended(*wanted: Child) -> AsyncGenerator[None]:
    """Kill whatever of these servers runs, on every way out of the block."""
    try:
        yield
    finally:
        for child in wanted:
            child.kill()
        for child in wanted:
            await child.gone()
