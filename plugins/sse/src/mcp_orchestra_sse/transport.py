"""The HTTP+SSE transport: one standing event stream for what the server says, one POST for each thing we say.

The SDK has a client for it, which is not used: a POST that fails ends it silently while its calls wait for ever, it
sends one POST at a time, takes no message over 1 MiB, and hangs when the server names a foreign address.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, cast

import anyio
import httpx2
import mcp_types as types
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_orchestra.decoding import LARGE, decoded
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.http import FAILURES, http_client, plain_url
from mcp_orchestra.types import Endpoint
from mcp_orchestra.wire import UnreadableError, answered_id, unreadable

from mcp_orchestra_sse import SseOptions
from mcp_orchestra_sse.opening import address_for_messages, event_stream
from mcp_orchestra_sse.posts import Posts

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams  # the SDK exports the protocol, but not this alias

__all__ = ["sse"]

_SHOWN = 200  # characters of an event that is no message
_HEAD = 4096  # characters of an event in which the id of an answer is looked for


@asynccontextmanager
async def sse(endpoint: Endpoint[SseOptions]) -> "AsyncGenerator[TransportStreams]":
    """Connect to a server; the read stream ends with the event stream.

    Raises:
        MCPConnectionError: The event stream could not be opened, or does not name an address for messages on its own
            origin.
    """
    url = plain_url(endpoint.options.url)
    async with (
        http_client(endpoint) as client,
        event_stream(client, url) as response,
        aclosing(_events(response)) as events,
    ):
        address = await address_for_messages(events, response.url)
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        async with send, receive, anyio.create_task_group() as tasks:
            tasks.start_soon(_receive, events, send, endpoint.diagnostics)
            async with Posts(client, address, tasks, send) as posts:
                yield receive, posts
                tasks.cancel_scope.cancel()


def _events(response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent, None]:
    # The client has replaced events that are too large: no second limit.
    source = httpx2.EventSource(response, max_event_size=None)
    return cast("AsyncGenerator[httpx2.ServerSentEvent, None]", aiter(source))


async def _receive(
    events: AsyncIterator[httpx2.ServerSentEvent],
    messages: MemoryObjectSendStream[SessionMessage | Exception],
    diagnostics: Diagnostics,
) -> None:
    """Pass on every message of the event stream, and end the read stream with it."""
    async with messages:
        try:
            async for event in events:
                if event.event != "message" or not event.data:
                    continue
                try:
                    message = await _message(event.data)
                except ValueError:
                    diagnostics.write(f"event stream: not a JSON-RPC message: {event.data[:_SHOWN]!r}")
                    await messages.send(_instead(event.data))
                    continue
                if isinstance(message, types.JSONRPCError) and message.id is None:
                    diagnostics.write(f"event stream: an error that answers no request: {message.error.message}")
                    continue
                await messages.send(SessionMessage(message))
        except (*FAILURES, anyio.BrokenResourceError):
            return  # cut by the server, or nobody reads any more


async def _message(data: str) -> types.JSONRPCMessage:
    if len(data) >= LARGE:
        return types.jsonrpc_message_adapter.validate_python(await decoded(data.encode()), by_name=False)
    return types.jsonrpc_message_adapter.validate_json(data, by_name=False)


def _instead(data: str) -> SessionMessage | Exception:
    """Return what takes the place of an event that cannot be read: where it answers a call, the error of that call."""
    if (request_id := answered_id(data[:_HEAD].encode())) is None:
        return UnreadableError(data)
    error = types.ErrorData.model_validate(unreadable())
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))
