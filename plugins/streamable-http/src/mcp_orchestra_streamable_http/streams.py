"""A read stream that can be ended from our side."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from contextvars import Context

    from mcp.client._transport import ReadStream  # the SDK exports the transport protocol, but not its streams
    from mcp.shared.message import SessionMessage

__all__ = ["EndableReadStream"]


class EndableReadStream:
    """Passes on what the inner stream yields until it ends or `end` is called.

    Closing the inner stream would not do: it does not wake who waits for it, and an answer that comes later would find
    no receiver, which is an exception in the SDK's task group. So the inner stream is left to the SDK, which closes it
    after its tasks.

    Args:
        inner: The SDK's stream. One task reads at a time.
    """

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]") -> None:
        self._inner = inner
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
                    return await self._inner.receive()
                finally:
                    self._waiting = None
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()
