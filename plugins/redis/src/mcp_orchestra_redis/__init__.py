"""Keep cached resources in Redis or Valkey."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcp_orchestra import CacheBackendSpec, hookimpl

from mcp_orchestra_redis.options import RedisOptions

if TYPE_CHECKING:
    from mcp_orchestra_redis.store import RedisStore

__all__ = ["RedisOptions", "RedisStore", "mcp_orchestra_cache_backends"]


@hookimpl
def mcp_orchestra_cache_backends() -> Iterable[CacheBackendSpec]:
    """Offer the backend ``redis``."""
    yield CacheBackendSpec(name="redis", open=_open, options=RedisOptions, blocking=True, persistent=True)


def _open(options: RedisOptions | None) -> "RedisStore":
    from mcp_orchestra_redis.store import RedisStore

    return RedisStore(options)


def __getattr__(name: str) -> object:
    # Not imported above: the client library takes its time, and most who have this installed use another backend.
    if name == "RedisStore":
        from mcp_orchestra_redis.store import RedisStore

        return RedisStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
