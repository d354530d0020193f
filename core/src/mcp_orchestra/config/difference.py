"""What is different between two configurations, as far as it matters for what is running."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mcp_orchestra.config.loaded import LoadedConfig
from mcp_orchestra.config.models import LimitsConfig, OrchestrationConfig, SecurityConfig
from mcp_orchestra.errors import ConfigurationError

__all__ = ["ReloadResult", "compare", "refuse_other_plugins", "same_cache_store"]

_NOTHING: Mapping[str, str] = MappingProxyType({})

# A connection is told of these; whatever else a server or all of them have in common takes a new one. That is also
# what a field gets that somebody adds and does not think of here.
_LIMITS = frozenset(LimitsConfig.model_fields) - {"max_message_bytes"}
_SERVER = _LIMITS | {
    *("name", "priority", "weight", "domains", "capabilities", "safe_tools"),
    *("max_message_bytes", "transport"),
}
_ORCHESTRATION = frozenset(LimitsConfig.model_fields) | {
    "resource_cache_ttl",
    "fail_fast",
    "enable_logging",
    "log_level",
    "max_retries",
    "cache",
    "routing",
    "security",
}
_PINS = frozenset({"tool_pins", "tool_pins_policy"})


@dataclass(frozen=True, kw_only=True)
class ReloadResult:
    """What became of each server when a configuration was loaded again, by id and in the order of the configuration."""

    added: tuple[str, ...] = ()
    """They are new."""
    removed: tuple[str, ...] = ()
    """They are not in the configuration any more; their connections end when the requests under way have."""
    changed: tuple[str, ...] = ()
    """They are reached in another way, and got a new connection (or none, if they are disabled now)."""
    updated: tuple[str, ...] = ()
    """They are described otherwise (name, priority, weight, domains, capabilities, limits, pinned tools), no more."""
    unchanged: tuple[str, ...] = ()
    """Nothing of them is different."""
    failed: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """Why those of ``added`` and ``changed`` are not connected that are not; they are being retried if that helps."""


def compare(old: LoadedConfig | None, new: LoadedConfig) -> ReloadResult:
    """Return what becomes of each server; nothing has failed yet.

    Args:
        old: The configuration in force, if there is one.
        new: What takes its place.
    """
    before = old.config.mcp_servers if old is not None else {}
    kinds: dict[str, str] = {}
    for server_id in new.config.mcp_servers:
        if old is None or server_id not in before:
            kinds[server_id] = "added"
        elif _connected_by(old, server_id) != _connected_by(new, server_id):
            kinds[server_id] = "changed"
        elif _described_by(old, server_id) != _described_by(new, server_id):
            kinds[server_id] = "updated"
        else:
            kinds[server_id] = "unchanged"

    def those(wanted: str) -> tuple[str, ...]:
        return tuple(server_id for server_id, kind in kinds.items() if kind == wanted)

    return ReloadResult(
        added=those("added"),
        removed=tuple(server_id for server_id in before if server_id not in new.config.mcp_servers),
        changed=those("changed"),
        updated=those("updated"),
        unchanged=those("unchanged"),
    )


def same_cache_store(old: LoadedConfig, new: LoadedConfig) -> bool:
    """Return whether the store of cached entries stays the same, and the way in which it is called."""
    if old.cache_backend != new.cache_backend:
        return False
    ways = [
        (rules.timeout, rules.near_entries, rules.near_seconds)
        for rules in (old.config.orchestration.cache, new.config.orchestration.cache)
    ]
    return ways[0] == ways[1] or not new.cache_backend.spec.blocking


def refuse_other_plugins(old: LoadedConfig, new: LoadedConfig) -> None:
    """Refuse a configuration for which other plug-ins would have to be imported, or should never have been.

    Raises:
        ConfigurationError: It disables others.
    """
    if set(old.config.plugins.disabled) != set(new.config.plugins.disabled):
        where = f"{new.path}: " if new.path is not None else ""
        raise ConfigurationError(
            f"{where}plugins.disabled: expected the same names as before, because a plug-in that was imported stays "
            "imported; restart the process to use another list",
            {"path": str(new.path) if new.path is not None else None, "field": "plugins.disabled"},
        )


def _connected_by(loaded: LoadedConfig, server_id: str) -> object:
    """Return what a server's connection was made from."""
    config, orchestration = loaded.config.mcp_servers[server_id], loaded.config.orchestration
    bound = loaded.transports[server_id]
    return (
        bound.spec,
        bound.options,
        {name: getattr(config, name) for name in type(config).model_fields if name not in _SERVER},
        config.limits(orchestration).max_message_bytes,
        {name: getattr(orchestration, name) for name in OrchestrationConfig.model_fields if name not in _ORCHESTRATION},
        {name: getattr(orchestration.security, name) for name in SecurityConfig.model_fields if name not in _PINS},
    )


def _described_by(loaded: LoadedConfig, server_id: str) -> object:
    config, pins = loaded.config.mcp_servers[server_id], loaded.tool_pins
    approved = (pins.policy, pins.of(server_id)) if pins is not None else None
    return config, config.limits(loaded.config.orchestration), approved
