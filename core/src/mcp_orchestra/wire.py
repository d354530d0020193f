"""What a transport says in a server's place when the server's own answer cannot be had.

A call must always end. Where a connection outlives the failure of one call, the transport answers that call with a
JSON-RPC error made here, whose data tells a program whether the call may be repeated elsewhere. A server could send an
error that looks the same, and have a tool that has run called once more: so each bears a token that only this process
knows.
"""

import json
import re
import secrets
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final, Literal, cast

__all__ = [
    "TRANSPORT_ERROR",
    "Delivered",
    "UnreadableError",
    "answered_id",
    "too_deep",
    "too_large",
    "transport_error",
    "transport_facts",
    "unreadable",
    "unsendable",
]

TRANSPORT_ERROR: Final = 1000
"""The code of every such error. A server may use it too: `transport_facts` tells the two apart."""

Delivered = Literal["no", "maybe", "yes"]
"""Whether the server has carried a request out: ``no`` is proof that it has not, ``yes`` that it has begun."""

_QUOTED: Final = 4096  # characters; more than is shown, so that secrets can be found before the rest is cut off

_TOKEN: Final = secrets.token_hex(16)

_VERSION = rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ANSWER = re.compile(
    rb"\s*\{\s*"
    + _VERSION
    + rb'"id"\s*:\s*(-?\d{1,18}|"(?:[^"\\]|\\.){1,256}")\s*,\s*'
    + _VERSION
    + rb'"(?:result|error)"'
)


class UnreadableError(Exception):
    """What a transport passes on in the place of something that is not a message.

    Args:
        text: What was sent, or its beginning.
    """

    def __init__(self, text: str) -> None:
        super().__init__("not a message")
        self.text: str = text[:_QUOTED]


def transport_error(
    message: str, *, kind: str, delivered: Delivered = "maybe", **facts: str | int | None
) -> dict[str, Any]:
    """Return the error object of a JSON-RPC error response.

    Args:
        message: What happened, in plain words, free of secrets.
        kind: One word for programs: the class of a network failure, ``http``, ``session``, ``resources``,
            ``encoding``, ``too_large``, ``unreadable`` or ``unsendable``.
        delivered: Whether the server has carried the request out.
        **facts: Further data (``status``, ``retry_after``, …); those that are None are left out.
    """
    data = {"kind": kind, "delivered": delivered, **{name: fact for name, fact in facts.items() if fact is not None}}
    return {"code": TRANSPORT_ERROR, "message": message, "data": {**data, "token": _TOKEN}}


def transport_facts(code: int, data: object) -> Mapping[str, object] | None:
    """Return what an error says of a failed request, or None if it was not made by `transport_error` here.

    Args:
        code: The code of a JSON-RPC error.
        data: Its data.
    """
    if code != TRANSPORT_ERROR or not isinstance(data, Mapping):
        return None
    facts = dict(cast("Mapping[str, object]", data))
    token = facts.pop("token", None)
    return facts if isinstance(token, str) and compare_digest(token.encode(), _TOKEN.encode()) else None


def too_large(max_message_bytes: int) -> dict[str, Any]:
    """Return the error object for an answer that is larger than the configured limit."""
    return transport_error(
        f"the answer exceeds max_message_bytes={max_message_bytes}", kind="too_large", delivered="yes"
    )


def unreadable() -> dict[str, Any]:
    """Return the error object for an answer that is no JSON-RPC, or nested more deeply than a parser goes."""
    return transport_error("the answer is not valid JSON-RPC, or nested too deeply", kind="unreadable", delivered="yes")


def too_deep(levels: int) -> dict[str, Any]:
    """Return the error object for an answer that could be parsed, but hardly be copied or written again."""
    return transport_error(f"the answer is nested more than {levels} levels deep", kind="unreadable", delivered="yes")


def unsendable() -> dict[str, Any]:
    """Return the error object for a request that cannot be written as JSON."""
    return transport_error("the request cannot be written as JSON", kind="unsendable", delivered="no")


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
