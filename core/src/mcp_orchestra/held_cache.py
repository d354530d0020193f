"""The cache of the configuration in force: opened when it is needed, closed with everything else."""

import asyncio
from typing import TYPE_CHECKING

from mcp_orchestra.config.loaded import LoadedConfig

if TYPE_CHECKING:
    from mcp_orchestra.cache import ResourceCache

__all__ = ["HeldCache"]

_OPENING_SECONDS = 2.0
"""How long a cache that is being opened is waited for, in order to close it."""


class HeldCache:
    """Has the cache, if there is one, and those that it took the place of and that are not closed yet."""

    def __init__(self) -> None:
        self.current: ResourceCache | None = None
        self._replaced: list[ResourceCache] = []
        self._opening: asyncio.Task[ResourceCache] | None = None

    def of(self, loaded: LoadedConfig) -> "ResourceCache":
        """Return the cache, opening it if there is none."""
        if self.current is None:
            self.current = _open_cache(loaded)
        return self.current

    async def ready(self, loaded: LoadedConfig) -> "ResourceCache":
        """Return the cache, opening it off the event loop if there is none, or one that is closed."""
        if self.current is None or self.current.closed:
            self._opening = opening = asyncio.create_task(asyncio.to_thread(_open_cache, loaded))
            opening.add_done_callback(self._keep)
            await asyncio.shield(opening)
        return self.of(loaded)

    def replace(self) -> None:
        """Have none: it is another configuration's."""
        if self.current is not None:
            self._replaced.append(self.current)
            self.current = None

    async def aclose(self) -> None:
        """Close all, also one that is being opened."""
        if self._opening is not None and not self._opening.done():
            await asyncio.wait({self._opening}, timeout=_OPENING_SECONDS)
        for cache in [*self._replaced, *([self.current] if self.current is not None else [])]:
            await cache.aclose()
        self._replaced.clear()

    def _keep(self, opening: "asyncio.Task[ResourceCache]") -> None:
        """Take over a cache even if whoever opened it was cancelled meanwhile, so that it will be closed."""
        if not opening.cancelled() and opening.exception() is None:
            self.replace()
            self.current = opening.result()


def _open_cache(loaded: LoadedConfig) -> "ResourceCache":
    from mcp_orchestra.caching import open_cache  # takes its time to import

    return open_cache(loaded)
