"""Reads JSON-RPC errors: the server's, those that the SDK makes with the same codes, and those that a transport makes.

A server may answer with any code and text, so neither says who speaks: what the SDK means by a code counts only where
what we know of the connection agrees, and a transport's word only with its token.
"""

from collections.abc import Mapping
from typing import cast

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

from mcp_orchestra.connection.fault import Fault, one_line
from mcp_orchestra.http.failures import REFUSED_CREDENTIALS
from mcp_orchestra.wire import Delivered, transport_facts

__all__ = ["of_rpc_error", "of_transport_error"]

_RESOURCE_NOT_FOUND = -32002
"""What servers older than the 2026-07-28 revision answer for an unknown resource."""

_REJECTED = {METHOD_NOT_FOUND, HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION}
"""The server did not even begin, by the protocol's word. Another server is not asked all the same."""

_HOPELESS = {*_REJECTED, INVALID_REQUEST, INVALID_PARAMS, _RESOURCE_NOT_FOUND}
"""The same request will get the same answer. What is not listed, such as an internal error, may pass."""


def of_rpc_error(error: MCPError, *, closed: bool, overdue: bool) -> Fault:
    """Return what an error response means.

    Args:
        error: As the SDK raises it.
        closed: Whether the connection has ended, so that the SDK may be who says that it is closed.
        overdue: Whether the request's time has passed, so that the SDK may be who says so.
    """
    code, text, raw = error.code, one_line(error.message), error.data
    if (facts := transport_facts(code, raw)) is not None:
        return of_transport_error(text, facts)
    if code == REQUEST_TIMEOUT and overdue:
        return Fault(reason="no answer in time", cause="timeout")  # the code is the SDK's own
    if code == CONNECTION_CLOSED:
        if closed and text in ("", "Connection closed"):
            return Fault(reason="the connection was closed", cause="lost")
        # "SSE stream failed: …" is the SDK's word too, and costs one request; the rest is the server's.
        return Fault(reason=text or f"error {code}", cause="broken", code=code)
    if code == PARSE_ERROR:
        return Fault(reason="the answer is not valid JSON-RPC", cause="protocol", code=code)
    if code == MISSING_REQUIRED_CLIENT_CAPABILITY and (names := _required(raw)):
        text = f"it requires client capabilities that are not offered: {names}"
    # A tool that has begun may answer INVALID_PARAMS too: the SDK's servers do so for any ValidationError.
    delivered: Delivered = "no" if code in _REJECTED else "maybe" if code in _HOPELESS else "yes"
    return Fault(
        reason=text or f"error {code}",
        cause="rejected",
        delivered=delivered,
        retryable=code not in _HOPELESS,
        code=code,
    )


def _required(data: object) -> str:
    """Return the names of the capabilities that a server says it requires (specification 2026-07-28, errors)."""
    required = cast("Mapping[str, object]", data).get("requiredCapabilities") if isinstance(data, Mapping) else None
    names: Mapping[str, object] = cast("Mapping[str, object]", required) if isinstance(required, Mapping) else {}
    return one_line(", ".join(map(str, names)))


_CAUSES = {
    "auth": "auth",
    "blocked": "blocked",
    "http": "http",
    "ConnectError": "refused",
    "encoding": "protocol",
    "resources": "resources",
    "session": "session",
    "too_large": "too_large",
    "unreadable": "protocol",
    "unsendable": "unsendable",
}


def of_transport_error(text: str, facts: Mapping[str, object]) -> Fault:
    """Return what a transport's error means.

    Args:
        text: Its message.
        facts: Its data, as `mcp_orchestra.wire.transport_error` makes it.
    """
    status, retry_after = facts.get("status"), facts.get("retry_after")
    kind = str(facts.get("kind"))
    cause = "timeout" if "Timeout" in kind else _CAUSES.get(kind, "broken")
    if status in REFUSED_CREDENTIALS:
        cause = "auth"
    said = facts.get("delivered")
    delivered: Delivered = "no" if said == "no" else "yes" if said == "yes" else "maybe"
    return Fault(
        reason=text or "the server did not answer",
        cause=cause,
        delivered=delivered,
        retryable=cause not in {"auth", "blocked", "too_large", "unsendable"},
        status=status if isinstance(status, int) else None,
        retry_after=retry_after if isinstance(retry_after, str) else None,
    )
