"""Makes the cache that a configuration asks for."""

import os
import time

from mcp_orchestra.cache import Freshness, ResourceCache
from mcp_orchestra.config.fingerprint import fingerprint
from mcp_orchestra.config.loader import LoadedConfig

__all__ = ["open_cache"]


def open_cache(loaded: LoadedConfig, *, store_timeout: float | None = None, near: bool = True) -> ResourceCache:
    """Open the configured backend and return the cache over it.

    Args:
        loaded: The configuration.
        store_timeout: Seconds that a call to the backend may take; what the configuration says by default.
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
        store_timeout=rules.timeout if store_timeout is None else store_timeout,
        freshness=Freshness(
            ttl_policy=rules.ttl_policy,
            max_stale=rules.max_stale,
            stale_while_revalidate=rules.stale_while_revalidate,
            ttl_jitter=rules.ttl_jitter,
        ),
        near_entries=rules.near_entries if near else 0,
        near_seconds=rules.near_seconds,
        partitions=_partitions(loaded),
    )


def _partitions(loaded: LoadedConfig) -> dict[str, str]:
    user = f"{getattr(os, 'getuid', int)()} {os.environ.get('HOME', '')}"
    partitions: dict[str, str] = {}
    for server_id, config in loaded.config.mcp_servers.items():
        bound = loaded.transports.get(server_id)
        runs_here = bound is not None and bound.spec.spawns_process
        limits = config.limits(loaded.config.orchestration)
        partitions[server_id] = fingerprint(config, limits, user=user if runs_here else None)
    return partitions
