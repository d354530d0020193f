"""From messages to lines, and from the lines that a server writes to its standard output to messages."""

from typing import Any, Final

import mcp_types as types
from mcp.shared.message import SessionMessage
from mcp_orchestra.decoding import LARGE, decoded
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.wire import UnreadableError, answered_id, too_large, unreadable, unsendable

from mcp_orchestra_stdio.framing import CutLine

__all__ = ["Parser", "line_of", "refusal"]

_SHOWN: Final = 5  # lines that are no messages: a banner, and logs that went the wrong way
_SHOWN_BYTES: Final = 200
_HEAD: Final = 4096  # bytes of a line in which the id of an answer is looked for


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

    async def parse(self, line: bytes | CutLine) -> SessionMessage | Exception | None:
        """Return what a line holds.

        Returns:
            The message; or the error that takes the place of an answer that is too large to hold or cannot be read; or
            the exception that says that it is no message at all; or None for an empty line.
        """
        if isinstance(line, CutLine):
            return self._too_large(line.head)
        if not line or line.isspace():
            return None
        try:
            return SessionMessage(await _message(line))
        except ValueError:
            pass
        if (request_id := answered_id(line[:_HEAD])) is not None:
            return _error(request_id, unreadable())
        return self._note(line)

    def _too_large(self, head: bytes) -> SessionMessage | Exception:
        error = too_large(self._limit)
        if (request_id := answered_id(head)) is None:
            text = head[:_SHOWN_BYTES].decode(errors="replace")
            self._diagnostics.write(f"stdout: dropped a line that exceeds max_message_bytes={self._limit}: {text} …")
            return UnreadableError(text)
        return _error(request_id, error)

    def _note(self, line: bytes) -> Exception:
        self.ignored += 1
        if self.ignored <= _SHOWN:
            self._diagnostics.write(f"stdout: {line[:_SHOWN_BYTES].decode(errors='replace')}")
        elif self.ignored == _SHOWN + 1:
            self._diagnostics.write("stdout: further lines that are not messages are not shown")
        return UnreadableError(line[:_HEAD].decode(errors="replace"))


async def _message(line: bytes) -> types.JSONRPCMessage:
    if len(line) >= LARGE:
        return types.jsonrpc_message_adapter.validate_python(await decoded(line), by_name=False)
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        text = line.decode(errors="replace")
        if "\N{REPLACEMENT CHARACTER}" not in text:
            raise
        # A server that writes another encoding than UTF-8 is understood but for those characters.
        return types.jsonrpc_message_adapter.validate_json(text, by_name=False)


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
