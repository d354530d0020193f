"""Turns whatever a connection or a request can end with into one plain record, and that into our errors.

The SDK reports failures as `MCPError`s with overloaded codes, nested exception groups, foreign exceptions and stray
cancellations; nothing above this package sees any of them.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import anyio
import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from pydantic import ValidationError

from mcp_orchestra.errors import ConfigurationError, MCPConnectionError
from mcp_orchestra.http import TRANSPORT_ERROR
from mcp_orchestra.http.failures import REFUSED_CREDENTIALS

__all__ = ["METHOD_NOT_FOUND", "Delivered", "Fault", "fault_of"]

Delivered = Literal["no", "maybe", "yes"]
"""Whether the server may have acted on the request."""

_RESOURCE_NOT_FOUND = -32002
"""What servers older than the 2026-07-28 revision answer for an unknown resource."""

_LONGEST_REASON = 300


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a connect or a request failed."""

    reason: str
    """One line for people."""
    cause: str
    """One word for programs: ``timeout``, ``lost``, ``refused``, ``http``, ``auth``, ``rejected``, ``protocol``, …"""
    delivered: Delivered = "maybe"
    retryable: bool = True
    """Whether the same thing may succeed later without anybody changing anything."""
    code: int | None = None
    """The JSON-RPC error code, if the server answered with one."""
    status: int | None = None
    """The HTTP status, if there was one."""
    retry_after: str | None = None
    """The server's ``Retry-After`` header."""

    @property
    def connection_lost(self) -> bool:
        """Whether the connection, and not this one request, is what failed."""
        return self.cause in {"lost", "refused", "session"}

    def context(self) -> dict[str, object]:
        """Return the facts for an error's ``context``."""
        facts = {"cause": self.cause, "retryable": self.retryable, "delivered": self.delivered}
        optional = {"code": self.code, "status": self.status, "retry_after": self.retry_after}
        return {**facts, **{key: value for key, value in optional.items() if value is not None}}


def fault_of(error: BaseException) -> Fault:
    """Return what went wrong, from the most telling leaf of an exception (group)."""
    return _classify(min(_leaves(error), key=_dullness))


_DULL = {"unexpected": 2, "lost": 3, "cancelled": 4}


def _dullness(leaf: BaseException) -> int:
    """Rank a leaf: a transport's own word explains more than the closed streams and cancellations that follow."""
    return 0 if isinstance(leaf, MCPConnectionError) else _DULL.get(_classify(leaf).cause, 1)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _classify(error: BaseException) -> Fault:
    match error:
        case MCPConnectionError():
            return _of_transport(error)
        case ConfigurationError():
            return Fault(reason=_line(error) or "bad options", cause="configuration", delivered="no", retryable=False)
        case MCPError():
            return _of_rpc_error(error)
        case httpx2.HTTPError():
            return _of_http_error(error)
        case ValidationError():
            where = next((problem["loc"] for problem in error.errors(include_input=False, include_url=False)), ())
            place = _line(".".join(map(str, where)))[:200]
            return Fault(reason=f"the answer does not follow the protocol (at {place})", cause="protocol")
        case TimeoutError():
            return Fault(reason="no answer in time", cause="timeout")
        case OSError():
            return _of_os_error(error)
        case anyio.EndOfStream() | anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return Fault(reason="the connection was closed", cause="lost")
        case RuntimeError() if _INVALID_OUTPUT.match(str(error)):
            return Fault(reason="the tool's output does not match its schema", cause="invalid_output", delivered="yes")
        case _ if type(error).__name__ == "CancelledError":
            return Fault(reason="the connection was torn down", cause="cancelled")
        case _:
            name, text = type(error).__name__, _line(error)
            return Fault(reason=_line(f"{name}: {text}" if text else name), cause="unexpected")


# What the SDK raises when a tool has run and its result is not what the tool had announced (mcp.client.session).
_INVALID_OUTPUT = re.compile(
    "Tool .* has an output schema but|Invalid (?:schema for|structured content returned by) tool"
)


def _line(text: object) -> str:
    """Return the first line of a text or error, fit for a log."""
    try:
        lines = str(text).strip().splitlines()
    except Exception:  # noqa: BLE001  # an exception's own __str__ may raise anything
        return ""
    line = lines[0][:_LONGEST_REASON] if lines else ""
    return "".join(character if character.isprintable() else " " for character in line)


def _of_transport(error: MCPConnectionError) -> Fault:
    """Take what a transport says for itself."""
    status, retry_after = error.context.get("status"), error.context.get("retry_after")
    return Fault(
        reason=_line(error) or "the transport cannot connect",
        cause=str(error.context.get("cause") or "unreachable"),
        delivered="no",
        retryable=bool(error.context.get("retryable", True)),
        status=status if isinstance(status, int) else None,
        retry_after=retry_after if isinstance(retry_after, str) else None,
    )


