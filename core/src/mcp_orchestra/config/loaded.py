"""A configuration that was checked against the plug-ins: what the orchestrator works with."""

import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mcp_orchestra.config.files import Stamp
from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.config.tool_pins import ToolPins
from mcp_orchestra.errors import MCPOrchestratorException, PluginError
from mcp_orchestra.stores import CacheStore
from mcp_orchestra.types import CacheBackendSpec, RoutingPolicy, RoutingPolicySpec, TransportSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mcp_orchestra.plugins import PluginManager

__all__ = ["BoundCacheBackend", "BoundPolicy", "BoundRouting", "BoundTransport", "LoadedConfig"]


T = TypeVar("T")


def _make(factory: Callable[[], T], failure: str) -> T:
    """Call a plug-in's factory, whose exceptions are not ours and may quote an option that is a secret."""
    try:
        return factory()
    except MCPOrchestratorException:
        raise
    except Exception as error:
        raise PluginError(f"{failure}: {type(error).__name__}; check its options") from error


@dataclass(frozen=True, kw_only=True)
class BoundTransport:
    """The transport of one server. Its options may hold secrets, so they stay out of ``repr()``."""

    spec: TransportSpec
    options: "BaseModel | None" = field(default=None, repr=False)
    """The transport's own fields, validated; None for a transport without an options model."""


@dataclass(frozen=True, kw_only=True)
class BoundCacheBackend:
    """The chosen cache backend."""

    spec: CacheBackendSpec
    options: "BaseModel | None" = field(default=None, repr=False)
    """Its options, validated; None for a backend without an options model."""

    def open(self) -> CacheStore:
        """Make the store."""
        return _make(lambda: self.spec.open(self.options), f"cache backend {self.spec.name!r} cannot be opened")


@dataclass(frozen=True, kw_only=True)
class BoundPolicy:
    """A chosen routing policy."""

    spec: RoutingPolicySpec
    options: "BaseModel | None" = field(default=None, repr=False)
    """Its options, validated; None for a policy without an options model."""

    def create(self) -> RoutingPolicy:
        """Make the policy: a new one each time, for a policy may keep a state."""
        return _make(lambda: self.spec.create(self.options), f"routing policy {self.spec.name!r} cannot be created")


@dataclass(frozen=True, kw_only=True)
class BoundRouting:
    """Who decides which server is asked first."""

    default: BoundPolicy
    domains: Mapping[str, BoundPolicy]
    """The policies of single domains."""


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A configuration, checked completely: everything it names is there and every option is valid."""

    path: pathlib.Path | None
    """The file; None for a configuration made in Python."""
    stamp: Stamp | None = None
    """What the file looked like before it was read."""
    config: MCPConfig
    transports: Mapping[str, BoundTransport]
    """The transport of every server, the disabled ones included, by id."""
    cache_backend: BoundCacheBackend
    routing: BoundRouting
    tool_pins: ToolPins | None = None
    """The tools that were approved, if the configuration says so."""
    secrets: frozenset[str] = field(repr=False)
    """What must never be shown: what was put in for ``${…}``, headers, environment variables, passwords of URLs."""
    warnings: tuple[str, ...] = ()
    """What was taken otherwise than it was written, in plain words; for a log or a person."""
    plugins: "PluginManager" = field(repr=False)
