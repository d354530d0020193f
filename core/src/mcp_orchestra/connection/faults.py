"""Turns whatever a connection or a request can end with into one plain record, and that into our errors.

The SDK reports failures as `MCPError`s with overloaded codes, nested exception groups, foreign exceptions and stray
cancellations; nothing above this package sees any of them.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import anyio
import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND
from pydantic import ValidationError

from mcp_orchestra.connection.fault import Fault, one_line
from mcp_orchestra.connection.rpc_faults import of_rpc_error, of_transport_error
from mcp_orchestra.errors import ConfigurationError, MCPConnectionError
from mcp_orchestra.http.failures import delivered_by, exhausted

__all__ = ["METHOD_NOT_FOUND", "Fault", "fault_of"]


def fault_of(error: BaseException, *, closed: bool = True, overdue: bool = True) -> Fault:
    """Return what went wrong, from the most telling leaf of an exception (group).

    Args:
        error: What was raised.
        closed: Whether the connection has ended or was never made; if not, "connection closed" is what a server says.
        overdue: Whether the time for it has passed; if not, a timeout is what a server says of others.
    """
    faults = [(_classify(leaf, closed=closed, overdue=overdue), leaf) for leaf in _leaves(error)]
    fault, leaf = min(faults, key=_dullness)
    return replace(fault, error=leaf)


_DULL = {"unexpected": 2, "lost": 3, "cancelled": 4}


def _dullness(found: tuple[Fault, BaseException]) -> int:
    """Rank a leaf: a transport's own word explains more than the closed streams and cancellations that follow."""
    fault, leaf = found
    return 0 if isinstance(leaf, MCPConnectionError) else _DULL.get(fault.cause, 1)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _classify(error: BaseException, *, closed: bool, overdue: bool) -> Fault:
    match error:
        case MCPConnectionError():
            return _of_transport(error)
        case ConfigurationError():
            return Fault(
                reason=one_line(error) or "bad options", cause="configuration", delivered="no", retryable=False
            )
        case MCPError():
            return of_rpc_error(error, closed=closed, overdue=overdue)
        case httpx2.HTTPError():
            return _of_http_error(error)
        case ValidationError():
            where = next((problem["loc"] for problem in error.errors(include_input=False, include_url=False)), ())
            place = one_line(".".join(map(str, where)))[:200]
            return Fault(reason=f"the answer does not follow the protocol (at {place})", cause="protocol")
        case TimeoutError():
            return Fault(reason="no answer in time", cause="timeout")
        case OSError():
            return _of_os_error(error)
        case anyio.EndOfStream() | anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return Fault(reason="the connection was closed", cause="lost")
        case RuntimeError() if _INVALID_OUTPUT.match(str(error)):
            return Fault(reason="the tool's output does not match its schema", cause="invalid_output", delivered="yes")
        case asyncio.CancelledError():
            return Fault(reason="the connection was torn down", cause="cancelled")
        case _:
            name, text = type(error).__name__, one_line(error)
            return Fault(reason=one_line(f"{name}: {text}" if text else name), cause="unexpected")


# What the SDK raises when a tool has run and its result is not what the tool had announced (mcp.client.session).
_INVALID_OUTPUT = re.compile(
    "Tool .* has an output schema but|Invalid (?:schema for|structured content returned by) tool"
)


def _of_transport(error: MCPConnectionError) -> Fault:
    """Take what a transport says for itself."""
    status, retry_after = error.context.get("status"), error.context.get("retry_after")
    return Fault(
        reason=one_line(error) or "the transport cannot connect",
        cause=str(error.context.get("cause") or "unreachable"),
        delivered="no",
        retryable=bool(error.context.get("retryable", True)),
        status=status if isinstance(status, int) else None,
        retry_after=retry_after if isinstance(retry_after, str) else None,
    )


_EXHAUSTED = "this system has no descriptors, ports or memory left"


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
        case _ if exhausted(error):
            return Fault(reason=_EXHAUSTED, cause="resources")
        case ConnectionError():
            return Fault(reason="the connection broke", cause="lost")
        case _:
            return Fault(reason=one_line(error.strerror or "") or type(error).__name__, cause="unreachable")


def _of_http_error(error: httpx2.HTTPError) -> Fault:
    """Read what a transport without the help of ``mcp_orchestra.http`` lets through."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Fault(reason="no connection in time", cause="timeout", delivered="no")
        case httpx2.TimeoutException():
            return Fault(reason="no answer in time", cause="timeout")
        case httpx2.ConnectError():
            if exhausted(error):
                return Fault(reason=_EXHAUSTED, cause="resources", delivered="no")
            for earlier in _causes(error):
                if isinstance(earlier, ssl.SSLError | socket.gaierror):
                    return replace(_of_os_error(earlier), delivered="no")
            return Fault(reason="connection refused or host unreachable", cause="refused", delivered="no")
        case httpx2.HTTPStatusError():
            status = error.response.status_code
            return of_transport_error(
                f"HTTP status {status}",
                {
                    "kind": "http",
                    "status": status,
                    "delivered": delivered_by(status),
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
