"""Newline-delimited JSON-RPC over a TCP socket, as a transport for MCP Orchestra."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp_orchestra import Endpoint, TransportSpec, hookimpl
from pydantic import AnyUrl, BaseModel, UrlConstraints


class TcpOptions(BaseModel):
    url: Annotated[AnyUrl, UrlConstraints(allowed_schemes=["tcp"], host_required=True, default_port=8765)]


@asynccontextmanager
async def open_tcp(endpoint: Endpoint[TcpOptions]) -> AsyncGenerator[tuple[Any, Any]]:
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    socket = await anyio.connect_tcp(endpoint.options.url.host or "", endpoint.options.url.port or 0)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive() -> None:
        lines = BufferedByteReceiveStream(socket)
        async with to_session:  # leaving closes it, which tells the session that the server is gone
            try:
                while True:
                    line = await lines.receive_until(b"\n", endpoint.max_message_bytes)
                    await to_session.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.DelimiterNotFound, ValueError) as error:
                endpoint.diagnostics.write(f"the connection ended: {type(error).__name__}")

    async def send() -> None:
        with suppress(anyio.BrokenResourceError):
            async for item in from_session:
                await socket.send(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async with socket, to_server, from_session, from_server, anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        yield from_server, to_server
        tasks.cancel_scope.cancel()


@hookimpl
def mcp_orchestra_transports() -> Iterator[TransportSpec]:
    yield TransportSpec(name="tcp", open=open_tcp, options=TcpOptions)
