import os
import sys
from pathlib import Path
from subprocess import run

import anyio
import mcp_orchestra_tcp
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_orchestra import Endpoint
from mcp_orchestra.testing.servers import free_port
from mcp_orchestra_tcp import TcpOptions, mcp_orchestra_transports
from pydantic import ValidationError
from tcp_server import TcpServer

(TCP,) = mcp_orchestra_transports()


def endpoint(url: str, **limits: int) -> Endpoint[TcpOptions]:
    return Endpoint(server_id="remote", url=url, options=TcpOptions.model_validate({"url": url}), **limits)


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_server_answers_in_either_era(server: TcpServer, mode: str, version: str) -> None:
    with anyio.fail_after(10):
        async with Client(TCP.open(endpoint(server.url)), mode=mode) as client:
            listing = await client.list_resources()
            assert client.protocol_version == version
            assert [resource.uri for resource in listing.resources] == [f"res://remote/{i}" for i in range(3)]


@pytest.mark.anyio
async def test_the_socket_is_closed_with_the_client(server: TcpServer) -> None:
    with anyio.fail_after(10):
        async with Client(TCP.open(endpoint(server.url))) as client:
            await client.list_resources()
            assert server.connections == 1
        await server.all_left()


@pytest.mark.anyio
async def test_a_server_that_hangs_up_ends_the_stream(server: TcpServer) -> None:
    with anyio.fail_after(10):
        async with TCP.open(endpoint(server.url)) as (read, _):
            await until_connected(server)
            server.hang_up()
            assert [item async for item in read] == []


@pytest.mark.anyio
async def test_a_request_after_that_is_an_error_and_not_a_wait(server: TcpServer) -> None:
    with anyio.fail_after(10):
        async with Client(TCP.open(endpoint(server.url))) as client:
            server.hang_up()
            with pytest.raises(MCPError, match="Connection closed"):
                await client.list_resources()


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [b"not JSON\n", b"x" * 4096])
async def test_junk_ends_the_stream_and_says_so(server: TcpServer, raw: bytes) -> None:
    limited = endpoint(server.url, max_message_bytes=2048)
    with anyio.fail_after(10):
        async with TCP.open(limited) as (read, _):
            await until_connected(server)
            server.send(raw)
            assert [item async for item in read] == []
        assert "the connection ended" in limited.diagnostics.tail()[0]


@pytest.mark.anyio
async def test_nobody_listening_is_an_error_at_once() -> None:
    with anyio.fail_after(10), pytest.raises(OSError, match="connection attempts failed"):
        async with TCP.open(endpoint(f"tcp://127.0.0.1:{free_port()}")):
            pass


@pytest.mark.parametrize("url", ["http://localhost:8765", "tcp://", "localhost:8765"])
def test_another_kind_of_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        TcpOptions.model_validate({"url": url})


def test_importing_the_plugin_does_not_import_the_sdk() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(mcp_orchestra_tcp.__file__).parents[1])}
    program = "import mcp_orchestra_tcp, sys; assert 'mcp' not in sys.modules"
    assert run([sys.executable, "-c", program], env=environment, check=False, timeout=30).returncode == 0


async def until_connected(server: TcpServer) -> None:
    while not server.connections:
        await anyio.lowlevel.checkpoint()
