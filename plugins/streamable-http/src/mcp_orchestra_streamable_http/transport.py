"""The SDK's streamable HTTP transport over our isolated HTTP client, with a read stream that knows when to end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
from mcp.client.streamable_http import streamable_http_client
from mcp_orchestra.http import Handover, connect_tcp, environment_proxy, http_client, plain_url
from mcp_orchestra.types import Endpoint

from mcp_orchestra_streamable_http import StreamableHttpOptions
from mcp_orchestra_streamable_http.streams import EndableReadStream, HeldWriteStream
from mcp_orchestra_streamable_http.watch import watch

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams  # the SDK exports the protocol, but not this alias

__all__ = ["streamable_http"]


@asynccontextmanager
async def streamable_http(endpoint: Endpoint[StreamableHttpOptions]) -> "AsyncGenerator[TransportStreams]":
    """Connect to a server; the read stream ends when the server is gone.

    Nothing is sent on entry: the first request of the handshake makes the first HTTP connection.

    Raises:
        MCPConnectionError: The handshake failed, or ``ca_file`` or the proxy cannot be used.
    """
    options = endpoint.options
    # Behind a proxy a TCP connection would tell of the proxy's health only.
    watched = options.watch and environment_proxy(options.url) is None
    handover = Handover()
    async with (
        http_client(endpoint, handover) as client,
        streamable_http_client(
            plain_url(options.url), http_client=client, max_sse_event_size=endpoint.max_message_bytes
        ) as (read, write),
        anyio.create_task_group() as tasks,
    ):
        stream = EndableReadStream(read, handover.restore)
        if watched:
            tasks.start_soon(watch, options.url, partial(connect_tcp, endpoint), stream.end)
        yield stream, HeldWriteStream(write)
        tasks.cancel_scope.cancel()
