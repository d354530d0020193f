"""Reach MCP servers over streamable HTTP, the protocol's transport for the network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.http import HttpOptions
from mcp_orchestra.types import Endpoint, TransportSpec

if TYPE_CHECKING:
    from mcp.client import Transport

__all__ = ["StreamableHttpOptions", "mcp_orchestra_transports"]


class StreamableHttpOptions(HttpOptions):
    """The options of a server with ``transport: streamable-http``."""

    watch: bool = True
    """Hold an idle TCP connection to the server, which shows at once when the server goes away."""


def _open(endpoint: Endpoint[StreamableHttpOptions]) -> "Transport":
    # Imported here: the SDK takes about a second to import.
    from mcp_orchestra_streamable_http.transport import streamable_http

    return streamable_http(endpoint)


@hookimpl
def mcp_orchestra_transports() -> Iterator[TransportSpec]:
    """Offer the transport ``streamable-http``."""
    yield TransportSpec(
        name="streamable-http",
        open=_open,
        options=StreamableHttpOptions,
        aliases=("http", "streamable_http", "streamableHttp"),
    )