def _of_os_error(error: OSError) -> Fault:
    match error:
        case FileNotFoundError():
            return Fault(reason="no such file or command", cause="not_found", delivered="no", retryable=False)
        case PermissionError():
            return Fault(reason="permission denied", cause="permission", delivered="no", retryable=False)
        case ConnectionRefusedError():
            return Fault(reason="connection refused", cause="refused", delivered="no")
        case socket.gaierror():
            return Fault(reason="the host name cannot be resolved", cause="dns", delivered="no")
        case ssl.SSLError():
            return Fault(reason="the TLS connection failed", cause="tls")
        case ConnectionError():
            return Fault(reason="the connection broke", cause="lost")
        case _:
            return Fault(reason=_line(error.strerror or "") or type(error).__name__, cause="unreachable")


def _of_http_error(error: httpx2.HTTPError) -> Fault:
    """Read what a transport without the help of ``mcp_orchestra.http`` lets through."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Fault(reason="no connection in time", cause="timeout", delivered="no")
        case httpx2.TimeoutException():
            return Fault(reason="no answer in time", cause="timeout")
        case httpx2.ConnectError():
            for earlier in _causes(error):
                if isinstance(earlier, ssl.SSLError | socket.gaierror):
                    return replace(_of_os_error(earlier), delivered="no")
            return Fault(reason="connection refused or host unreachable", cause="refused", delivered="no")
        case httpx2.HTTPStatusError():
            status = error.response.status_code
            delivered = "rejected" if 400 <= status < 500 else "maybe"
            return _of_transport_error(
                f"HTTP status {status}",
                {
                    "kind": "http",
                    "status": status,
                    "delivered": delivered,
                    "retry_after": error.response.headers.get("retry-after"),
                },
            )
        case _:
            return Fault(reason=f"the connection broke ({type(error).__name__})", cause="lost")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    while (earlier := error.__cause__ or error.__context__) is not None and id(earlier) not in seen:
        seen.add(id(earlier))
        yield earlier
        error = earlier


_REJECTED = {METHOD_NOT_FOUND, HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION}
"""The server did not even begin."""

_HOPELESS = {*_REJECTED, INVALID_REQUEST, INVALID_PARAMS, _RESOURCE_NOT_FOUND}
"""The same request will get the same answer. What is not listed, such as an internal error, may pass."""


def _of_rpc_error(error: MCPError) -> Fault:
    text = _line(error.message)
    raw: object = error.data
    data = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    match error.code:
        case code if code == TRANSPORT_ERROR and "kind" in data:
            return _of_transport_error(text, data)
        case code if code == REQUEST_TIMEOUT:
            return Fault(reason="no answer in time", cause="timeout", code=code)
        case code if code == CONNECTION_CLOSED:
            # "SSE stream failed: …" costs one request; "Connection closed" is the connection's end.
            if text and text != "Connection closed":
                return Fault(reason=text, cause="broken")
            return Fault(reason="the connection was closed", cause="lost")
        case code if code == INVALID_REQUEST and text.startswith("Session "):
            return Fault(reason="the server forgot the session", cause="session", delivered="no", code=code)
        case code if code == PARSE_ERROR:
            return Fault(reason="the answer is not valid JSON-RPC", cause="protocol", code=code)
        case code:
            # A tool that has begun may answer INVALID_PARAMS too: the SDK's servers do so for any ValidationError.
            delivered: Delivered = "no" if code in _REJECTED else "maybe" if code in _HOPELESS else "yes"
            return Fault(
                reason=text or f"error {code}",
                cause="rejected",
                delivered=delivered,
                retryable=code not in _HOPELESS,
                code=code,
            )


_TRANSPORT_CAUSES = {"http": "http", "ConnectError": "refused", "too_large": "too_large", "encoding": "protocol"}


def _of_transport_error(text: str, data: dict[str, object]) -> Fault:
    """Read the error that ``mcp_orchestra.http`` makes of a failed HTTP request."""
    status = data.get("status")
    kind = str(data["kind"])
    delivered: Delivered = "no" if data.get("delivered") in ("no", "rejected") else "maybe"
    cause = "timeout" if "Timeout" in kind else _TRANSPORT_CAUSES.get(kind, "broken")
    if status in REFUSED_CREDENTIALS:
        cause = "auth"
    retry_after = data.get("retry_after")
    return Fault(
        reason=text or "the server did not answer",
        cause=cause,
        delivered="yes" if cause == "too_large" else delivered,
        retryable=cause not in {"auth", "too_large"},
        status=status if isinstance(status, int) else None,
        retry_after=retry_after if isinstance(retry_after, str) else None,
    )
