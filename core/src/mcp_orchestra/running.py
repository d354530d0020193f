"""What exists between ``initialize()`` and ``close()``: the connections, and those who ask over them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from mcp_orchestra.cache import ResourceCache, resources_key, tools_key
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connections import Connections
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.routing import Router
from mcp_orchestra.tasks import finish
from mcp_orchestra.telemetry import Telemetry

__all__ = ["Running"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started orchestrator."""

    connections: Connections
    gatherer: Gatherer
    catalogue: Catalogue

    @classmethod
    async def start(
        cls,
        loaded: LoadedConfig,
        registry: MCPRegistry,
        cache: ResourceCache,
        telemetry: Telemetry,
        *,
        fail_fast: bool,
    ) -> Self:
        """Connect every server; if that fails or is cancelled, everything opened is closed again first.

        Raises:
            MCPConnectionError: One failed, and the configuration says to fail fast.
            NoMCPAvailableError: None connected, or none is configured.
            PluginError: A routing policy cannot be created; nothing was opened.
        """

        def changed(server_id: str, changes: Collection[Change]) -> None:
            if "resources" in changes:
                cache.outdate(resources_key(server_id))
            if "tools" in changes:
                cache.outdate(tools_key(server_id))

        router = Router(
            loaded.routing.default.create(),
            {domain: policy.create() for domain, policy in loaded.routing.domains.items()},
        )
        connections = Connections(loaded, registry, telemetry, changed)
        try:
            await connections.open(fail_fast=fail_fast)
        except BaseException:
            await finish(connections.close())
            raise
        return cls(
            connections=connections,
            gatherer=Gatherer(
                registry=registry,
                connections=connections,
                cache=cache,
                router=router,
                fail_fast=fail_fast,
            ),
            catalogue=Catalogue(
                registry=registry, connections=connections, cache=cache, router=router, fail_fast=fail_fast
            ),
        )
