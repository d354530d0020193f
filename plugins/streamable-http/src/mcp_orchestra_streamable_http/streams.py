"""The SDK's streams, held open for as long as its tasks may use them, and a read side that can be ended by us.

When a connection ends, its session closes both streams while requests may still be under way. An answer or error of
one that comes then finds a closed stream, which is an exception in the SDK's task group: it cancels the owner of the
connection and makes an orderly end look like a crash. So the inner streams are left to the SDK, which closes them after
its tasks.
"""

from typing import TYPE_CHECKING, Self

import anyio
from anyio.abc import AsyncResource

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from mcp.client._transport import ReadStream, WriteStream  # the SDK exports the protocol, but not its parts
    from mcp.shared.message import SessionMessage

__all__ = ["EndableReadStream", "HeldWriteStream"]


class EndableReadStream(AsyncResource):
    """Passes on what the inner stream yields until it ends or `end` is called.

    Closing the inner stream would not even wake who waits for it.

    Args:
        inner: The SDK's stream. One task reads at a time.
        restore: Called with each message and the context of its sender before it is passed on.
    """

    def __init__(
        self,
        inner: "ReadStream[SessionMessage | Exception]",
        restore: "Callable[[SessionMessage, Context | None], None]",
    ) -> None:
        self._inner = inner
        self._restore = restore
        self._ended = False
        self._waiting: anyio.CancelScope | None = None

    @property
    def last_context(self) -> "Context | None":
        """The context variables of whoever sent the last message: the SDK runs its handlers in them."""
        return getattr(self._inner, "last_context", None)

    def end(self) -> None:
        """End the stream: whoever waits for a message learns that there will be none."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def receive(self) -> "SessionMessage | Exception":
        """Return the next message.

        Raises:
            anyio.EndOfStream: There will be none.
        """
        if not self._ended:
            with anyio.CancelScope() as self._waiting:
                try:
                    item = await self._inner.receive()
                finally:
                    self._waiting = None
                if not isinstance(item, Exception):
                    self._restore(item, self.last_context)
                return item
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        """End the stream."""
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "SessionMessage | Exception":
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class HeldWriteStream(AsyncResource):
    """Passes messages on to the inner stream until it is closed, which leaves the inner one open.

    Args:
        inner: The SDK's stream.
    """

    def __init__(self, inner: "WriteStream[SessionMessage]") -> None:
        self._inner = inner
        self._closed = False

    async def send(self, item: "SessionMessage", /) -> None:
        """Send a message.

        Raises:
            anyio.ClosedResourceError: The stream has been closed.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        await self._inner.send(item)

    async def aclose(self) -> None:
        """Refuse further messages."""
        self._closed = True
