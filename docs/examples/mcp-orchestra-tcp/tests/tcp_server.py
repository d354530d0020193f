"""Serves an MCP server over TCP, one line of JSON-RPC at a time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from mcp.server import Server
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter


class TcpServer:
    """A listener on the loopback interface, and the connections that clients have made to it."""

    def __init__(self, server: Server[Any]) -> None:
        self.url = ""
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._writers)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["TcpServer"]:
        """Accept connections for the length of the block."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            self.hang_up()
            with anyio.fail_after(5):
                await asyncio.gather(*self._tasks)
                await listener.wait_closed()

    def send(self, raw: bytes) -> None:
        """Send bytes of one's own to every client."""
        for writer in self._writers:
            writer.write(raw)

    def hang_up(self) -> None:
        """Close every connection, as a server that dies does."""
        for writer in self._writers:
            writer.close()

    async def all_left(self) -> None:
        """Wait until no client is connected any more."""
        with anyio.fail_after(5):
            await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)

        async def receive() -> None:
            async with to_server:
                with suppress(ConnectionError, anyio.BrokenResourceError):
                    async for line in reader:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await to_server.send(SessionMessage(message))

        async def send() -> None:
            with suppress(ConnectionError):
                async for item in from_server:
                    line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
                    writer.write(line + b"\n")
                    await writer.drain()

        try:
            async with to_client, from_client, from_server, anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                tasks.start_soon(send)
                await self._server.run(from_client, to_client, self._server.create_initialization_options())
                tasks.cancel_scope.cancel()
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
