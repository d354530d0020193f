from collections.abc import AsyncGenerator

import pytest
from mcp_orchestra.testing.servers import ScriptedServer
from tcp_server import TcpServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncGenerator[TcpServer]:
    async with TcpServer(ScriptedServer("remote").server).listening() as server:
        yield server
