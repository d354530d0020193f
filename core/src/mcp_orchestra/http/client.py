"""Makes the HTTP clients of transports: quick to create, bounded, isolated, and discreet about their address."""

import base64
import functools
import ipaddress
import ssl
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http.handover import Handover
from mcp_orchestra.http.isolation import IsolatingTransport
from mcp_orchestra.http.options import HttpOptions
from mcp_orchestra.http.origins import followed, redirect_target
from mcp_orchestra.types import Endpoint

__all__ = ["environment_proxy", "http_client", "plain_url", "send"]

_KEEP_ALIVE: Final = 120.0  # seconds; httpx2's 5 would mean a new connection for most calls
_MAX_REDIRECTS: Final = 5

HttpOptionsT = TypeVar("HttpOptionsT", bound=HttpOptions)


def plain_url(url: str) -> str:
    """Return the URL without user info, query and fragment: what to ask an `http_client` for.

    The client adds them itself, below everything that logs URLs: httpx2 and the SDK write them to their loggers.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", "", ""))


def http_client(endpoint: Endpoint[HttpOptionsT], handover: Handover | None = None) -> httpx2.AsyncClient:
    """Make the client for one server, to be entered and left by the transport that asked for it.

    It trusts the system's certificate authorities and the configured ones, asks for uncompressed answers, keeps idle
    connections for two minutes, has no limit on connections and no read timeout (core puts deadlines round every
    request, and event streams are silent for as long as they like), goes through the proxy that the environment names,
    and isolates failures (`IsolatingTransport`).

    Args:
        endpoint: The server.
        handover: Takes large results past the SDK's parser, for a transport that puts them back.

    Raises:
        MCPConnectionError: ``ca_file`` or the proxy cannot be used.
    """
    options = endpoint.options
    parts = urlsplit(options.url)
    headers = {"accept-encoding": "identity", **options.headers}
    if "@" in parts.netloc and not any(name.lower() == "authorization" for name in options.headers):
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        credentials = f"{unquote(user)}:{unquote(password)}".encode()
        headers["authorization"] = "Basic " + base64.b64encode(credentials).decode()
    try:
        carrier = httpx2.AsyncHTTPTransport(
            verify=_tls_context(options.ca_file),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE),
            proxy=environment_proxy(options.url),
        )
    except (ImportError, ValueError, httpx2.InvalidURL):
        raise MCPConnectionError(
            "the proxy that the environment names cannot be used; "
            "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or exempt the server in NO_PROXY",
            {"cause": "proxy", "retryable": False},
        ) from None
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(None, connect=endpoint.connect_timeout),
        transport=IsolatingTransport(
            _Addressed(carrier, options.url), max_message_bytes=endpoint.max_message_bytes, handover=handover
        ),
        max_redirects=_MAX_REDIRECTS,
    )


async def send(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Send a request, following redirects only within its origin, and return the response with its body unread.

    The response may be a redirect that was not followed.
    """
    for _ in range(client.max_redirects):
        response = await client.send(request, stream=True, follow_redirects=False)
        target = redirect_target(response, request.url)
        following = response.next_request
        if target is None or following is None:
            return response
        if not followed(request.method, response.status_code, request.url, target):
            return response
        await response.aclose()
        request = following
    return await client.send(request, stream=True, follow_redirects=False)


def environment_proxy(url: str) -> str | None:
    """Return the proxy that ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` name for the URL."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme.lower()) or proxies.get("all")
    host = parts.hostname or ""
    if not proxy or proxy_bypass(host) or _in_exempt_network(host, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _in_exempt_network(host: str, exempt: str) -> bool:
    """Tell whether the host is an address in one of the networks (``10.0.0.0/8``), which the standard library skips."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in exempt.split(","):
        try:
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


class _Addressed(httpx2.AsyncBaseTransport):
    """Adds the configured query to requests for the configured address, where no log sees it."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: str) -> None:
        self._inner = inner
        self._plain = httpx2.URL(plain_url(url))
        self._query = urlsplit(url).query.encode()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._query and request.url == self._plain:
            request = httpx2.Request(
                request.method,
                request.url.copy_with(query=self._query),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return _shared_context(None, 0)
    try:
        return _shared_context(ca_file, Path(ca_file).stat().st_mtime_ns)
    except (OSError, ssl.SSLError):
        raise MCPConnectionError(
            f"ca_file {ca_file!r} cannot be read as PEM certificates", {"cause": "tls", "retryable": False}
        ) from None


@functools.lru_cache(maxsize=32)
def _shared_context(ca_file: str | None, _changed: int) -> ssl.SSLContext:
    """Return the TLS context of this process; reading the system's authorities takes tens of milliseconds."""
    context = httpx2.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
