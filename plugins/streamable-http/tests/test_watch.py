"""The idle connection that shows when a server goes away."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from mcp_orchestra.testing.servers import free_port
from mcp_orchestra_streamable_http.watch import Pace, watch

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]

FAST = Pace(retry=0.01, shortest=0.01, longest=0.05, connect=5)


class Listener:
    """Accepts connections, keeps them or closes them, and notes what it is sent."""

    def __init__(self) -> None:
        self.accepted = 0
        self.received = b""
        self.keep = True
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.drop()
            await server.wait_closed()

    def drop(self) -> None:
        while self._writers:
            self._writers.pop().close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if not self.keep:
            writer.close()
            return
        self._writers.append(writer)
        self.received += await reader.read()
        writer.close()


async def connect(host: str, port: int) -> SocketStream:
    return await anyio.connect_tcp(host, port)


@pytest.fixture
async def watching(anyio_backend):
    """Start a watch of a loopback port; returns the event that it sets when the server is gone."""
    tasks = []

    def start(port: int, pace: Pace = FAST) -> asyncio.Event:
        gone = asyncio.Event()
        tasks.append(asyncio.create_task(watch(f"http://127.0.0.1:{port}/mcp", connect, gone.set, pace)))
        return gone

    yield start
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert result is None or isinstance(result, asyncio.CancelledError)


async def test_a_server_that_goes_away_is_noticed(watching, until):
    listener = Listener()
    async with listener.listening() as port:
        gone = watching(port)
        await until(lambda: listener.accepted)
        assert not gone.is_set()
    async with asyncio.timeout(5):
        await gone.wait()


async def test_the_watch_says_nothing(watching, until):
    listener = Listener()
    async with listener.listening() as port:
        watching(port)
        await until(lambda: listener.accepted)
    assert listener.received == b""


async def test_a_server_that_closes_idle_connections_is_not_gone(watching, until):
    listener = Listener()
    listener.keep = False
    async with listener.listening() as port:
        gone = watching(port)
        await until(lambda: listener.accepted >= 6)
        assert not gone.is_set()


async def test_s42_a_server_that_closes_idle_connections_is_asked_less_often_but_often_enough(until, monkeypatch):
    pauses: list[float] = []
    sleep = anyio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    listener = Listener()
    listener.keep = False
    async with listener.listening() as port:
        with monkeypatch.context() as patch:
            patch.setattr("mcp_orchestra_streamable_http.watch.anyio.sleep", note)
            task = asyncio.create_task(watch(f"http://127.0.0.1:{port}/", connect, lambda: None))
            async with asyncio.timeout(5):
                while len(pauses) < 10:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert pauses[0] <= 0.2
    assert pauses[:3] == sorted(pauses[:3])
    # S42: with the second look after ``retry`` the status is true within a second.
    assert pauses[-1] <= Pace().longest < 1 - Pace().retry


async def test_a_server_that_is_restarted_meanwhile_is_not_gone(watching, until):
    listener = Listener()
    async with listener.listening() as port:
        gone = watching(port, Pace(retry=0.5, shortest=0.01))
        await until(lambda: listener.accepted)
    async with listener.listening(port):
        await until(lambda: listener.accepted >= 2)
        assert not gone.is_set()


async def test_a_server_that_cannot_be_reached_by_plain_tcp_is_not_watched():
    called = asyncio.Event()
    async with asyncio.timeout(5):
        await watch(f"http://127.0.0.1:{free_port()}/", connect, called.set, FAST)
        await watch("http://nowhere.invalid/", connect, called.set, FAST)
    assert not called.is_set()


async def test_a_lack_of_descriptors_here_says_nothing_about_the_server(watching, until, monkeypatch):
    listener = Listener()
    async with listener.listening() as port:
        gone = watching(port)
        await until(lambda: listener.accepted)
        failures = 0

        async def fail(*_: object) -> None:
            nonlocal failures
            failures += 1
            raise OSError("all attempts failed") from OSError(errno.EMFILE, "too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(anyio, "connect_tcp", fail)
            listener.drop()
            await until(lambda: failures >= 4)
        await until(lambda: listener.accepted >= 2)
        assert not gone.is_set()
