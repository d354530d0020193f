"""Notices that a server has gone away although nothing is being asked of it.

Streamable HTTP has no standing connection: a server that was killed would look alive until the next call. An idle TCP
connection to its address, over which not a byte is sent, costs one descriptor and is closed by the server's system
the moment the process dies. A server that merely tires of an idle connection accepts the next one.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream
from mcp_orchestra.http import exhausted

__all__ = ["Pace", "watch"]


Connect = Callable[[str, int], Awaitable[SocketStream]]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often a watch connects, in seconds."""

    retry: float = 0.15
    """Between an attempt that failed and the one that decides."""
    shortest: float = 0.1
    """From one connection to the next, at least."""
    longest: float = 0.75
    """The least time between connections doubles up to this while the server keeps closing them quickly. Together with
    ``retry`` it has to stay below the second within which the status must be true."""
    quick: float = 5.0
    """Quickly means sooner than this."""
    connect: float = 5.0
    """For one attempt."""


async def watch(url: str, connect: Connect, gone: Callable[[], None], pace: Pace | None = None) -> None:
    """Watch the server until it is gone, then call ``gone``; return early if it cannot be watched this way.

    Args:
        url: Any address on the server.
        connect: Connects to a host and port.
        gone: Called once, when two attempts in a row to connect have failed.
        pace: How often to connect.
    """
    pace = pace or Pace()
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    pause = pace.shortest
    reached = False
    while True:
        opened = anyio.current_time()
        try:
            stream = await _connect(partial(connect, host, port), pace)
        except (OSError, ValueError) as error:
            if not reached:
                return  # HTTP gets through where plain TCP does not: something stands between
            if not _is_our_own(error):
                gone()
                return
        else:
            reached = True
            await _until_closed(stream)
        lasted = anyio.current_time() - opened
        pause = min(pause * 2, pace.longest) if lasted < pace.quick else pace.shortest
        await anyio.sleep(max(0.0, pause - lasted))


async def _connect(connect: Callable[[], Awaitable[SocketStream]], pace: Pace) -> SocketStream:
    """Connect, trying twice: a server that is just being restarted refuses for a moment."""
    try:
        return await _attempt(connect, pace)
    except OSError:
        await anyio.sleep(pace.retry)
        return await _attempt(connect, pace)


async def _attempt(connect: Callable[[], Awaitable[SocketStream]], pace: Pace) -> SocketStream:
    with anyio.fail_after(pace.connect):  # TimeoutError is an OSError
        return await connect()


async def _until_closed(stream: SocketStream) -> None:
    async with stream:
        try:
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


def _is_our_own(error: BaseException) -> bool:
    """Tell a failure that says nothing about the server: no descriptors left here, or no name service."""
    return isinstance(error, socket.gaierror) or exhausted(error)
