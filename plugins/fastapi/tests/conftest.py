"""A real application behind a real server, and orchestrators over real upstreams."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import httpx2
import pytest
from fastapi import FastAPI
from mcp_orchestra import MCPConfig, MCPOrchestrator, MCPServerConfig, OrchestrationConfig, PluginManager
from mcp_orchestra.testing.servers import serve

Serving = Callable[[FastAPI], AbstractAsyncContextManager[httpx2.AsyncClient]]
Orchestrate = Callable[..., MCPOrchestrator]


@pytest.fixture
def serving() -> Serving:
    """Serve an application with uvicorn, lifespan included, and yield a client of it."""

    @asynccontextmanager
    async def serving(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
        with anyio.fail_after(60):
            async with (
                serve(app) as url,
                httpx2.AsyncClient(base_url=url.removesuffix("/mcp"), trust_env=False, timeout=20) as client,
            ):
                yield client

    return serving


@pytest.fixture
def orchestrate() -> Orchestrate:
    """Make an orchestrator: ``orchestrate({"a": {"url": …}}, fail_fast=True)``."""

    def orchestrate(
        servers: dict[str, dict[str, object]], *, plugins: PluginManager | None = None, **orchestration: object
    ) -> MCPOrchestrator:
        defaults: dict[str, object] = {"transport": "streamable-http", "timeout": 10}
        return MCPOrchestrator(
            plugins=plugins,
            config=MCPConfig(
                mcp_servers={
                    server_id: MCPServerConfig.model_validate({"name": server_id.title(), **defaults, **fields})
                    for server_id, fields in servers.items()
                },
                orchestration=OrchestrationConfig.model_validate(
                    {"fail_fast": False, "max_retries": 0, **orchestration}
                ),
            ),
        )

    return orchestrate


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the library says, and its logger's level as it was before."""
    logger = logging.getLogger("mcp_orchestra")
    level = logger.level
    yield caplog
    logger.setLevel(level)
