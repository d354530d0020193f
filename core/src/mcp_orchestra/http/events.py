"""A stream of server-sent events that neither a cut nor a huge event can turn into more than one failed call."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import httpx2

from mcp_orchestra.http.bodies import check_encoding
from mcp_orchestra.http.failures import FAILURES, call_failed
from mcp_orchestra.http.handover import Handover
from mcp_orchestra.wire import answered_id, too_large

__all__ = ["GuardedEvents"]

_BLANK_LINE = re.compile(rb"\n\r?\n|\r\r")
_EVENT_ID = re.compile(rb"(?:^|[\r\n])id:")
_HEAD = 2048  # bytes of a huge event in which its request id is looked for


class GuardedEvents(httpx2.AsyncByteStream):
    """The body of an event stream, passed on event by event.

    An event larger than the limit is dropped unread, and an event that carries a JSON-RPC error takes its place. When
    the peer cuts the stream it ends quietly: httpx2's exception would be lost in the SDK, or take the whole
    connection with it. The answer to a POST gets an error event then, unless the stream can be resumed.

    Args:
        response: The response whose body it is.
        limit: The largest event, in bytes after decompression.
        answers_call: The stream is the answer to one POST.
        on_cut: Called with the failure that cut the stream.
        handover: Takes large results past the SDK's parser.

    Raises:
        RefusedBody: The stream has an unknown compression.
    """

    def __init__(
        self,
        response: httpx2.Response,
        limit: int,
        *,
        answers_call: bool = False,
        on_cut: Callable[[BaseException], None] | None = None,
        handover: Handover | None = None,
    ) -> None:
        check_encoding(response)
        self._response = response
        self._limit = limit
        self._answers_call = answers_call
        self._on_cut = on_cut
        self._handover = handover
        self._buffer = bytearray()
        self._searched = 0
        self._dropping = False
        self._resumable = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield whole events."""
        try:
            async with aclosing(self._response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    for event in self._events(chunk):
                        yield event if self._handover is None else await self._handover.event(event)
        except FAILURES as error:
            if self._on_cut is not None:
                self._on_cut(error)
            if self._answers_call and not self._resumable:
                yield _error_event(None, call_failed(error))

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()

    def _events(self, chunk: bytes) -> Iterator[bytes]:
        self._buffer += chunk
        start = 0
        for blank in _BLANK_LINE.finditer(self._buffer, self._searched):
            event = bytes(self._buffer[start : blank.end()])
            start = blank.end()
            if self._dropping:
                self._dropping = False
            elif len(event) > self._limit:
                yield self._replacement(event)
            else:
                self._resumable = self._resumable or _EVENT_ID.search(event) is not None
                yield event
        del self._buffer[:start]
        if not self._dropping and len(self._buffer) > self._limit:
            yield self._replacement(bytes(self._buffer[:_HEAD]))
            self._dropping = True
        if self._dropping:
            del self._buffer[:-2]  # the longest beginning of a blank line
        self._searched = max(0, len(self._buffer) - 2)

    def _replacement(self, event: bytes) -> bytes:
        data = event[:_HEAD].partition(b"data:")[2]
        return _error_event(answered_id(data), too_large(self._limit))


def _error_event(request_id: int | str | None, error: dict[str, Any]) -> bytes:
    message = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"
