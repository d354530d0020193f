"""Lets only what the SDK can use get to its parser, which holds up everybody and logs what it cannot read.

The SDK's streamable HTTP transport parses what it receives on the event loop: half a second for 10 MiB of small values.
So a large answer is parsed below it, in a thread, and the SDK gets a small one in its place. Above it, where the
message comes out again, the result is put back. What is no message it writes to its log, where a server could so have
the credentials appear that it was sent: such an answer is replaced, too.
"""

import secrets
from codecs import BOM_UTF8
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

from mcp_types import jsonrpc_message_adapter
from pydantic_core import to_json

from mcp_orchestra.decoding import LARGE, decoded
from mcp_orchestra.http.bodies import as_utf_8
from mcp_orchestra.wire import unreadable

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

__all__ = ["Handover"]

# The SDK passes on each message together with the context of the task that received it. That is where a result is kept
# while it is on its way: if nobody waits for it any more, it is gone with that task.
_ON_ITS_WAY: Final[ContextVar[list[dict[str, Any]]]] = ContextVar("large result")


class Handover:
    """Takes the large results of one connection past the SDK."""

    def __init__(self) -> None:
        self._key = f"mcp-orchestra/{secrets.token_hex(16)}"

    async def body(self, text: bytes) -> bytes:
        """Return what the SDK is to parse in place of a JSON-RPC message, in the task that has it parsed.

        Raises:
            ValueError: It is no JSON-RPC message.
        """
        if len(text) < LARGE:
            jsonrpc_message_adapter.validate_json(text, by_name=False)
            return text
        message = await decoded(text)
        match message:
            case {"jsonrpc": "2.0", "id": int() | str() as request_id, "result": dict()}:
                return self._instead(request_id, cast("dict[str, Any]", message)["result"])
            case _:
                jsonrpc_message_adapter.validate_python(message, by_name=False)
                return text

    async def event(self, event: bytes) -> bytes:
        """Return what the SDK is to parse in place of an event of an event stream: a message, or none at all."""
        lines = event.removeprefix(BOM_UTF8).splitlines()
        kept = [line for line in lines if line.startswith((b"id:", b"retry:"))]
        kinds = [line[6:].strip() for line in lines if line.startswith(b"event:")]
        data = as_utf_8(b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")))
        if data and (not kinds or kinds[-1] in (b"", b"message")):
            try:
                instead = await self.body(data)
            except ValueError:
                instead = to_json({"jsonrpc": "2.0", "id": None, "error": unreadable()})
            kept += [b"data: " + line for line in instead.splitlines()]
        return b"\n".join([*kept, b"", b""])

    def restore(self, message: "SessionMessage", context: Context | None) -> None:
        """Put the result back into a message that the SDK has parsed, if it was taken out.

        Args:
            message: The message.
            context: Of the task that had it parsed.
        """
        result: object = getattr(message.message, "result", None)
        match result:
            case {"_meta": {self._key: True}} if context is not None and (waiting := context.get(_ON_ITS_WAY)):
                answer = cast("Any", message.message)
                answer.result = waiting.pop()  # whoever keeps the context does not keep the result
            case _:
                pass

    def _instead(self, request_id: int | str, result: dict[str, Any]) -> bytes:
        _ON_ITS_WAY.set([result])
        return to_json({"jsonrpc": "2.0", "id": request_id, "result": {"_meta": {self._key: True}}})
