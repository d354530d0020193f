"""The proxy does to connections what it is told, when it is told, and counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mcp_orchestra.testing.faults import FaultProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy in front of a server that says everything twice."""

    async def answer(reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data + data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(30), FaultProxy(f"http://127.0.0.1:{port}/mcp?x=1") as proxy:
        yield proxy


@asynccontextmanager
async def talking(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_silent(reader) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_the_url_is_that_of_the_server_but_for_the_port(proxy):
    assert proxy.url == f"http://127.0.0.1:{proxy.port}/mcp?x=1"


async def test_what_is_said_arrives_and_is_counted_each_way(proxy):
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        assert await reader.readexactly(6) == b"abcabc"
        assert (proxy.connections, proxy.open) == (1, 1)
        assert (proxy.upstream.passed, proxy.downstream.passed) == (3, 6)
        writer.write_eof()
        assert await reader.read() == b""


async def test_latency_makes_every_piece_late(proxy):
    proxy.upstream.latency, proxy.downstream.latency, proxy.downstream.jitter = 0.1, 0.1, 0.05
    async with talking(proxy) as (reader, writer):
        started = asyncio.get_running_loop().time()
        writer.write(b"a")
        await reader.readexactly(2)
        assert asyncio.get_running_loop().time() - started >= 0.2


async def test_a_drip_passes_a_few_bytes_at_a_time(proxy):
    proxy.downstream.drip = (2, 0.05)
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        assert await reader.read(100) == b"ab"
        assert await reader.readexactly(4) == b"cabc"


async def test_a_refused_connection_is_refused_until_the_proxy_is_healed(proxy):
    async with talking(proxy) as (reader, writer):
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"a")  # what was open stays open
        assert await reader.readexactly(2) == b"aa"
    await proxy.heal()
    async with talking(proxy) as (reader, writer):
        writer.write(b"b")
        assert await reader.readexactly(2) == b"bb"


async def test_a_black_hole_accepts_and_swallows_until_it_is_healed(proxy):
    proxy.black_hole()
    async with talking(proxy) as (reader, writer):
        writer.write(b"lost")
        assert await is_silent(reader)
        assert proxy.upstream.passed == 0
        await proxy.heal()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_one_direction_alone_can_swallow(proxy):
    proxy.downstream.swallow = True
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        assert await is_silent(reader)
        assert (proxy.upstream.passed, proxy.downstream.passed) == (3, 0)


async def test_what_comes_during_a_pause_arrives_after_it(proxy):
    async with talking(proxy) as (reader, writer):
        proxy.pause()
        writer.write(b"abc")
        assert await is_silent(reader)
        proxy.resume()
        assert await reader.readexactly(6) == b"abcabc"


async def test_a_reset_ends_every_open_connection_now(proxy):
    async with talking(proxy) as (one, _), talking(proxy) as (other, _):
        while proxy.open < 2:
            await asyncio.sleep(0.01)
        proxy.reset()
        for reader in (one, other):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)


async def test_a_cut_closes_a_connection_after_some_bytes_from_when_it_is_ordered(proxy):
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        assert await reader.readexactly(6) == b"abcabc"
        proxy.downstream.cut(after=4)
        writer.write(b"def")
        assert await reader.read() == b"defd"


async def test_a_reset_can_come_after_some_bytes_as_well(proxy):
    proxy.downstream.reset(after=4)
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        assert await reader.readexactly(4) == b"abca"
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_reset_on_the_way_to_the_server_keeps_the_rest_from_it(proxy):
    proxy.upstream.reset(after=2)
    async with talking(proxy) as (reader, writer):
        writer.write(b"abc")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert proxy.upstream.passed == 2


async def test_garbage_precedes_every_piece(proxy):
    proxy.downstream.garbage = b"#"
    async with talking(proxy) as (reader, writer):
        for _ in range(2):
            writer.write(b"a")
            assert await reader.readexactly(3) == b"#aa"


async def test_a_server_that_is_not_there_resets_what_was_accepted():
    async with asyncio.timeout(10), FaultProxy("http://127.0.0.1:9/mcp") as proxy, talking(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_leaving_ends_every_connection_and_task(proxy):
    tasks = asyncio.all_tasks()
    async with FaultProxy(proxy.url) as other:
        other.pause()
        async with talking(other) as (reader, writer):
            writer.write(b"abc")
            while not other.open:
                await asyncio.sleep(0.01)
            await other.__aexit__()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", other.port)
            assert await reader.read() == b""
    while any("testing-proxy" in task.get_name() for task in asyncio.all_tasks() - tasks if not task.done()):
        await asyncio.sleep(0.01)
