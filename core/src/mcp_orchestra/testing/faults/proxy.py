"""A TCP proxy that stands in front of a server and breaks the network between, while a test runs."""

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Ending", "FaultProxy", "Flow"]

_PIECE = 65_536


@dataclass(frozen=True, eq=False)
class Ending:
    """How a test wants connections to end."""

    after: int
    """Bytes that still pass."""
    reset: bool
    """Whether it is RST and not FIN that ends them."""


@dataclass
class Flow:
    """What happens to the bytes that go one way; may be changed at any time, and holds for open connections too."""

    latency: float = 0.0
    """Seconds by which every piece is late."""
    jitter: float = 0.0
    """Seconds by which it is late besides at most, at random."""
    drip: tuple[int, float] | None = None
    """So many bytes at a time, and the seconds after each."""
    garbage: bytes = b""
    """Written before every piece that is passed on."""
    swallow: bool = False
    """Whether the bytes are taken and never passed on; a connection that has lost some is reset by `heal`."""
    passed: int = 0
    """How many bytes have been passed on, over all connections."""
    ending: Ending | None = None
    """How connections end; set by `cut` and `reset`."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """While clear, bytes wait; see `pause` and `resume`."""

    def __post_init__(self) -> None:
        self.gate.set()

    def pause(self) -> None:
        """Hold back what comes until `resume`."""
        self.gate.clear()

    def resume(self) -> None:
        """Pass on what was held back."""
        self.gate.set()

    def cut(self, after: int = 0) -> None:
        """Close each connection (FIN) as soon as it has passed so many more bytes this way."""
        self.ending = Ending(after, reset=False)

    def reset(self, after: int = 0) -> None:
        """Reset each connection (RST) as soon as it has passed so many more bytes this way."""
        self.ending = Ending(after, reset=True)

    def heal(self) -> None:
        """Pass everything on at once again."""
        self.latency, self.jitter, self.drip, self.garbage, self.swallow = 0.0, 0.0, None, b"", False
        self.ending = None
        self.resume()


@dataclass(eq=False)
class _Connection:
    """One connection: to the client, and to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    incomplete: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):  # it is closed
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.close()


class FaultProxy:
    """Passes bytes on between clients and a server, and does with them what a network may do.

    While the block lasts, configure `url` instead of the server's own and switch faults on and off:

    - `upstream` and `downstream` are the two ways: latency, jitter, slow drip, garbage, pause, cut or reset after some
      bytes, each on its own.
    - `refuse`, `black_hole` and `reset` concern whole connections.
    - `heal` ends every fault.

    Args:
        target: The URL of the server. TLS goes through untouched.
        seed: For the jitter.
    """

    def __init__(self, target: str, *, seed: int = 0) -> None:
        self._target = urlsplit(target)
        self._host = self._target.hostname or "127.0.0.1"
        self._target_port = self._target.port or (443 if self._target.scheme == "https" else 80)
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._listener: asyncio.Server | None = None
        # Bound and never listening: nobody else gets the port while connections are refused.
        self._reserved: socket.socket | None = None
        self._open: dict[asyncio.Task[None], _Connection] = {}
        self.port: int = 0
        """Where it listens, on the loopback interface."""
        self.upstream: Flow = Flow()
        """From the client to the server."""
        self.downstream: Flow = Flow()
        """From the server to the client."""
        self.connections: int = 0
        """How many connections have been accepted."""

    @property
    def url(self) -> str:
        """The server's URL by way of this proxy."""
        return self._target._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def refuse(self) -> None:
        """Refuse new connections; those that are open stay as they are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)  # the event loop closes the socket in a callback

    def black_hole(self) -> None:
        """Take connections and bytes, and pass nothing on in either direction."""
        self.upstream.swallow = self.downstream.swallow = True

    def pause(self) -> None:
        """Hold back what comes from either side."""
        self.upstream.pause()
        self.downstream.pause()

    def resume(self) -> None:
        """Pass on what was held back."""
        self.upstream.resume()
        self.downstream.resume()

    def reset(self) -> None:
        """Reset every open connection (RST), now."""
        for connection in self._open.values():
            connection.reset()

    async def heal(self) -> None:
        """End every fault. Connections that have lost bytes are reset: they could not go on."""
        for connection in self._open.values():
            if connection.incomplete:
                connection.reset()
        self.upstream.heal()
        self.downstream.heal()
        if self._listener is None:
            await self._listen()

    async def __aenter__(self) -> Self:
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = int(self._reserved.getsockname()[1])
        await self._listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.refuse()
        if self._reserved is not None:
            self._reserved.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            connection = _Connection(writer)
            task = asyncio.create_task(self._relay(reader, connection), name="testing-proxy")
            self._open[task] = connection
            task.add_done_callback(self._open.pop)

        self._listener = await asyncio.start_server(accept, "127.0.0.1", self.port)

    async def _relay(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        try:
            answers, connection.server = await asyncio.open_connection(self._host, self._target_port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(self.upstream, reader, connection.server, connection))
                tasks.create_task(self._pass(self.downstream, answers, connection.client, connection))
        except* (OSError, _EndedError) as group:
            if group.subgroup(OSError) is not None:  # the server refuses, or one side has reset its connection
                connection.reset()
        finally:
            connection.close()

    async def _pass(
        self, flow: Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        writer.transport.set_write_buffer_limits(0)  # so that what precedes a reset has left
        end, since = flow.ending, 0
        while piece := await reader.read(_PIECE):
            await flow.gate.wait()
            if flow.swallow:
                connection.incomplete = True
                continue
            if late := flow.latency + flow.jitter * self._random.random():
                await asyncio.sleep(late)
            if flow.ending is not end:
                end, since = flow.ending, 0
            ended = end is not None and since + len(piece) >= end.after
            if end is not None:
                piece = piece[: end.after - since]
            since += len(piece)
            await _write(flow, writer, piece)
            if end is not None and ended:
                if end.reset:
                    connection.reset()
                raise _EndedError
        if writer.can_write_eof():
            writer.write_eof()


class _EndedError(Exception):
    """The connection has come to the end that a test has set."""


async def _write(flow: Flow, writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(flow.garbage)
    while piece:
        size, seconds = flow.drip or (len(piece), 0.0)
        writer.write(piece[:size])
        await writer.drain()
        flow.passed += len(piece[:size])
        piece = piece[size:]
        await asyncio.sleep(seconds)
