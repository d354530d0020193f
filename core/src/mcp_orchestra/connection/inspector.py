"""Looks at every message before the SDK does, whatever transport it came over."""

import asyncio
import logging
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, cast

import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage

from mcp_orchestra.connection.paging import Page
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.wire import UnreadableError, too_deep, transport_facts

__all__ = ["DEEPEST", "Inspector", "note_protocol_error", "tamed"]

logger: logging.Logger = logging.getLogger(__name__)

DEEPEST: Final = 100
"""Levels of nesting in a message. Parsers, copies and encoders give up at depths from 150 to 1 000."""

_SLICE: Final = 10_000  # values that are looked at without letting anybody else run: some milliseconds

_CONTAINERS: Final = (dict, list)  # made once: this is asked of every value

_UNREADABLE_IN_A_ROW: Final = 10_000  # a banner, or logs that went the wrong way, are no reason to part


class Inspector:
    """Takes out of messages what nothing above could cope with, and counts what the protocol does not allow.

    Args:
        server_id: For the log.
        diagnostics: Where to count.
        lose: Called with the reason once the server says only what cannot be read, while a request waits.
    """

    def __init__(self, server_id: str, diagnostics: Diagnostics, lose: Callable[[str], None]) -> None:
        self._server_id = server_id
        self._diagnostics = diagnostics
        self._lose = lose
        self._waiting: dict[types.RequestId, Page | None] = {}
        self._listening: set[types.RequestId] = set()
        self._latest = -1
        self._unreadable = 0

    def sent(self, message: types.JSONRPCMessage) -> None:
        """Note a message of ours."""
        match message:
            case types.JSONRPCRequest(id=request_id, method=method):
                request_id = coerce_request_id(request_id)
                if not self._waiting:
                    self._unreadable = 0  # what it wrote while nobody waited held up nobody
                if isinstance(request_id, int):
                    self._latest = max(self._latest, request_id)
                if method == "subscriptions/listen":  # open for as long as the connection: nobody waits for its answer
                    self._listening.add(request_id)
                else:
                    self._waiting[request_id] = Page.asked_for()
            case types.JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": int() | str() as id_}
            ):
                self._waiting.pop(coerce_request_id(id_), None)
            case _:
                pass

    async def received(self, item: SessionMessage | Exception) -> SessionMessage | None:
        """Return what the SDK is to see of an item, changed in place where need be; None if it is to see nothing.

        An exception stands for something that the transport could not read.
        """
        if isinstance(item, Exception) or _is_unread(item.message):
            self._count_unreadable(item)
            return None
        self._unreadable = 0
        match message := item.message:
            case types.JSONRPCResponse():
                return await self._response(item, message)
            case types.JSONRPCError():
                if message.id is not None:
                    self._answered(message.id)
                holder = {"data": message.error.data}
                message.error.data = holder["data"] if await tamed(holder) else None
                return item
            case _:
                if message.params is None or await tamed(message.params):
                    return item
                self._note(f"a message of the server's own is nested more than {DEEPEST} levels deep")
                return None

    async def _response(self, item: SessionMessage, message: types.JSONRPCResponse) -> SessionMessage | None:
        known, page = self._answered(message.id)
        if not known:
            self._note("an answer to no request of ours")
            return None
        items = cast("object", message.result.get(page.key)) if page is not None else None
        if page is not None and isinstance(items, list) and len(cast("list[object]", items)) > page.may_stay:
            page.items = cast("list[object]", items)
            message.result = {**message.result, page.key: []}  # the SDK would validate them all at once, and twice
        if await tamed(message.result) and (page is None or not page.items or await tamed(page.items)):
            return item
        error = types.ErrorData.model_validate(too_deep(DEEPEST))
        self._note(error.message)
        return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error))

    def _answered(self, request_id: types.RequestId) -> tuple[bool, Page | None]:
        """Return whether a request of ours has this id, and the page that it asked for."""
        request_id = coerce_request_id(request_id)
        known = request_id in self._waiting or request_id in self._listening
        self._listening.discard(request_id)
        late = isinstance(request_id, int) and 0 <= request_id <= self._latest
        return known or late, self._waiting.pop(request_id, None)

    def _count_unreadable(self, item: SessionMessage | Exception) -> None:
        text = item.text if isinstance(item, UnreadableError) else ""
        note_protocol_error(self._server_id, self._diagnostics, "what it sends is not a message", quote=text)
        self._unreadable += 1
        if self._unreadable >= _UNREADABLE_IN_A_ROW and self._waiting:
            self._lose(f"the server sent {self._unreadable} lines or events in a row that are not messages")

    def _note(self, what: str) -> None:
        note_protocol_error(self._server_id, self._diagnostics, what)


def _is_unread(message: types.JSONRPCMessage) -> bool:
    """Tell what a transport puts in the place of an event that answers no request and could not be read."""
    return (
        isinstance(message, types.JSONRPCError)
        and message.id is None
        and transport_facts(message.error.code, message.error.data) is not None
    )


def note_protocol_error(
    server_id: str, diagnostics: Diagnostics, what: str, *, quote: str = "", times: int = 1
) -> None:
    """Count something that a server does and the protocol does not allow; log the first on each connection.

    Args:
        server_id: For the log.
        diagnostics: Where to count.
        what: What it is, in our own words.
        quote: The beginning of what the server said. It may hold a secret, and stays out of the log.
        times: How often it was found.
    """
    if diagnostics.protocol_error(f"{what}: {quote}" if quote else what, times=times):
        logger.warning("server %s does not follow the protocol: %s", server_id, what)


async def tamed(tree: dict[str, Any] | list[Any]) -> bool:
    """Put None in the place of each number that JSON does not have (NaN, Infinity), and return whether that was all.

    Returns:
        Whether nothing is nested too deeply. What is deeper than that was not looked at.
    """
    level: list[dict[Any, object] | list[object]] = [tree]
    looked_at = 0
    for _ in range(DEEPEST):
        below: list[dict[Any, object] | list[object]] = []
        for node in level:
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                if isinstance(value, _CONTAINERS):
                    below.append(cast("dict[Any, object] | list[object]", value))
                elif isinstance(value, float) and not isfinite(value):
                    node[key] = None  # the keys stay as they are, which iterating allows
                looked_at += 1
                if looked_at % _SLICE == 0:
                    await asyncio.sleep(0)
        if not below:
            return True
        level = below
    return False
