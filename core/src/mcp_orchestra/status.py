"""Says how things stand: the document's status, and beside it what explains it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcp_orchestra.clock import loop_time
from mcp_orchestra.config.loaded import BoundTransport, LoadedConfig
from mcp_orchestra.redaction import Redactor, safe_url
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo

if TYPE_CHECKING:
    from mcp_orchestra.cache import ResourceCache
    from mcp_orchestra.connections import Connections
    from mcp_orchestra.offers import Offers
    from mcp_orchestra.plugins import PluginInfo

__all__ = ["describe", "describe_plugins", "describe_servers"]

_NO_STATISTICS = {"hits": 0, "misses": 0, "evictions": 0, "total_requests": 0, "hit_rate": "0.00%", "cached_items": 0}
_STDERR_LINES = 20
_LONGEST_WARNING = 300


def describe(
    loaded: LoadedConfig | None,
    registry: MCPRegistry,
    connections: "Connections | None",
    cache: "ResourceCache | None",
    offers: "Offers | None" = None,
) -> dict[str, Any]:
    """Return how things stand, as the document has it.

    Args:
        loaded: The configuration; None if none is loaded.
        registry: Its servers.
        connections: The connections to them while it is running, else None.
        cache: The cache, if there is one.
        offers: What the servers offer, while it is running.
    """
    servers: list[dict[str, Any]] = []
    if loaded is not None:
        redact = connections.redact if connections is not None else Redactor(loaded.secrets)
        servers = describe_servers(registry, loaded.transports, connections, redact, offers)
    return {
        "initialized": connections is not None,
        "servers": servers,
        "cache_stats": cache.get_stats() if cache is not None else dict(_NO_STATISTICS),
        "plugins": describe_plugins(loaded.plugins.installed()) if loaded else [],
    }


def describe_servers(
    registry: MCPRegistry,
    transports: Mapping[str, BoundTransport],
    connections: "Connections | None",
    redact: Redactor,
    offers: "Offers | None" = None,
) -> list[dict[str, Any]]:
    """Return one description for each registered server, in priority order."""
    now = loop_time()
    return [
        _describe(info, transports.get(info.server_id), connections, redact, offers, now)
        for info in registry.get_all_servers()
    ]


def describe_plugins(plugins: "Sequence[PluginInfo]") -> list[dict[str, Any]]:
    """Return what became of each installed plug-in."""
    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": plugin.state,
            "reason": plugin.reason,
            "offers": list(plugin.offers),
        }
        for plugin in plugins
    ]


def _describe(
    info: MCPServerInfo,
    bound: BoundTransport | None,
    connections: "Connections | None",
    redact: Redactor,
    offers: "Offers | None",
    now: float,
) -> dict[str, Any]:
    connection = connections.get(info.server_id) if connections is not None else None
    # Another thread may ask: what changes while we look is read once.
    retry_at, last_connected = info.retry_at, info.last_connected
    server_info = connection.server_info if connection is not None else None
    described: dict[str, Any] = {
        "name": info.name,
        "connected": info.connected,
        "priority": info.config.priority,
        "domains": list(info.config.domains),
        "error": info.connection_error,
        "id": info.server_id,
        "state": info.state,
        "capabilities": list(info.config.capabilities),
        "transport": bound.spec.name if bound is not None else info.config.transport,
        "url": redact(safe_url(info.config.url)) or None,
        "protocol_version": connection.protocol_version if connection is not None else None,
        "server_version": None,
        "last_connected": last_connected.isoformat() if last_connected is not None else None,
        "retry_in": round(max(0.0, retry_at - now), 3) if retry_at is not None else None,
        "latency": info.latency,
        "peak_latency": info.peak_latency,
        "in_flight": info.in_flight,
        "share": round(info.share, 3),
        "protocol_errors": 0,
        "warning": None,
        "tools_not_as_pinned": {},
        "stderr": [],
    }
    if server_info is not None:
        described["server_version"] = redact(f"{server_info.name} {server_info.version}".strip())
    warnings: list[str] = []
    if offers is not None and (warning := offers.warning(info.server_id)) is not None:
        warnings.append(warning)
        wrong = offers.last(info.server_id).not_as_pinned
        described["tools_not_as_pinned"] = {redact(name): why for name, why in wrong.items()}
    if connection is not None:
        described["protocol_errors"] = connection.diagnostics.protocol_errors
        if (warning := connection.diagnostics.warning) is not None:
            warnings.append(warning)
        described["stderr"] = [redact(line) for line in connection.diagnostics.tail(_STDERR_LINES)]
    if warnings:
        described["warning"] = redact("; ".join(warnings))[:_LONGEST_WARNING]
    return described
