"""What exists between ``initialize()`` and ``close()``: the connections, and those who ask over them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from mcp_orchestra.cache import ResourceCache, resources_key, templates_key, tools_key
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connections import Connections
from mcp_orchestra.explaining import Explainer
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.owners import Owners
from mcp_orchestra.reading import Reader
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.routing import Router
from mcp_orchestra.tasks import finish
from mcp_orchestra.telemetry import Telemetry
from mcp_orchestra.templates import Templates

__all__ = ["Running"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started orchestrator."""

    connections: Connections
    gatherer: Gatherer
    reader: Reader
    catalogue: Catalogue
    explainer: Explainer

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
                cache.outdate(templates_key(server_id))  # the protocol has no notice of their own
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
        catalogue = Catalogue(
            registry=registry, connections=connections, cache=cache, router=router, fail_fast=fail_fast
        )
        reader = Reader(
            connections=connections,
            router=router,
            owners=Owners(registry, cache),
            templates=Templates(connections, cache),
        )
        return cls(
            connections=connections,
            gatherer=Gatherer(
                registry=registry,
                connections=connections,
                cache=cache,
                router=router,
                fail_fast=fail_fast,
            ),
            reader=reader,
            catalogue=catalogue,
            explainer=Explainer(
                registry=registry,
                cache=cache,
                router=router,
                reader=reader,
                catalogue=catalogue,
                policy=loaded.routing.default.spec.name,
                domains={domain: policy.spec.name for domain, policy in loaded.routing.domains.items()},
            ),
        )
