"""Makes the HTTP clients of transports: quick to create, bounded, isolated, and discreet about their address."""

import base64
from http.cookiejar import Cookie, CookieJar
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import anyio.abc
import httpx2

from mcp_orchestra.http.auth.authorizing import AuthorizingTransport
from mcp_orchestra.http.auth.bearer import BearerCredentials
from mcp_orchestra.http.auth.options import BearerAuth, ClientCredentialsAuth
from mcp_orchestra.http.bodies import media_type
from mcp_orchestra.http.carrier import carrier
from mcp_orchestra.http.guard import connect
from mcp_orchestra.http.handover import Handover
from mcp_orchestra.http.isolation import IsolatingTransport
from mcp_orchestra.http.options import HttpOptions
from mcp_orchestra.http.origins import followed, redirect_target
from mcp_orchestra.redaction import MASK
from mcp_orchestra.types import Endpoint

__all__ = ["connect_tcp", "http_client", "plain_url", "send"]

_MAX_REDIRECTS: Final = 5
_MOST_COOKIES: Final = 20  # load balancers need one or two
_SESSION: Final = "mcp-session-id"
_MEDIA_TYPES: Final = frozenset(
    {"", "application/json", "application/problem+json", "text/event-stream", "text/html", "text/plain"}
)

HttpOptionsT = TypeVar("HttpOptionsT", bound=HttpOptions)


def plain_url(url: str) -> str:
    """Return the URL without user info, query and fragment: what to ask an `http_client` for.

    The client adds them itself, below everything that logs URLs: httpx2 and the SDK write them to their loggers.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", "", ""))


def http_client(endpoint: Endpoint[HttpOptionsT], handover: Handover | None = None) -> httpx2.AsyncClient:
    """Make the client for one server, to be entered and left by the transport that asked for it.

    It trusts the system's certificate authorities and the configured ones, asks for uncompressed answers, gives idle
    connections up before servers do, has no limit on connections and no read timeout (core puts deadlines round every
    request, and event streams are silent for as long as they like), goes through the proxy that the environment names,
    connects to allowed addresses only, presents the configured credentials to the configured origin and nobody else,
    and isolates failures (`IsolatingTransport`).

    Args:
        endpoint: The server.
        handover: Takes large results past the SDK's parser, for a transport that puts them back.

    Raises:
        MCPConnectionError: ``ca_file`` or the proxy cannot be used.
    """
    options = endpoint.options
    endpoint.addresses.configured(options.url)
    parts = urlsplit(options.url)
    headers = {"accept-encoding": "identity", **options.headers}
    if "@" in parts.netloc and not any(name.lower() == "authorization" for name in options.headers):
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        credentials = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        endpoint.hide(credentials)
        headers["authorization"] = f"Basic {credentials}"
    inner = carrier(options.url, endpoint.addresses, options.ca_file)
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(None, connect=endpoint.connect_timeout),
        transport=IsolatingTransport(
            _Discreet(_authorized(inner, endpoint), options.url),
            max_message_bytes=endpoint.max_message_bytes,
            handover=handover,
        ),
        max_redirects=_MAX_REDIRECTS,
        cookies=_FewCookies(),
    )


async def connect_tcp(endpoint: Endpoint[HttpOptionsT], host: str, port: int) -> anyio.abc.SocketStream:
    """Connect by plain TCP, to where the server's HTTP connections may go.

    Raises:
        OSError: The host cannot be resolved or reached, or its address is blocked.
    """
    endpoint.addresses.configured(endpoint.options.url)
    return await connect(endpoint.addresses, host, port)


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


def _authorized(inner: httpx2.AsyncBaseTransport, endpoint: Endpoint[HttpOptionsT]) -> httpx2.AsyncBaseTransport:
    options = endpoint.options
    match options.auth:
        case BearerAuth():
            return AuthorizingTransport(inner, options.url, BearerCredentials(options.auth, endpoint.hide))
        case ClientCredentialsAuth():
            from mcp_orchestra.http.auth.client_credentials import ClientCredentials  # brings cryptography

            credentials = ClientCredentials(
                options.auth,
                plain_url(options.url),
                lambda url: carrier(url, endpoint.addresses, options.ca_file),
                hide=endpoint.hide,
                timeout=endpoint.connect_timeout,
            )
            endpoint.addresses.configured(options.auth.token_url or options.auth.issuer or "")
            return AuthorizingTransport(inner, options.url, credentials)
        case None:
            return inner


class _FewCookies(CookieJar):
    """Forgets cookies when there are many: a server could fill our memory with them."""

    def set_cookie(self, cookie: Cookie) -> None:
        super().set_cookie(cookie)
        while len(self) > _MOST_COOKIES:
            oldest = next(iter(self))
            self.clear(oldest.domain, oldest.path, oldest.name)


class _Discreet(httpx2.AsyncBaseTransport):
    """Keeps what may be secret from httpx2 and the SDK, which log addresses and unexpected parts of answers.

    The configured query is added here, below them; and what of an answer's head they would repeat, which may quote what
    was sent, is replaced. That includes the id of a session, which is put back into the requests.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: str) -> None:
        self._inner = inner
        self._plain = httpx2.URL(plain_url(url))
        self._query = urlsplit(url).query.encode()
        self._session: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(self._complete(request))
        response.extensions.pop("reason_phrase", None)
        if _SESSION in response.headers:
            if _SESSION not in request.headers:
                self._session = response.headers[_SESSION]
            response.headers[_SESSION] = MASK
        if media_type(response) not in _MEDIA_TYPES:
            response.headers["content-type"] = "application/octet-stream"
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _complete(self, request: httpx2.Request) -> httpx2.Request:
        """Return the request with the query and the session that the layers above do not know."""
        queried = self._query and request.url == self._plain
        headers = request.headers.copy()
        if self._session is not None and headers.get(_SESSION) == MASK:
            headers[_SESSION] = self._session
        return httpx2.Request(
            request.method,
            request.url.copy_with(query=self._query) if queried else request.url,
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )
