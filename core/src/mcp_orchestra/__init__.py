"""MCP Orchestra: many Model Context Protocol servers as if they were one.

The names below are loaded on first use: importing this package imports none of its dependencies.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_orchestra.cache import ResourceCache
    from mcp_orchestra.config.difference import ReloadResult
    from mcp_orchestra.config.loader import load_config
    from mcp_orchestra.config.models import MCPConfig, MCPServerConfig, OrchestrationConfig
    from mcp_orchestra.diagnostics import Diagnostics
    from mcp_orchestra.errors import (
        ConfigurationError,
        MCPConnectionError,
        MCPOrchestratorException,
        NoMCPAvailableError,
        PluginError,
        ResourceFetchError,
        ToolCallError,
        ToolNotFoundError,
        UnknownServerError,
    )
    from mcp_orchestra.explaining import Explanation, RankedServer
    from mcp_orchestra.hookspecs import hookimpl
    from mcp_orchestra.orchestrator import MCPOrchestrator
    from mcp_orchestra.plugins import PluginInfo, PluginManager
    from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
    from mcp_orchestra.stores import (
        CacheStore,
        GivesNotice,
        GrantsLeases,
        KeepsObjects,
        StoredEntry,
        StoredObject,
        TellsOfChanges,
    )
    from mcp_orchestra.types import (
        CacheBackendSpec,
        Candidate,
        Endpoint,
        Question,
        RoutingPolicy,
        RoutingPolicySpec,
        ServerState,
        TransportSpec,
    )
    from mcp_orchestra.watching import auto_reload

    __version__: str

__all__ = [
    "CacheBackendSpec",
    "CacheStore",
    "Candidate",
    "ConfigurationError",
    "Diagnostics",
    "Endpoint",
    "Explanation",
    "GivesNotice",
    "GrantsLeases",
    "KeepsObjects",
    "MCPConfig",
    "MCPConnectionError",
    "MCPOrchestrator",
    "MCPOrchestratorException",
    "MCPRegistry",
    "MCPServerConfig",
    "MCPServerInfo",
    "NoMCPAvailableError",
    "OrchestrationConfig",
    "PluginError",
    "PluginInfo",
    "PluginManager",
    "Question",
    "RankedServer",
    "ReloadResult",
    "ResourceCache",
    "ResourceFetchError",
    "RoutingPolicy",
    "RoutingPolicySpec",
    "ServerState",
    "StoredEntry",
    "StoredObject",
    "TellsOfChanges",
    "ToolCallError",
    "ToolNotFoundError",
    "TransportSpec",
    "UnknownServerError",
    "__version__",
    "auto_reload",
    "hookimpl",
    "load_config",
]

_HOME = {
    "cache": ("ResourceCache",),
    "config.difference": ("ReloadResult",),
    "config.loader": ("load_config",),
    "config.models": ("MCPConfig", "MCPServerConfig", "OrchestrationConfig"),
    "diagnostics": ("Diagnostics",),
    "errors": (
        "ConfigurationError",
        "MCPConnectionError",
        "MCPOrchestratorException",
        "NoMCPAvailableError",
        "PluginError",
        "ResourceFetchError",
        "ToolCallError",
        "ToolNotFoundError",
        "UnknownServerError",
    ),
    "explaining": ("Explanation", "RankedServer"),
    "hookspecs": ("hookimpl",),
    "orchestrator": ("MCPOrchestrator",),
    "plugins": ("PluginInfo", "PluginManager"),
    "registry": ("MCPRegistry", "MCPServerInfo"),
    "stores": (
        "CacheStore",
        "GivesNotice",
        "GrantsLeases",
        "KeepsObjects",
        "StoredEntry",
        "StoredObject",
        "TellsOfChanges",
    ),
    "types": (
        "CacheBackendSpec",
        "Candidate",
        "Endpoint",
        "Question",
        "RoutingPolicy",
        "RoutingPolicySpec",
        "ServerState",
        "TransportSpec",
    ),
    "watching": ("auto_reload",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("mcp-orchestra")
    elif name in _MODULE_OF:
        value = getattr(import_module(f"mcp_orchestra.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
