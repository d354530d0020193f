"""Opens the event stream and learns from it where messages are to be sent."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import (
    FAILURES,
    connection_failed,
    connection_refused,
    media_type,
    origin,
    redirect_target,
    redirected,
    send,
)
from mcp_orchestra.redaction import safe_url

__all__ = ["address_for_messages", "event_stream"]


@asynccontextmanager
async def event_stream(client: httpx2.AsyncClient, url: str) -> AsyncGenerator[httpx2.Response]:
    """Open the event stream for the length of the block.

    Raises:
        MCPConnectionError: There is none at the address.
    """
    request = client.build_request("GET", url, headers={"accept": "text/event-stream", "cache-control": "no-store"})
    try:
        response = await send(client, request)
    except FAILURES as error:
        raise connection_failed(error, url) from error
    try:
        if (target := redirect_target(response, response.url)) is not None:
            raise redirected(target, response.status_code, url)
        if not response.is_success:
            raise connection_refused(response, url)
        if media_type(response) != "text/event-stream":
            raise MCPConnectionError(
                f"cannot connect to {safe_url(url)}: it answered with {media_type(response) or 'no content type'} "
                "instead of an event stream; check the path, or try transport: streamable-http",
                {"cause": "protocol", "retryable": True, "status": response.status_code},
            )
        yield response
    finally:
        await response.aclose()


async def address_for_messages(events: AsyncIterator[httpx2.ServerSentEvent], url: httpx2.URL) -> httpx2.URL:
    """Wait for the event that names where to POST messages to.

    Raises:
        MCPConnectionError: The stream ended before, or the address is not on the origin of ``url``: our credentials
            would go to a stranger.
    """
    where = safe_url(str(url))
    try:
        async for event in events:
            if event.event == "endpoint":
                return _on_origin(url, event.data)
    except FAILURES as error:
        raise connection_failed(error, str(url)) from error
    raise MCPConnectionError(
        f"cannot connect to {where}: its event stream ended without naming an address for messages",
        {"cause": "protocol", "retryable": True},
    )


def _on_origin(url: httpx2.URL, named: str) -> httpx2.URL:
    try:
        address = url.join(named.strip())
    except httpx2.InvalidURL:
        raise MCPConnectionError(
            f"cannot connect to {safe_url(str(url))}: it names an invalid address for messages",
            {"cause": "protocol", "retryable": False},
        ) from None
    if origin(address) != origin(url) or address.userinfo:
        raise MCPConnectionError(
            f"cannot connect to {safe_url(str(url))}: the server at {origin(url)} names an address for messages "
            f"at {origin(address)}, where our credentials must not go",
            {"cause": "protocol", "retryable": False},
        )
    return address
