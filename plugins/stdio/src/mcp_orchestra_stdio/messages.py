"""From messages to lines, and from the lines that a server writes to its standard output to messages."""

from typing import Any, Final

import mcp_types as types
from mcp.shared.message import SessionMessage
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.wire import answered_id, too_large, unsendable

from mcp_orchestra_stdio.framing import CutLine

__all__ = ["Parser", "line_of", "refusal"]

_SHOWN: Final = 5  # lines that are no messages: a banner, and logs that went the wrong way
_SHOWN_BYTES: Final = 200


class Parser:
    """Reads one line at a time; what is not a message is noted, and never ends the connection.

    Args:
        max_message_bytes: Named in the error that answers a call whose answer was too large.
        diagnostics: Where to note what is not a message.
    """

    def __init__(self, max_message_bytes: int, diagnostics: Diagnostics) -> None:
        self._limit = max_message_bytes
        self._diagnostics = diagnostics
        self.ignored = 0
        """How many lines were not messages."""

    def parse(self, line: bytes | CutLine) -> SessionMessage | None:
        """Return the message that a line holds, or the error that takes the place of one too large to hold."""
        if isinstance(line, CutLine):
            return self._too_large(line.head)
        if not line or line.isspace():
            return None
        if (message := _message(line)) is None:
            self._note(line)
            return None
        return SessionMessage(message)

    def _too_large(self, head: bytes) -> SessionMessage | None:
        error = too_large(self._limit)
        if (request_id := answered_id(head)) is None:
            text = head[:_SHOWN_BYTES].decode(errors="replace")
            self._diagnostics.write(f"stdout: dropped a line that exceeds max_message_bytes={self._limit}: {text} …")
            return None
        return _error(request_id, error)

    def _note(self, line: bytes) -> None:
        self.ignored += 1
        if self.ignored <= _SHOWN:
            self._diagnostics.write(f"stdout: {line[:_SHOWN_BYTES].decode(errors='replace')}")
        elif self.ignored == _SHOWN + 1:
            self._diagnostics.write("stdout: further lines that are not messages are not shown")


def _message(line: bytes) -> types.JSONRPCMessage | None:
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    text = line.decode(errors="replace")
    if "\N{REPLACEMENT CHARACTER}" not in text:
        return None
    try:  # a server that writes another encoding than UTF-8 is understood but for those characters
        return types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValueError:
        return None


def line_of(message: types.JSONRPCMessage) -> bytes | None:
    """Return the line to write for a message, or None if it cannot be written as JSON."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):  # which pydantic's errors are, too
        return None


def refusal(message: types.JSONRPCMessage) -> SessionMessage | None:
    """Return what answers a request that cannot be written; None if the message expects no answer."""
    return _error(message.id, unsendable()) if isinstance(message, types.JSONRPCRequest) else None


def _error(request_id: int | str, error: dict[str, Any]) -> SessionMessage:
    data = types.ErrorData.model_validate(error)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=data))
