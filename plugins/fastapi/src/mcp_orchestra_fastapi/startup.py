"""Connects with the application's start and closes with its end, also where upstreams are down at the start."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mcp_orchestra import ConfigurationError, MCPOrchestrator, MCPOrchestratorException
from mcp_orchestra.connection.backoff import Backoff

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Lifespan

__all__ = ["Start", "lifespan", "start_of"]

logger = logging.getLogger("mcp_orchestra.fastapi")


class Start:
    """An orchestrator's start, which goes on in the background if nothing was there to connect to.

    Once an orchestrator has started it reconnects by itself; this is for the time before that.

    Args:
        orchestrator: What to start.
    """

    def __init__(self, orchestrator: MCPOrchestrator) -> None:
        self.error: MCPOrchestratorException | None = None
        """Why the last attempt failed; None once one has succeeded."""
        self._orchestrator = orchestrator
        self._retry_at = 0.0
        self._retrying: asyncio.Task[None] | None = None

    @property
    def retry_in(self) -> float:
        """Seconds until the next attempt; 0 while it is under way."""
        return max(0.0, self._retry_at - asyncio.get_running_loop().time())

    async def begin(self, *, required: bool) -> None:
        """Make the first attempt, and arrange for more if it fails and is not required to succeed.

        Raises:
            ConfigurationError: The configuration is missing or invalid: trying again would not help.
            MCPOrchestratorException: The attempt failed, and ``required`` is set.
        """
        try:
            await self._orchestrator.initialize()
        except ConfigurationError:
            raise
        except MCPOrchestratorException as error:
            if required:
                raise
            logger.error("serving without MCP servers, and trying again: %s", error.message)
            self.error = error
            self._retrying = asyncio.create_task(self._retry(), name="mcp-orchestra-start")

    async def stop(self) -> None:
        """Try no more."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait({self._retrying})

    async def _retry(self) -> None:
        backoff = Backoff(base=1.0)
        try:
            while self.error is not None:
                delay = backoff.next()
                self._retry_at = asyncio.get_running_loop().time() + delay
                await asyncio.sleep(delay)
                self.error = await self._attempt(self.error)
        finally:
            self.error = None  # however this ends: from here on the orchestrator speaks for itself
        logger.info("MCP servers are available now")

    async def _attempt(self, last: MCPOrchestratorException) -> MCPOrchestratorException | None:
        try:
            await self._orchestrator.initialize()
        except MCPOrchestratorException as error:
            if error.message != last.message:
                logger.warning("still without MCP servers: %s", error.message)
            return error
        return None


def lifespan(
    orchestrator: MCPOrchestrator, *, also: "Lifespan[FastAPI] | None" = None, required: bool = False
) -> "Lifespan[FastAPI]":
    """Return a lifespan for ``FastAPI(lifespan=…)`` that initialises the orchestrator, and closes it at the end.

    An application should be able to start while the servers it asks are down. So by default it does: the failure is
    logged and shown by the status, questions are answered with 503, and connecting is tried again in the background
    until it works. The start waits for the first attempt, which takes as long as the slowest server, at most the
    largest ``timeout`` of the configuration.

    Args:
        orchestrator: What to initialise and close. It is closed on every way out, a failed start included.
        also: The application's own lifespan. It is entered after the orchestrator was initialised and left before it
            is closed, so it may use it; what it yields becomes the application's state.
        required: Whether the application's start fails if initialising does.

    Raises:
        ConfigurationError: On start, whether ``required`` or not: the configuration is missing or invalid.
        MCPConnectionError: On start, if ``required``: a server failed, and the configuration says to fail fast.
        NoMCPAvailableError: On start, if ``required``: no server is available.
    """

    @asynccontextmanager
    async def running(app: "FastAPI") -> AsyncGenerator[Any, None]:  # what it yields is up to the application
        start = Start(orchestrator)
        starts = _starts(app)
        starts[orchestrator] = start
        try:
            await start.begin(required=required)
            own: AbstractAsyncContextManager[Any] = also(app) if also is not None else nullcontext()
            async with own as state:
                yield state
        finally:
            await start.stop()
            await orchestrator.close()
            starts.pop(orchestrator, None)

    return running


def start_of(app: "FastAPI", orchestrator: MCPOrchestrator) -> Start | None:
    """Return the orchestrator's start if the application's `lifespan` sees to it, else None."""
    return _starts(app).get(orchestrator)


def _starts(app: "FastAPI") -> dict[MCPOrchestrator, Start]:
    # On the application's state: it is all that a lifespan and a router that were made apart have in common.
    starts: dict[MCPOrchestrator, Start] | None = getattr(app.state, "mcp_orchestra_starts", None)
    if starts is None:
        starts = app.state.mcp_orchestra_starts = {}
    return starts
