"""Answers from a cache that outlived its process, while the servers are still being connected."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mcp_orchestra.cache import ResourceCache, resources_key
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.parts import server_part
from mcp_orchestra.registry import MCPRegistry

__all__ = ["WarmStart"]

logger: logging.Logger = logging.getLogger(__name__)

_REST_SECONDS = 5.0
"""How long after a start that failed the next one is begun, as long as there is something to answer from."""


class WarmStart:
    """What there is to answer from before anything is connected.

    Args:
        bring_up: Connects the servers, or joins in if that is under way.
    """

    def __init__(self, bring_up: Callable[[], Awaitable[object]]) -> None:
        self._bring_up = bring_up
        self._opened: tuple[MCPRegistry, ResourceCache] | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._starting: set[asyncio.Task[object]] = set()
        self._resting_until = 0.0
        self._failed = False

    def opened(self, registry: MCPRegistry, cache: ResourceCache) -> None:
        """Say that the configuration was loaded and its cache opened, in the course of a start."""
        self._opened = registry, cache
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def closed(self) -> None:
        """Say that the cache is being closed."""
        self._opened = None

    async def gather(self) -> dict[str, Any] | None:
        """Start, and return the cached resources of all servers if every one of them is cached, else None once started.

        In the first case the start goes on behind; should it fail, that is logged, and the next question tries again.

        Raises:
            Exception: What the start raised.
        """
        if time.monotonic() < self._resting_until and (answer := await self._cached()) is not None:
            return answer  # the servers were not there a moment ago
        opened = asyncio.get_running_loop().create_future()
        starting = asyncio.ensure_future(self._bring_up())
        starting.add_done_callback(_retrieve)
        self._waiting.add(opened)
        try:
            if self._opened is None:
                await asyncio.wait({opened, starting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done() and (answer := await self._cached()) is not None:
                self._starting.add(starting)
                starting.add_done_callback(self._ended)
                return answer
            await asyncio.wait({starting})
        except BaseException:
            starting.cancel()
            raise
        finally:
            self._waiting.discard(opened)
        starting.result()
        return None

    async def _cached(self) -> dict[str, Any] | None:
        if self._opened is None:
            return None
        registry, cache = self._opened
        servers = [info for info in registry.get_all_servers() if info.config.enabled]
        keys = [resources_key(info.server_id) for info in servers]
        answers = await cache.lookup(keys, failing=keys, whole=True)
        if not answers:
            return None  # somebody would be missing who may well be there
        return {
            info.name: server_part(
                info, answer.copy(), stale=answer.stale or self._failed or info.connection_error is not None
            )
            for info, answer in zip(servers, map(answers.__getitem__, keys), strict=True)
        }

    def _ended(self, starting: asyncio.Future[object]) -> None:
        self._starting.discard(starting)
        if starting.cancelled():
            return
        if (error := starting.exception()) is None:
            self._failed = False
            return
        if isinstance(error, MCPConnectionError) and error.context.get("cause") == "closed":
            return
        self._failed = True
        self._resting_until = time.monotonic() + _REST_SECONDS
        logger.warning("answered from the cache, but the servers cannot be connected: %s", error)


def _retrieve(starting: asyncio.Future[object]) -> None:
    """Look at the outcome, so that asyncio does not report it as never retrieved when its caller is gone."""
    if not starting.cancelled():
        starting.exception()
