"""What a transport says in a server's place when the server's own answer cannot be had.

A call must always end. Where a connection outlives the failure of one call, the transport answers that call with a
JSON-RPC error made here, whose data tells a program whether the call may be repeated elsewhere.
"""

import json
import re
from typing import Any, Final, Literal

__all__ = ["TRANSPORT_ERROR", "Delivered", "answered_id", "too_large", "transport_error"]

TRANSPORT_ERROR: Final = 1000
"""The code of every such error: outside the range that JSON-RPC reserves, so it cannot be mistaken for a peer's."""

Delivered = Literal["no", "maybe", "rejected"]
"""Whether the server got the request: ``no`` and ``rejected`` prove that it was not carried out."""

_VERSION = rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ANSWER = re.compile(
    rb"\s*\{\s*"
    + _VERSION
    + rb'"id"\s*:\s*(-?\d{1,18}|"(?:[^"\\]|\\.){1,256}")\s*,\s*'
    + _VERSION
    + rb'"(?:result|error)"'
)


def transport_error(
    message: str, *, kind: str, delivered: Delivered = "maybe", **facts: str | int | None
) -> dict[str, Any]:
    """Return the error object of a JSON-RPC error response.

    Args:
        message: What happened, in plain words, free of secrets.
        kind: One word for programs: the class of a network failure, ``http``, ``encoding`` or ``too_large``.
        delivered: Whether the server got the request.
        **facts: Further data (``status``, ``retry_after``, …); those that are None are left out.
    """
    data = {"kind": kind, "delivered": delivered, **{name: fact for name, fact in facts.items() if fact is not None}}
    return {"code": TRANSPORT_ERROR, "message": message, "data": data}


def too_large(max_message_bytes: int) -> dict[str, Any]:
    """Return the error object for an answer that is larger than the configured limit."""
    return transport_error(f"the answer exceeds max_message_bytes={max_message_bytes}", kind="too_large")


def answered_id(head: bytes) -> int | str | None:
    """Return the id of the request that a JSON-RPC response answers, from the first bytes of its text.

    For a response too large to be kept: what follows the head was never read. None where the head does not tell; that
    includes a request of the server's own, whose id would be a stranger among ours.
    """
    if (found := _ANSWER.match(head)) is None:
        return None
    try:
        request_id: int | str = json.loads(found[1])
    except ValueError:
        return None
    return request_id
