"""Who is configured, who is connected, and for what.

The registry is a plain record keeper: connections write to it, routing and status read from it. It can be used on its
own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal

from mcp_orchestra.clock import loop_time
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.errors import UnknownServerError
from mcp_orchestra.suggest import did_you_mean
from mcp_orchestra.types import ServerState

__all__ = ["MCPRegistry", "MCPServerInfo"]

_FIRST_SHARE = 0.1


@dataclass(kw_only=True, eq=False)
class MCPServerInfo:
    """What is known about one registered server. The registry owns it; others read it."""

    name: str
    """Display name."""
    config: MCPServerConfig
    client: Any | None = None
    """The connected server's client, usable from any task of the loop that connected it; else None."""
    connected: bool = False
    last_connected: datetime | None = None
    """When the last connection succeeded, in UTC."""
    connection_error: str | None = None
    """Why the server is not connected, or what is wrong with it."""
    server_id: str = ""
    """The id it is registered under."""
    position: int = 0
    """Place in the order of registration, which decides between equal priorities."""
    state: ServerState = "pending"
    retry_at: float | None = None
    """When the next attempt to connect is made, on the event loop's clock; of a connected server, until when it is left
    alone. None if there is nothing to wait for."""
    latency: float | None = None
    """Seconds that its last answer took."""
    peak_latency: float | None = None
    """Seconds that its answers take, smoothed: follows a slower one at once and faster ones slowly."""
    in_flight: int = 0
    """Requests that it has not answered yet."""
    recovered_at: float | None = None
    """When it last came back after a failure, on the event loop's clock; None if it never did."""
    slow_start: float = 0.0
    """Seconds that it takes to get its full share after that."""

    @property
    def share(self) -> float:
        """How much of its usual load it should get, in (0, 1]: less than 1 while it starts slowly after a recovery."""
        if self.recovered_at is None or not self.slow_start:
            return 1.0
        started = max(0.0, loop_time() - self.recovered_at) / self.slow_start
        return min(1.0, _FIRST_SHARE + (1 - _FIRST_SHARE) * started)

    @property
    def available(self) -> bool:
        """Whether it is there for questions: connected, or to be started by the first question that needs it."""
        if self.connected:
            return True
        starting = self.state == "pending" or (self.state == "connecting" and self.connection_error is None)
        return starting and self.config.start == "on_first_use" and self.config.enabled

    @property
    def usable(self) -> bool:
        """Whether it would be asked now: it is available, and is not left alone."""
        if not self.available or self.state == "circuit_open":
            return False
        return self.retry_at is None or self.retry_at <= loop_time()


@dataclass(frozen=True)
class _Index:
    """The servers in order, and by what they declare: rebuilt on registration, never searched."""

    ordered: tuple[MCPServerInfo, ...] = ()
    domains: dict[str, list[MCPServerInfo]] = field(default_factory=dict[str, list[MCPServerInfo]])
    capabilities: dict[str, list[MCPServerInfo]] = field(default_factory=dict[str, list[MCPServerInfo]])


