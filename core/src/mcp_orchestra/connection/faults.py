"""Turns whatever a connection or a request can end with into one plain record, and that into our errors.

The SDK reports failures as `MCPError`s with overloaded codes, nested exception groups, foreign exceptions and stray
cancellations; nothing above this package sees any of them.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
)
from pydantic import ValidationError

from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import TRANSPORT_ERROR

__all__ = ["RESOURCE_NOT_FOUND", "Delivered", "Fault", "fault_of"]

Delivered = Literal["no", "maybe", "yes"]
"""Whether the server may have acted on the request."""

RESOURCE_NOT_FOUND = -32002
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
    faults = [_classify(leaf) for leaf in _leaves(error)]
    # A transport's own word explains more than the cancellations and closed streams that follow from it.
    return min(faults, key=lambda fault: _TELLING.get(fault.cause, 1), default=_UNKNOWN)


_UNKNOWN = Fault(reason="the connection ended for no stated reason", cause="lost")
_TELLING = {"lost": 2, "cancelled": 3}


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
            return Fault(
                reason=error.message,
                cause=str(error.context.get("cause", "unreachable")),
                delivered="no",
                retryable=bool(error.context.get("retryable", True)),
                status=error.context.get("status"),
                retry_after=error.context.get("retry_after"),
            )
        case MCPError():
            return _of_rpc_error(error)
        case TimeoutError():
            return Fault(reason="no answer in time", cause="timeout")
        case ValidationError():
            where = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])
            return Fault(reason=f"the answer does not follow the protocol (at {where})", cause="protocol")
        case FileNotFoundError():
            return Fault(reason="no such file or command", cause="not_found", delivered="no", retryable=False)
        case PermissionError():
            return Fault(reason="permission denied", cause="permission", delivered="no", retryable=False)
        case httpx2.ConnectTimeout():
            return Fault(reason="no connection in time", cause="timeout", delivered="no")
        case httpx2.ConnectError() if isinstance(error.__cause__, ssl.SSLError):
            return Fault(reason="the TLS handshake failed", cause="tls", delivered="no")
        case httpx2.ConnectError():
            return Fault(reason="connection refused or host unreachable", cause="refused", delivered="no")
        case httpx2.TimeoutException():
            return Fault(reason="no answer in time", cause="timeout")
        case httpx2.HTTPStatusError():
            status = error.response.status_code
            return Fault(reason=f"HTTP status {status}", cause="http", delivered="no", status=status)
        case httpx2.TransportError():
            return Fault(reason=f"the connection broke ({type(error).__name__})", cause="lost")
        case ConnectionRefusedError():
            return Fault(reason="connection refused", cause="refused", delivered="no")
        case OSError():
            return Fault(reason=error.strerror or type(error).__name__, cause="unreachable")
        case RuntimeError() if "output" in str(error) or "structured content" in str(error):
            return Fault(reason="the tool's output does not match its schema", cause="invalid_output", delivered="yes")
        case _ if type(error).__name__ == "CancelledError":
            return Fault(reason="the connection was torn down", cause="cancelled")
        case _:
            text = str(error).strip().partition("\n")[0][:_LONGEST_REASON]
            return Fault(reason=f"{type(error).__name__}: {text}" if text else type(error).__name__, cause="unexpected")


def _of_rpc_error(error: MCPError) -> Fault:
    text = error.message.strip().partition("\n")[0][:_LONGEST_REASON]
    raw: object = error.data
    data = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    match error.code:
        case code if code == TRANSPORT_ERROR:
            return _of_transport_error(text, data)
        case code if code == REQUEST_TIMEOUT:
            return Fault(reason="no answer in time", cause="timeout", code=code)
        case code if code == CONNECTION_CLOSED:
            # "SSE stream failed: …" costs one request; "Connection closed" is the connection's end.
            lost = text == "Connection closed"
            return Fault(reason="the connection was closed" if lost else text, cause="lost" if lost else "broken")
        case code if code == INVALID_REQUEST and text.startswith("Session "):
            return Fault(reason="the server forgot the session", cause="session", delivered="no", code=code)
        case code if code == PARSE_ERROR:
            return Fault(reason="the answer is not valid JSON-RPC", cause="protocol", code=code)
        case code if code in (METHOD_NOT_FOUND, INVALID_PARAMS, RESOURCE_NOT_FOUND):
            return Fault(reason=text, cause="rejected", delivered="no", retryable=False, code=code)
        case code:
            return Fault(reason=text or f"error {code}", cause="rejected", delivered="yes", retryable=False, code=code)


_TRANSPORT_CAUSES = {"http": "http", "ConnectError": "refused", "too_large": "too_large", "encoding": "protocol"}


def _of_transport_error(text: str, data: dict[str, object]) -> Fault:
    """Read the error that ``mcp_orchestra.http`` makes of a failed HTTP request."""
    status = data.get("status")
    kind = str(data.get("kind", ""))
    delivered: Delivered = "maybe" if data.get("delivered") == "maybe" else "no"
    cause = _TRANSPORT_CAUSES.get(kind, "broken")
    if status in (401, 403):
        cause = "auth"
    if "Timeout" in kind:
        cause = "timeout"
    retry_after = data.get("retry_after")
    return Fault(
        reason=text,
        cause=cause,
        delivered="yes" if cause == "too_large" else delivered,
        retryable=cause not in {"auth", "too_large"},
        status=status if isinstance(status, int) else None,
        retry_after=retry_after if isinstance(retry_after, str) else None,
    )
