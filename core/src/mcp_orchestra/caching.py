"""Makes the cache that a configuration asks for."""

import os
import platform
import time
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from mcp_orchestra.cache import Freshness, ResourceCache, resources_key, templates_key, tools_key
from mcp_orchestra.config.fingerprint import fingerprint
from mcp_orchestra.config.loaded import BoundTransport, LoadedConfig
from mcp_orchestra.config.models import MCPServerConfig

__all__ = ["apply_rules", "forget_others", "open_cache"]


def open_cache(loaded: LoadedConfig, *, store_timeout: float | None = None, near: bool = True) -> ResourceCache:
    """Open the configured backend and return the cache over it.

    Args:
        loaded: The configuration.
        store_timeout: Seconds that a call to the backend may take; what the configuration says by default.
        near: Whether to keep decoded entries in memory, as far as the configuration says.

    Raises:
        PluginError: The backend cannot be opened.
    """
    backend, rules = loaded.cache_backend, loaded.config.orchestration.cache
    return ResourceCache(
        loaded.config.orchestration.resource_cache_ttl,
        store=backend.open(),
        blocking=backend.spec.blocking,
        clock=time.time if backend.spec.persistent else time.monotonic,
        store_timeout=rules.timeout if store_timeout is None else store_timeout,
        freshness=_freshness(loaded),
        near_entries=rules.near_entries if near else 0,
        near_seconds=rules.near_seconds,
        partitions=_partitions(loaded),
    )


def forget_others(cache: ResourceCache, old: LoadedConfig, new: LoadedConfig, replaced: Collection[str]) -> None:
    """Drop what another configuration will not find any more, or must not.

    Args:
        cache: The cache of the old configuration.
        old: The configuration in force.
        new: The other one.
        replaced: Ids of servers that another one stands for from now on, in whatever way it is reached.
    """
    partitions = _partitions(new)
    for server_id, partition in _partitions(old).items():
        if server_id in replaced or partitions.get(server_id) != partition:
            for key in (resources_key, templates_key, tools_key):
                cache.invalidate(key(server_id))


def apply_rules(cache: ResourceCache, loaded: LoadedConfig) -> None:
    """Have a cache that stays go by the rules of another configuration."""
    cache.apply(loaded.config.orchestration.resource_cache_ttl, _freshness(loaded), _partitions(loaded))


def _freshness(loaded: LoadedConfig) -> Freshness:
    rules = loaded.config.orchestration.cache
    return Freshness(
        ttl_policy=rules.ttl_policy,
        max_stale=rules.max_stale,
        stale_while_revalidate=rules.stale_while_revalidate,
        ttl_jitter=rules.ttl_jitter,
    )


def _partitions(loaded: LoadedConfig) -> dict[str, str]:
    return {
        server_id: fingerprint(
            config,
            config.limits(loaded.config.orchestration),
            place=_place(config, loaded.transports.get(server_id)),
        )
        for server_id, config in loaded.config.mcp_servers.items()
    }


def _place(config: MCPServerConfig, bound: BoundTransport | None) -> str | None:
    """Return where this process is, if with the same configuration another server would be reached elsewhere."""
    host = platform.node()
    if bound is not None and bound.spec.spawns_process:
        # It sees the files of this user and of its folder, and may find credentials and data there.
        user, home = getattr(os, "getuid", int)(), os.environ.get("HOME", "")
        return f"{host} {user} {home} {_folder((config.model_extra or {}).get('cwd'))}"
    return host if _is_loopback(config.url) else None


def _folder(given: object) -> str:
    try:
        return str(Path(given if isinstance(given, str) else "").absolute())
    except OSError:  # this process's own folder is gone
        return ""


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False