class MCPRegistry:
    """Registry of MCP servers and of the state of their connections.

    Every list it returns is sorted by (priority, order of registration) and is the caller's own.
    """

    def __init__(self) -> None:
        self._servers: dict[str, MCPServerInfo] = {}
        self._registered = 0
        self._index = _Index()
        self._version = 0

    @property
    def version(self) -> int:
        """A number that grows with every change to the servers or to who is connected."""
        return self._version

    def register_server(self, server_id: str, config: MCPServerConfig) -> None:
        """Register a server; one that is there under the same id is replaced and loses its connection."""
        self._servers[server_id] = MCPServerInfo(
            name=config.name, config=config, server_id=server_id, position=self._registered
        )
        self._registered += 1
        self._reindex()

    def exchange(self, configs: Mapping[str, MCPServerConfig], incoming: "MCPRegistry") -> "MCPRegistry":
        """Have just these servers from now on, in this order; who asks sees those before or these.

        Args:
            configs: The configuration of each server.
            incoming: Has those that are new here, or take the place of what is here under their id. The others are kept
                with all that is known about them.

        Returns:
            A registry that has what was here before.
        """
        before = MCPRegistry()
        before._servers, before._registered, before._index = self._servers, self._registered, self._index
        servers: dict[str, MCPServerInfo] = {}
        for position, (server_id, config) in enumerate(configs.items()):
            info = incoming.get_server(server_id) or self._known(server_id)
            info.name, info.config, info.position = config.name, config, position
            servers[server_id] = info
        self._servers, self._registered = servers, len(servers)
        self._reindex()
        return before

    def get_server(self, server_id: str) -> MCPServerInfo | None:
        """Return the server under this id, or None."""
        return self._servers.get(server_id)

    def get_servers_by_domain(self, domain: str) -> list[MCPServerInfo]:
        """Return the servers that declare the domain, the disconnected included."""
        return list(self._index.domains.get(domain, ()))

    def get_servers_by_capability(self, capability: str) -> list[MCPServerInfo]:
        """Return the servers that declare the capability, the disconnected included."""
        return list(self._index.capabilities.get(capability, ()))

    def get_all_servers(self) -> list[MCPServerInfo]:
        """Return all registered servers."""
        return list(self._index.ordered)

    def get_connected_servers(self) -> list[MCPServerInfo]:
        """Return the connected servers."""
        return [info for info in self._index.ordered if info.connected]

    def get_available_servers(self) -> list[MCPServerInfo]:
        """Return the connected servers, and those that the first question starts."""
        return [info for info in self._index.ordered if info.available]

    def get_server_by_capability(self, capability: str) -> MCPServerInfo | None:
        """Return the connected server with the highest priority that declares the capability, or None."""
        return next((info for info in self._index.capabilities.get(capability, ()) if info.connected), None)

    def is_last(self, info: MCPServerInfo) -> bool:
        """Return whether nobody else could be asked in a server's place, for one of its domains at least."""
        groups = [self.get_servers_by_domain(d) for d in info.config.domains] or [self.get_all_servers()]
        return any(not any(other.usable for other in group if other is not info) for group in groups)

    def get_domains(self) -> list[str]:
        """Return every declared domain, sorted."""
        return sorted(self._index.domains)

    def mark_connected(self, server_id: str, client: Any) -> None:
        """Mark the server as connected through this client.

        Raises:
            UnknownServerError: No server is registered under the id.
        """
        info = self._known(server_id)
        self._version += 1
        info.client = client
        info.connected = True
        info.last_connected = datetime.now(UTC)
        info.connection_error = None
        info.state = "ready"
        info.retry_at = None

    def mark_disconnected(
        self,
        server_id: str,
        error: str | None = None,
        *,
        state: ServerState | None = None,
        retry_at: float | None = None,
    ) -> None:
        """Mark the server as disconnected.

        Args:
            server_id: The server's id.
            error: Why, for people; None clears an earlier error.
            state: Where it stands now; by default ``closed`` without an error and ``failed`` with one.
            retry_at: When the next attempt is made, on the event loop's clock.

        Raises:
            UnknownServerError: No server is registered under the id.
        """
        info = self._known(server_id)
        self._version += 1
        info.client = None
        info.connected = False
        info.connection_error = error
        info.state = state or ("closed" if error is None else "failed")
        info.retry_at = retry_at

    def mark_condition(
        self,
        server_id: str,
        state: Literal["ready", "degraded", "circuit_open"],
        error: str | None = None,
        *,
        retry_at: float | None = None,
    ) -> None:
        """Mark how a connected server does; one that is not connected stays as it is.

        Args:
            server_id: The server's id.
            state: Where it stands.
            error: What is wrong with it, for people.
            retry_at: Until when it is left alone, on the event loop's clock.

        Raises:
            UnknownServerError: No server is registered under the id.
        """
        info = self._known(server_id)
        if info.connected:
            info.state, info.connection_error, info.retry_at = state, error, retry_at

    def _known(self, server_id: str) -> MCPServerInfo:
        if (info := self._servers.get(server_id)) is not None:
            return info
        raise UnknownServerError(
            f"no server is registered under {server_id!r}{did_you_mean(server_id, self._servers)}",
            {"server_id": server_id, "known": list(self._servers)},
        )

    def _reindex(self) -> None:
        ordered = sorted(self._servers.values(), key=attrgetter("config.priority", "position"))
        index = _Index(tuple(ordered))
        for info in ordered:
            for names, found in (
                (info.config.domains, index.domains),
                (info.config.capabilities, index.capabilities),
            ):
                for name in dict.fromkeys(names):
                    found.setdefault(name, []).append(info)
        self._index = index
        self._version += 1
