"""Watches a transport's two streams for what the SDK tells nobody: that one has ended, or takes nothing any more.

Every message passes an `Inspector` on its way.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from mcp_orchestra.connection.inspector import Inspector

if TYPE_CHECKING:
    from contextvars import Context

    from mcp.client import Transport
    from mcp.client._transport import TransportStreams  # the SDK exports the protocol, but not this alias

__all__ = ["Line", "watched"]

_GOODBYE = 0.5  # seconds for a message to be taken while letting go


class Line:
    """What is known of the streams of one connection."""

    def __init__(self) -> None:
        self.ended: bool = False
        """Whether no answer can come any more."""
        self.left: bool = False
        """Whether we are letting go of the server: what is still sent is a goodbye."""
        self._waiting = 0
        self._since = 0.0

    def leave(self) -> None:
        """Note that we let go of the server."""
        self.left = True

    @property
    def stuck_since(self) -> float | None:
        """Since when, by the clock of the event loop, messages have waited and none was taken; None if none waits."""
        return self._since if self._waiting else None

    @contextmanager
    def sending(self) -> Generator[None]:
        """Note that a message waits for the length of the block, and was taken if the block is not left early."""
        if not self._waiting:
            self._since = _now()
        self._waiting += 1
        try:
            yield
            self._since = _now()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            self.ended = True
            raise
        finally:
            self._waiting -= 1


def _now() -> float:
    return asyncio.get_running_loop().time()


class _WatchedReadStream:
    """A read stream that reports its end; everything else is the inner stream's."""

    def __init__(self, inner: Any, line: Line, inspector: Inspector, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._line = line
        self._inspector = inspector
        self._report = ended

    def _ended(self) -> None:
        self._line.ended = True
        self._report()

    @property
    def last_context(self) -> "Context | None":
        """The sender's context variables, where the transport keeps them."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        """Return the next message."""
        try:
            while (item := await self._inspector.received(await self._inner.receive())) is None:
                pass
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise
        return item

    async def aclose(self) -> None:
        """Close the stream."""
        self._line.ended = True
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            while (item := await self._inspector.received(await self._inner.__anext__())) is None:
                pass
        except (StopAsyncIteration, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise
        return item

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool:
        # Without a report: the connection is being left, and whoever leaves it knows why.
        self._line.ended = True
        return bool(await self._inner.__aexit__(exc_type, exc_val, exc_tb))


class _WatchedWriteStream:
    """A write stream that notes what waits to be taken; everything else is the inner stream's."""

    def __init__(self, inner: Any, line: Line, inspector: Inspector) -> None:
        self._inner = inner
        self._line = line
        self._inspector = inspector

    async def send(self, item: Any, /) -> None:
        """Send a message."""
        self._inspector.sent(item.message)
        if self._line.left:
            # The SDK shields these for seconds, during which a server that does not read could not be let go of.
            with anyio.move_on_after(_GOODBYE):
                await self._inner.send(item)
            return
        with self._line.sending():
            await self._inner.send(item)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool:
        return bool(await self._inner.__aexit__(exc_type, exc_val, exc_tb))


@asynccontextmanager
async def watched(
    transport: "Transport", line: Line, inspector: Inspector, ended: Callable[[], None]
) -> "AsyncGenerator[TransportStreams]":
    """Wrap a transport.

    Args:
        transport: What to watch.
        line: Where to note what is seen.
        inspector: Looks at the messages.
        ended: Called as soon as the read stream ends by itself.
    """
    inner: AbstractAsyncContextManager[Any] = transport
    async with inner as (read, write):
        yield _WatchedReadStream(read, line, inspector, ended), _WatchedWriteStream(write, line, inspector)
