"""All connections of one orchestrator: opened together, closed together."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.owner import Connection, ConnectionServices
from mcp_orchestra.connection.spawning import Spawning
from mcp_orchestra.errors import MCPConnectionError, NoMCPAvailableError
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.tasks import run_all
from mcp_orchestra.telemetry import Telemetry

__all__ = ["REVIVE_SECONDS", "Connections"]

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
        orchestration = loaded.config.orchestration
        services = ConnectionServices(
            registry=registry,
            telemetry=telemetry,
            redact=Redactor(loaded.secrets),
            spawning=Spawning(),
            changed=changed,
        )
        self._registry = registry
        self._by_id: dict[str, Connection] = {}
        for server_id, config in loaded.config.mcp_servers.items():
            if not config.enabled:
                registry.mark_disconnected(server_id, None, state="disabled")
                continue
            bound = loaded.transports[server_id]
            if bound.spec.deprecated:
                logger.warning(
                    "server %s: transport %s is deprecated: %s", server_id, bound.spec.name, bound.spec.deprecated
                )
            self._by_id[server_id] = Connection(
                server_id,
                config,
                bound.spec,
                bound.options,
                limits=config.limits(orchestration),
                max_retries=orchestration.max_retries,
                services=services,
            )

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
        opening = {asyncio.create_task(connection.open()): connection for connection in self}
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
        connected = [info.server_id for info in self._registry.get_connected_servers()]
        if failed and fail_fast:
            raise MCPConnectionError(
                f"{_servers(len(failed))} failed to connect: {_reasons(failed)}",
                {"failed": failed, "connected": connected},
            )
        if not connected:
            reasons = _reasons(failed) if failed else "no server is configured and enabled"
            raise NoMCPAvailableError(
                f"no server is available: {reasons}", {"failed": failed, "connected": [], "states": self.states()}
            )

    async def reopen(self) -> None:
        """Try once more to connect the servers that were given up."""
        await run_all(connection.open() for connection in self if connection.given_up)

    async def close(self) -> None:
        """Close all connections at once."""
        if self._by_id:
            await asyncio.wait([asyncio.create_task(connection.close()) for connection in self])

    async def revive(self, servers: Iterable[MCPServerInfo]) -> bool:
        """Make planned attempts to reconnect these servers now, and return whether any is connected after it."""
        found = [self._by_id[info.server_id] for info in servers if info.server_id in self._by_id]
        return any(await run_all(connection.revive(REVIVE_SECONDS) for connection in found))

    def states(self) -> Mapping[str, Mapping[str, str | None]]:
        """Return each server's state and error, for error contexts."""
        return {
            info.server_id: {"state": info.state, "error": info.connection_error}
            for info in self._registry.get_all_servers()
        }


def _servers(count: int) -> str:
    return "1 server" if count == 1 else f"{count} servers"


def _reasons(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{server_id}: {reason}" for server_id, reason in failed.items())
