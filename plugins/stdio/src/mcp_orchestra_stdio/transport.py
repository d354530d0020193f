"""The stdio transport: newline-delimited JSON-RPC over the pipes of a child process.

Not the SDK's, whose reader takes time in the square of a message's size, has no limit to it, dies of one wrong byte,
leaves a server's children running, and sends a server's standard error to ours.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_orchestra.types import Endpoint

from mcp_orchestra_stdio import StdioOptions
from mcp_orchestra_stdio.framing import Lines
from mcp_orchestra_stdio.messages import Parser, line_of, refusal
from mcp_orchestra_stdio.process import ServerProcess, running
from mcp_orchestra_stdio.stderr import collect

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams  # the SDK exports the protocol, but not this alias

__all__ = ["stdio"]

_LAST_WORDS = 0.25  # seconds for what is still in the pipes of a process that has ended
_LAST_BREATH = 0.5  # seconds for a process to end after it has closed its output
_UNSENT = 16  # messages that wait for a server which does not read, before the sender waits

_Incoming = MemoryObjectSendStream[SessionMessage | Exception]


@asynccontextmanager
async def stdio(endpoint: Endpoint[StdioOptions]) -> "AsyncGenerator[TransportStreams]":
    """Run a server and connect to it; the read stream ends when the server has ended or closed a pipe.

    Raises:
        MCPConnectionError: The server cannot be started.
    """
    async with running(endpoint.options) as process:
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage](_UNSENT)
        async with to_client, from_server, to_server, from_client, anyio.create_task_group() as tasks:
            pipes = _Pipes(endpoint, process, to_client)
            tasks.start_soon(pipes.read)
            tasks.start_soon(pipes.collect_stderr)
            tasks.start_soon(pipes.write, from_client)
            tasks.start_soon(pipes.await_exit)
            yield from_server, to_server
            tasks.cancel_scope.cancel()


class _Pipes:
    """Moves messages between a process and the streams of a transport."""

    def __init__(self, endpoint: Endpoint[StdioOptions], process: ServerProcess, messages: _Incoming) -> None:
        self._limit = endpoint.max_message_bytes
        self._diagnostics = endpoint.diagnostics
        self._process = process
        self._messages = messages
        self._stdout_ended = anyio.Event()
        self._stderr_ended = anyio.Event()
        self._exited = anyio.Event()

    async def read(self) -> None:
        """Pass on what the server says."""
        lines, parser = Lines(self._limit), Parser(self._limit, self._diagnostics)
        try:
            while True:
                for line in lines.feed(await self._process.stdout.receive()):
                    if (message := await parser.parse(line)) is not None:
                        await self._messages.send(message)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._stdout_ended.set()
        # As a rule the process is ending: its status and last words are worth a moment.
        with anyio.move_on_after(_LAST_BREATH):
            await self._exited.wait()
            await self._stderr_ended.wait()
        self._messages.close()

    async def collect_stderr(self) -> None:
        """Keep what the server writes to its standard error."""
        await collect(self._process.stderr, self._diagnostics)
        self._stderr_ended.set()

    async def write(self, messages: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Pass on what is said to the server."""
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for message in messages:
                if (line := line_of(message.message)) is not None:
                    await self._process.stdin.send(line)
                elif (answer := refusal(message.message)) is not None:
                    await self._messages.send(answer)
            return
        # It no longer listens: its calls must not wait for answers that cannot come.
        with anyio.move_on_after(_LAST_BREATH):
            await self._exited.wait()
        self._messages.close()

    async def await_exit(self) -> None:
        """Note how the process ends, and end the read stream even if somebody else holds its pipes."""
        self._diagnostics.exit_code = await self._process.exited()
        self._exited.set()
        with anyio.move_on_after(_LAST_WORDS):
            await self._stdout_ended.wait()
            await self._stderr_ended.wait()
        self._messages.close()
