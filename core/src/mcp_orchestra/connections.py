"""All connections of one orchestrator: opened together, closed together."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from ipaddress import ip_network

from mcp_orchestra.addresses import Network
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.connection.budget import ReconnectBudget
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.owner import Connection, ConnectionServices
from mcp_orchestra.connection.spawning import Spawning
from mcp_orchestra.errors import MCPConnectionError, NoMCPAvailableError
from mcp_orchestra.failover import in_words, unusable
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.tasks import run_all
from mcp_orchestra.telemetry import Telemetry

__all__ = ["REVIVE_SECONDS", "Connections", "close_all", "open_all", "refusal"]

logger: logging.Logger = logging.getLogger(__name__)

REVIVE_SECONDS = 2.0
"""How long a question waits for servers that are being reconnected, when no other could answer it."""


class Connections:
    """The connections to all enabled servers of a configuration, by server id.

    Args:
        loaded: The configuration.
        registry: Where the servers are registered; the connections keep it true.
        telemetry: For their spans.
        changed: Called with a server's id and what of its offer has, or may have, changed.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        registry: MCPRegistry,
        telemetry: Telemetry,
        changed: Callable[[str, Collection[Change]], None],
    ) -> None:
        self._registry = registry
        self.redact: Redactor = Redactor(loaded.secrets)
        """Knows the secrets of the configuration, and those that the connections have learned since."""
        self._services = ConnectionServices(
            registry=registry,
            telemetry=telemetry,
            redact=self.redact,
            allowed_networks=_allowed_networks(loaded),
            spawning=Spawning(),
            budget=ReconnectBudget(lambda: len(registry.get_all_servers()), asyncio.get_running_loop().time),
            changed=changed,
        )
        self._by_id: dict[str, Connection] = _made(loaded, loaded.config.mcp_servers, self._services)
        self.closed: bool = False
        """Whether all are being closed, or were: what fails from then on is no server's failure."""

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._by_id.values())

    def __getitem__(self, server_id: str) -> Connection:
        """Return the connection of a server.

        Raises:
            MCPConnectionError: There is none: the server was registered by hand, after the configuration was loaded.
        """
        if (connection := self._by_id.get(server_id)) is not None:
            return connection
        raise MCPConnectionError(
            f"server {server_id} is not in the configuration that was initialised",
            {"server_id": server_id, "cause": "unknown", "delivered": "no", "retryable": False},
        )

    def get(self, server_id: str) -> Connection | None:
        """Return the connection of a server, or None if it is disabled or unknown."""
        return self._by_id.get(server_id)

    async def open(self, *, fail_fast: bool) -> None:
        """Connect all servers at once, each within its own timeout.

        Args:
            fail_fast: Raise at the first failure, without waiting for the others.

        Raises:
            MCPConnectionError: One failed, and ``fail_fast`` is set.
            NoMCPAvailableError: None connected, or none is configured.
        """
        failed = await open_all(self, fail_fast=fail_fast)
        connected = [info.server_id for info in self._registry.get_connected_servers()]
        if failed and fail_fast:
            raise refusal(failed, connected)
        if not self._registry.get_available_servers():
            reasons = _reasons(failed) if failed else "no server is configured and enabled"
            raise NoMCPAvailableError(
                f"no server is available: {reasons}", {"failed": failed, "connected": [], "states": self.states()}
            )

    def made(self, loaded: LoadedConfig, server_ids: Iterable[str], registry: MCPRegistry) -> "dict[str, Connection]":
        """Return connections that take the places of some of these, or join them, once `succeed` is called.

        Args:
            loaded: The configuration that is to come.
            server_ids: Its servers that need one; none is made for those that are disabled.
            registry: Where just these servers are registered.
        """
        self.redact.know(loaded.secrets)
        services = replace(self._services, registry=registry, allowed_networks=_allowed_networks(loaded))
        return _made(loaded, server_ids, services)

    def succeed(
        self,
        loaded: LoadedConfig,
        incoming: Mapping[str, Connection],
        before: MCPRegistry,
        changed: Callable[[str, Collection[Change]], None],
    ) -> "tuple[Connections, dict[str, Connection]]":
        """Hand over to the connections of another configuration; what goes on over these goes on.

        Args:
            loaded: The other configuration.
            incoming: The connections that it has and this one has not.
            before: The registry that these know from now on. The others take over the one that was theirs.
            changed: As for the class.

        Returns:
            The other's connections, and those of these that are not among them and that somebody has to close.
        """
        successor: Connections = copy(self)
        services = successor._services = replace(
            self._services, allowed_networks=_allowed_networks(loaded), changed=changed
        )
        successor._by_id = {}
        orchestration = loaded.config.orchestration
        for server_id, config in loaded.config.mcp_servers.items():
            if config.enabled:
                connection = successor._by_id[server_id] = incoming.get(server_id) or self._by_id[server_id]
                connection.adjust(config, config.limits(orchestration), orchestration.max_retries)
                connection.serve(services)
        leaving = {key: one for key, one in self._by_id.items() if one is not successor._by_id.get(key)}
        for connection in leaving.values():
            connection.serve(replace(self._services, registry=before, changed=_unheard))
        self._registry = before
        return successor, leaving

    async def reopen(self) -> None:
        """Try once more to connect the servers that were given up, and those that refused the credentials."""
        await run_all(connection.open() for connection in self if connection.given_up)
        refused = [info.server_id for info in self._registry.get_all_servers() if info.state == "auth_required"]
        await run_all(self._by_id[server_id].retry() for server_id in refused if server_id in self._by_id)

    async def close(self) -> None:
        """Close all connections at once."""
        self.closed = True
        await close_all(self)

    async def revive(self, servers: Iterable[MCPServerInfo]) -> bool:
        """Make planned attempts to reconnect these servers now, and return whether any is connected after it."""
        found = [self._by_id[info.server_id] for info in servers if info.server_id in self._by_id]
        return any(await run_all(connection.revive(REVIVE_SECONDS) for connection in found))

    async def available(self) -> list[MCPServerInfo]:
        """Return the servers that can be asked, in priority order; if there is none, planned attempts are made first.

        Raises:
            NoMCPAvailableError: There is none even then.
        """
        servers = self._registry.get_available_servers()
        if not servers and await self.revive(self._registry.get_all_servers()):
            servers = self._registry.get_available_servers()
        if not servers:
            raise self.none_available()
        return servers

    def none_available(self) -> NoMCPAvailableError:
        """Return the error for a question to everybody while nobody is there."""
        why = in_words(unusable(self._registry.get_all_servers()))
        return NoMCPAvailableError(f"no server is connected{why}", {"servers": dict(self.states())})

    def states(self) -> Mapping[str, Mapping[str, str | None]]:
        """Return each server's state and error, for error contexts."""
        return {
            info.server_id: {"state": info.state, "error": info.connection_error}
            for info in self._registry.get_all_servers()
        }


