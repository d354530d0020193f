"""Tells the owner of a connection when the transport's read side has ended: the SDK itself tells nobody."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

if TYPE_CHECKING:
    from contextvars import Context

    from mcp.client import Transport
    from mcp.client._transport import TransportStreams  # the SDK exports the protocol, but not this alias

__all__ = ["watched"]


class _WatchedStream:
    """A read stream that reports its end; everything else is the inner stream's."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._ended = ended

    @property
    def last_context(self) -> "Context | None":
        """The sender's context variables, where the transport keeps them."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        """Return the next message."""
        try:
            return await self._inner.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool:
        return bool(await self._inner.__aexit__(exc_type, exc_val, exc_tb))


@asynccontextmanager
async def watched(transport: "Transport", ended: Callable[[], None]) -> "AsyncGenerator[TransportStreams]":
    """Wrap a transport so that ``ended`` is called as soon as its read stream ends."""
    inner: AbstractAsyncContextManager[Any] = transport
    async with inner as (read, write):
        yield _WatchedStream(read, ended), write
