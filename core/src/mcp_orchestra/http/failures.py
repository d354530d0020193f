"""From a failure of HTTP to one of our errors: why, in plain words, and whether to try again."""

import errno
import http
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final, cast

import httpx2

from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.redaction import safe_url
from mcp_orchestra.wire import Delivered, transport_error

__all__ = [
    "FAILURES",
    "REFUSED_CREDENTIALS",
    "NotSentError",
    "call_failed",
    "call_redirected",
    "call_refused",
    "connection_failed",
    "connection_refused",
    "delivered_by",
    "exhausted",
    "reason",
    "redirected",
    "session_forgotten",
]

FAILURES: Final = (httpx2.HTTPError, OSError)
"""What a request can raise for reasons outside this process."""

REFUSED_CREDENTIALS: Final = frozenset({401, 403, 407})


class NotSentError(OSError):
    """A request that was not sent for a reason of ours: its address is blocked, or there is no token for it.

    Args:
        cause: One word for programs: ``blocked``, ``auth``, …
        words: Why, in plain words, free of secrets.
        retryable: Whether it may be different later without anybody changing anything.
    """

    def __init__(self, cause: str, words: str, *, retryable: bool) -> None:
        super().__init__(words)
        self.cause = cause
        self.words = words
        self.retryable = retryable


_NOT_SENT = (NotSentError, httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_NOT_CARRIED_OUT = frozenset({401, 403, 405, 413, 429})  # any other status may follow what a tool has done
_RETRY_AFTER = re.compile(
    r"[0-9]{1,9}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
)  # RFC 9110, 10.2.3
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
_CERTIFICATE = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed; name its authority in ca_file",
    19: "is signed by an unknown authority; name it in ca_file",
    20: "is signed by an unknown authority; name it in ca_file",
    21: "is signed by an unknown authority; name it in ca_file",
    23: "is revoked",
    62: "is for another host name",
    64: "is for another address",
}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that led to it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        found = todo.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        todo += [found.__context__, found.__cause__]
        if isinstance(found, BaseExceptionGroup):
            todo += cast("BaseExceptionGroup[BaseException]", found).exceptions


def exhausted(error: BaseException) -> bool:
    """Tell whether this system has no descriptors, ports or memory left, which says nothing about the server.

    Of several addresses that were tried, each must have failed for that reason: where there is no IPv6, that of
    ``localhost`` cannot be assigned although nothing is short.
    """
    numbers = {found.errno for found in _chain(error) if isinstance(found, OSError) and found.errno is not None}
    return bool(numbers) and numbers <= _EXHAUSTED


def delivered_by(status: int) -> Delivered:
    """Return whether a request was carried out that was answered with an HTTP error status."""
    return "no" if status in _NOT_CARRIED_OUT else "maybe"


def reason(error: BaseException) -> tuple[str, str]:
    """Return the short word and the plain words for a failure."""
    if isinstance(error, NotSentError):
        return error.cause, error.words
    if isinstance(error, OSError | httpx2.ConnectError) and exhausted(error):
        return "resources", "this system has no descriptors, ports or memory left"
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "timeout", "no connection was made in time"
    if isinstance(error, httpx2.TimeoutException):
        return "timeout", "no answer came in time"
    for found in _chain(error):
        match found:
            case socket.gaierror():
                return "dns", "its host name cannot be resolved"
            case ssl.SSLCertVerificationError():
                return "tls", f"its certificate {_CERTIFICATE.get(found.verify_code, 'is not accepted')}"
            case ssl.SSLError():
                return "tls", "no TLS connection could be agreed on; does it speak https?"
            case ConnectionRefusedError():
                return "refused", "the connection was refused"
            case _:
                pass
    match error:
        case httpx2.ProxyError():
            return "proxy", "the proxy refused to connect to it"
        case httpx2.ConnectError():
            return "unreachable", "it cannot be reached"
        case httpx2.RemoteProtocolError():
            return "protocol", "the connection ended without a complete HTTP answer"
        case httpx2.DecodingError():
            return "protocol", "its answer is compressed in a broken way"
        case _:
            return "network", "the connection was cut"


def _status(status: int) -> str:
    try:
        return f"HTTP {status} ({http.HTTPStatus(status).phrase})"
    except ValueError:
        return f"HTTP {status}"


def _retry_after(response: httpx2.Response) -> str | None:
    """Return the header if it is what it should be: it gets into contexts, and might as well quote a credential."""
    value = response.headers.get("retry-after", "")
    return value if _RETRY_AFTER.fullmatch(value) else None


def connection_failed(error: BaseException, url: str) -> MCPConnectionError:
    """Return the error for a server that could not be reached."""
    cause, words = reason(error)
    retryable = not isinstance(error, NotSentError) or error.retryable
    return MCPConnectionError(f"cannot connect to {safe_url(url)}: {words}", {"cause": cause, "retryable": retryable})


def connection_refused(response: httpx2.Response, url: str) -> MCPConnectionError:
    """Return the error for a server that answered the handshake with an HTTP error status."""
    status = response.status_code
    auth = status in REFUSED_CREDENTIALS
    words = "it refused the credentials with" if auth else "it answered"
    context: dict[str, Any] = {"cause": "auth" if auth else "http", "retryable": not auth, "status": status}
    if (retry_after := _retry_after(response)) is not None:
        context["retry_after"] = retry_after
    return MCPConnectionError(f"cannot connect to {safe_url(url)}: {words} {_status(status)}", context)


def redirected(target: httpx2.URL, status: int, url: str) -> MCPConnectionError:
    """Return the error for a redirect that is not followed."""
    return MCPConnectionError(
        f"cannot connect to {safe_url(url)}: it redirects to {safe_url(str(target))}, which is not followed; "
        "configure that address if it is the right server",
        {"cause": "redirect", "retryable": False, "status": status},
    )


def call_failed(error: BaseException) -> dict[str, Any]:
    """Return the JSON-RPC error object for a call whose request or answer was lost on the way."""
    cause, words = reason(error)
    ours = isinstance(error, NotSentError)
    return transport_error(
        f"the server {'was not asked' if ours else 'did not answer'}: {words}",
        kind=cause if ours or cause == "resources" else type(error).__name__,
        delivered="no" if isinstance(error, _NOT_SENT) else "maybe",
    )


def call_refused(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON-RPC error object for a call that was answered with an HTTP error status."""
    status = response.status_code
    challenge = response.headers.get("www-authenticate")
    return transport_error(
        f"the server answered {_status(status)}",
        kind="http",
        delivered=delivered_by(status),
        status=status,
        retry_after=_retry_after(response),
        www_authenticate=challenge and challenge[:1024],
    )


def call_redirected(target: httpx2.URL, status: int) -> dict[str, Any]:
    """Return the JSON-RPC error object for a call that was answered with a redirect which is not followed."""
    return transport_error(
        f"the server answered {_status(status)} to {safe_url(str(target))}, which is not followed",
        kind="http",
        delivered=delivered_by(status),
        status=status,
    )


def session_forgotten() -> dict[str, Any]:
    """Return the JSON-RPC error object for a call whose session the server does not know any more."""
    return transport_error("the server forgot the session", kind="session", delivered="no", status=404)
