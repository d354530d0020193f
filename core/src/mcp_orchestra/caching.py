"""Makes the cache that a configuration asks for."""

import os
import platform
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from mcp_orchestra.cache import Freshness, ResourceCache
from mcp_orchestra.config.fingerprint import fingerprint
from mcp_orchestra.config.loaded import BoundTransport, LoadedConfig
from mcp_orchestra.config.models import MCPServerConfig

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
