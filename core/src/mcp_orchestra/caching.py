"""Makes the cache that a configuration asks for."""

import time

from mcp_orchestra.cache import Freshness, ResourceCache
from mcp_orchestra.config.fingerprint import fingerprint
from mcp_orchestra.config.loader import LoadedConfig

__all__ = ["open_cache"]


def open_cache(loaded: LoadedConfig, *, store_timeout: float = 0.25, near: bool = True) -> ResourceCache:
    """Open the configured backend and return the cache over it.

    Args:
        loaded: The configuration.
        store_timeout: Seconds that a call to the backend may take, if it is one that has to be waited for.
        near: Whether to keep decoded entries in memory, as far as the configuration says.

    Raises:
        PluginError: The backend cannot be opened.
    """
    backend, orchestration = loaded.cache_backend, loaded.config.orchestration
    rules = orchestration.cache
    return ResourceCache(
        orchestration.resource_cache_ttl,
        store=backend.open(),
        blocking=backend.spec.blocking,
        clock=time.time if backend.spec.persistent else time.monotonic,
        store_timeout=store_timeout,
        freshness=Freshness(
            ttl_policy=rules.ttl_policy,
            max_stale=rules.max_stale,
            stale_while_revalidate=rules.stale_while_revalidate,
            ttl_jitter=rules.ttl_jitter,
        ),
        near_entries=rules.near_entries if near else 0,
        near_seconds=rules.near_seconds,
        partitions={
            server_id: fingerprint(config, config.limits(orchestration))
            for server_id, config in loaded.config.mcp_servers.items()
        },
    )
