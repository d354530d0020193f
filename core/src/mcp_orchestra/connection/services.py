"""What the connections of one orchestrator share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from mcp_orchestra.addresses import Network
from mcp_orchestra.connection.budget import ReconnectBudget
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.spawning import Spawning
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.telemetry import Telemetry

__all__ = ["ConnectionServices"]


@dataclass(frozen=True, kw_only=True)
class ConnectionServices:
    """What all connections of one orchestrator share."""

    registry: MCPRegistry
    telemetry: Telemetry
    redact: Redactor
    spawning: Spawning
    """Bounds how many child processes are being started at the same time."""
    budget: ReconnectBudget
    """Bounds how often all servers together are tried again."""
    changed: Callable[[str, Collection[Change]], None]
    """Called with a server's id and what of its offer has, or may have, changed."""
    allowed_networks: tuple[Network, ...] = ()
    """Where connections may go that nobody has configured, beside public addresses."""
