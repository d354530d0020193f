"""One connection from its first byte to its last, in a task of its own that may be cancelled without harm."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import Context
from typing import TYPE_CHECKING, Any

from mcp_orchestra.connection.fault import Fault, in_seconds
from mcp_orchestra.connection.faults import fault_of
from mcp_orchestra.errors import MCPConnectionError

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["CLOSE_SECONDS", "Attempt"]

logger: logging.Logger = logging.getLogger(__name__)

CLOSE_SECONDS = 4.5
"""How long a transport may take to let go of its server before it is abandoned; closing promises five seconds."""

Enter = Callable[[AsyncExitStack, Callable[[str], None]], Awaitable["Client"]]
"""Connects: enters the client on the stack, and arranges for the callback to be told why once the read side ends."""


class Attempt:
    """One try at a connection, and the connection itself if it succeeds.

    The SDK answers a broken transport by cancelling the task that entered the client. That task is this one and
    nobody else's, so a cancellation that nobody asked for is just another way for a connection to end.

    Args:
        name: For the task.
        enter: Connects.
        context: The context variables to connect in, which decide whose trace the connect belongs to.
    """

    def __init__(self, name: str, enter: Enter, context: Context) -> None:
        self._name = name
        self._enter = enter
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[Client] = loop.create_future()
        self._lost: asyncio.Future[Fault] = loop.create_future()
        self._left: asyncio.Future[None] = loop.create_future()
        self._cancelled = False
        self._leaving: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._hold(), name=f"mcp-connection-{name}", context=context)

    @property
    def ended(self) -> bool:
        """Whether it is over and has let go of the server."""
        return self._task.done()

    async def connected(self, seconds: float) -> "Client | Fault":
        """Return the connected client, or why there is none; never waits longer than ``seconds``."""
        await _first_of(self._task, self._connected, seconds=seconds)
        if self._connected.done():
            return self._connected.result()
        if self._task.done():
            return self._end()
        self._cancel()  # leaving may take a while; whoever waits for the outcome need not
        return Fault(reason=f"no answer within {in_seconds(seconds)}", cause="timeout", delivered="no")

    async def lost(self) -> Fault:
        """Wait until the connection is lost, and return why."""
        await _first_of(self._task, self._lost)
        return self._lost.result() if self._lost.done() else self._end()

    def lose(self, fault: Fault) -> None:
        """Take the connection as lost; it is held until it is left, so that requests may still get their answers."""
        if not self._lost.done():
            self._lost.set_result(fault)

    async def leave(self) -> None:
        """Let go of the server: ask, then cancel, then abandon. Goes on to its end even if its waiter is cancelled."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._let_go(), name=f"mcp-leaving-{self._name}")
        await asyncio.wait({self._leaving})

    async def _let_go(self) -> None:
        self.lose(Fault(reason="closed", cause="closed"))
        if not self._left.done():
            self._left.set_result(None)
        if not self._connected.done():
            self._cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.2)
        if not self._task.done():
            logger.warning("server %s: its transport does not close; abandoned", self._name)
        self._task.add_done_callback(_retrieve)

    def _cancel(self) -> None:
        # Once: a second cancellation would interrupt what cleans up after the first.
        if not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def _hold(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                client = await self._enter(stack, self._read_side_ended)
                if not self._connected.done():
                    self._connected.set_result(client)
                await asyncio.wait({self._left})
        except SystemExit:  # asyncio would end the application with it
            raise MCPConnectionError(
                "the transport tried to end the interpreter", {"cause": "unexpected", "retryable": False}
            ) from None

    def _read_side_ended(self, reason: str) -> None:
        # While connecting, the request in flight fails by itself and says more.
        if self._connected.done():
            self.lose(Fault(reason=reason, cause="lost"))

    def _end(self) -> Fault:
        error = asyncio.CancelledError() if self._task.cancelled() else self._task.exception()
        return fault_of(error or asyncio.CancelledError())


async def _first_of(*futures: "asyncio.Future[Any]", seconds: float | None = None) -> None:
    """Wait for one of the futures; unlike awaiting one, this leaves them alone when the waiter is cancelled."""
    await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Look at the outcome, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
