"""For authors of transports over HTTP: options, a client, and the isolation of failures.

The names below are loaded on first use: `HttpOptions` comes without httpx2, which the rest needs.

Example::

    class MyOptions(HttpOptions): ...

    @asynccontextmanager
    async def open_mine(endpoint: Endpoint[MyOptions]):
        async with http_client(endpoint) as client, streamable_http_client(
            plain_url(endpoint.options.url), http_client=client, max_sse_event_size=endpoint.max_message_bytes
        ) as streams:
            yield streams
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_orchestra.http.bodies import error_in, media_type
    from mcp_orchestra.http.carrier import environment_proxy
    from mcp_orchestra.http.client import connect_tcp, http_client, plain_url, send
    from mcp_orchestra.http.failures import FAILURES, connection_failed, connection_refused, exhausted, redirected
    from mcp_orchestra.http.handover import Handover
    from mcp_orchestra.http.isolation import IsolatingTransport
    from mcp_orchestra.http.options import HttpOptions
    from mcp_orchestra.http.origins import origin, redirect_target
    from mcp_orchestra.wire import TRANSPORT_ERROR

__all__ = [
    "FAILURES",
    "TRANSPORT_ERROR",
    "Handover",
    "HttpOptions",
    "IsolatingTransport",
    "connect_tcp",
    "connection_failed",
    "connection_refused",
    "environment_proxy",
    "error_in",
    "exhausted",
    "http_client",
    "media_type",
    "origin",
    "plain_url",
    "redirect_target",
    "redirected",
    "send",
]

_HOME = {
    "http.bodies": ("error_in", "media_type"),
    "http.carrier": ("environment_proxy",),
    "http.client": ("connect_tcp", "http_client", "plain_url", "send"),
    "http.failures": ("FAILURES", "connection_failed", "connection_refused", "exhausted", "redirected"),
    "http.handover": ("Handover",),
    "http.isolation": ("IsolatingTransport",),
    "http.options": ("HttpOptions",),
    "http.origins": ("origin", "redirect_target"),
    "wire": ("TRANSPORT_ERROR",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"mcp_orchestra.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