async def close_all(connections: Iterable[Connection]) -> None:
    """Close connections at once."""
    if closing := [asyncio.create_task(connection.close()) for connection in connections]:
        await asyncio.wait(closing)


async def open_all(connections: Iterable[Connection], *, fail_fast: bool) -> dict[str, str]:
    """Connect at once, and return why those are not connected that are not.

    Args:
        connections: What to connect, each within its own timeout.
        fail_fast: Return at the first failure, without waiting for the others.
    """
    opening = {asyncio.create_task(connection.open()): connection for connection in connections}
    failed: dict[str, str] = {}
    pending = set(opening)
    try:
        while pending and not (failed and fail_fast):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (fault := task.result()) is not None:
                    failed[opening[task].server_id] = fault.reason
    finally:
        for task in pending:
            task.cancel()
    return failed


def refusal(failed: Mapping[str, str], connected: Iterable[str]) -> MCPConnectionError:
    """Return the error for servers that failed to connect while failing fast."""
    return MCPConnectionError(
        f"{_servers(len(failed))} failed to connect: {_reasons(failed)}",
        {"failed": dict(failed), "connected": list(connected)},
    )


def _allowed_networks(loaded: LoadedConfig) -> tuple[Network, ...]:
    return tuple(map(ip_network, loaded.config.orchestration.security.allowed_networks))


def _made(loaded: LoadedConfig, server_ids: Iterable[str], services: ConnectionServices) -> dict[str, Connection]:
    """Return new connections to those of these servers that are enabled."""
    orchestration = loaded.config.orchestration
    made: dict[str, Connection] = {}
    for server_id in server_ids:
        config, bound = loaded.config.mcp_servers[server_id], loaded.transports[server_id]
        if not config.enabled:
            services.registry.mark_disconnected(server_id, None, state="disabled")
            continue
        if bound.spec.deprecated:
            logger.warning(
                "server %s: transport %s is deprecated: %s", server_id, bound.spec.name, bound.spec.deprecated
            )
        made[server_id] = Connection(
            server_id,
            config,
            bound.spec,
            bound.options,
            limits=config.limits(orchestration),
            supervision=config.supervision(orchestration),
            max_retries=orchestration.max_retries,
            services=services,
        )
    return made


def _unheard(server_id: str, changes: Collection[Change]) -> None:
    """Hear of changes of a server whose answers are not kept any more."""


def _servers(count: int) -> str:
    return "1 server" if count == 1 else f"{count} servers"


def _reasons(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{server_id}: {reason}" for server_id, reason in failed.items())
