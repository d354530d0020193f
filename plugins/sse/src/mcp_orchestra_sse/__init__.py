"""Reach MCP servers over HTTP with server-sent events, the transport that streamable HTTP replaced."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.http import HttpOptions
from mcp_orchestra.types import Endpoint, TransportSpec

if TYPE_CHECKING:
    from mcp.client import Transport

__all__ = ["SseOptions", "mcp_orchestra_transports"]


class SseOptions(HttpOptions):
    """The options of a server with ``transport: sse``."""


def _open(endpoint: Endpoint[SseOptions]) -> "Transport":
    # Imported here: the SDK takes about a second to import.
    from mcp_orchestra_sse.transport import sse

    return sse(endpoint)


@hookimpl
def mcp_orchestra_transports() -> Iterator[TransportSpec]:
    """Offer the transport ``sse``."""
    yield TransportSpec(
        name="sse",
        open=_open,
        options=SseOptions,
        deprecated="the protocol has replaced it: use transport: streamable-http if the server offers that too",
    )
