"""Connects with the application's start and closes with its end, also where upstreams are down at the start."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mcp_orchestra import (
    MCPConnectionError,
    MCPOrchestrator,
    MCPOrchestratorException,
    NoMCPAvailableError,
    auto_reload,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Lifespan

__all__ = ["RETRY_SECONDS", "lifespan"]

logger = logging.getLogger("mcp_orchestra.fastapi")

RETRY_SECONDS = 5.0
"""The pause between attempts to start. Once an orchestrator has started it reconnects by itself."""


def lifespan(
    orchestrator: MCPOrchestrator,
    *,
    also: "Lifespan[FastAPI] | None" = None,
    required: bool = False,
    reload: bool = False,
) -> "Lifespan[FastAPI]":
    """Return a lifespan for ``FastAPI(lifespan=…)`` that initialises the orchestrator, and closes it at the end.

    An application should be able to start while the servers it asks are down. So by default it does: the failure is
    logged and shown by the status, questions are answered with 503, and connecting is tried again every 5 s, and by
    every question, until it works. The start waits for the first attempt, which takes as long as the slowest server,
    at most the largest ``timeout`` of the configuration.

    Args:
        orchestrator: What to initialise and close. It is closed on every way out, a failed start included.
        also: The application's own lifespan. It is entered after the orchestrator was initialised and left before it
            is closed, so it may use it; what it yields becomes the application's state.
        required: Whether the application's start fails if initialising does.
        reload: Whether the configuration is loaded again while the application runs, when its file changes and on
            SIGHUP; see `mcp_orchestra.auto_reload`.

    Raises:
        ConfigurationError: On start, whether ``required`` or not: the configuration is missing or invalid.
        MCPConnectionError: On start, if ``required``: a server failed, and the configuration says to fail fast.
        NoMCPAvailableError: On start, if ``required``: no server is available.
    """

    @asynccontextmanager
    async def running(app: "FastAPI") -> AsyncGenerator[Any, None]:  # what it yields is up to the application
        retrying: asyncio.Task[None] | None = None
        try:
            try:
                await orchestrator.initialize()
            except (MCPConnectionError, NoMCPAvailableError) as error:
                if required:
                    raise
                logger.error("serving without MCP servers, and trying again: %s", error.message)
                retrying = asyncio.create_task(_start_later(orchestrator), name="mcp-orchestra-start")
            own: AbstractAsyncContextManager[Any] = also(app) if also is not None else nullcontext()
            watching = auto_reload(orchestrator) if reload else nullcontext()
            async with watching, own as state:
                yield state
        finally:
            if retrying is not None:
                retrying.cancel()
            await orchestrator.close()

    return running


async def _start_later(orchestrator: MCPOrchestrator) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            await orchestrator.initialize()
        except MCPOrchestratorException as error:
            logger.debug("still without MCP servers: %s", error.message)
        else:
            logger.info("MCP servers are available now")
            return
