"""What exists between ``initialize()`` and ``close()``: the connections, and those who ask over them."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

from mcp_orchestra.cache import ResourceCache, resources_key, templates_key, tools_key
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connections import Connections
from mcp_orchestra.explaining import Explainer
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.offers import Offers
from mcp_orchestra.owners import Owners
from mcp_orchestra.prompting import Prompter
from mcp_orchestra.reading import Reader
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.retiring import Retiring, Usage
from mcp_orchestra.routing import Router
from mcp_orchestra.tasks import finish
from mcp_orchestra.telemetry import Telemetry
from mcp_orchestra.templates import Templates

__all__ = ["Running", "make_router", "outdating"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started orchestrator."""

    connections: Connections
    gatherer: Gatherer
    reader: Reader
    catalogue: Catalogue
    prompter: Prompter
    explainer: Explainer
    usage: Usage
    """Who is using this; what is replaced is closed after that."""
    retiring: Retiring
    """What was replaced before."""

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
        router = make_router(loaded)
        connections = Connections(loaded, registry, telemetry, outdating(cache))
        try:
            await connections.open(fail_fast=fail_fast)
        except BaseException:
            await finish(connections.close())
            raise
        return cls.over(
            loaded, registry=registry, connections=connections, cache=cache, router=router, fail_fast=fail_fast
        )

    @classmethod
    def over(
        cls,
        loaded: LoadedConfig,
        *,
        registry: MCPRegistry,
        connections: Connections,
        cache: ResourceCache,
        router: Router,
        fail_fast: bool,
        after: "Running | None" = None,
    ) -> Self:
        """Put the parts together.

        Args:
            loaded: The configuration.
            registry: The servers.
            connections: The connections to them.
            cache: What is cached of them.
            router: Decides which of them is asked.
            fail_fast: Whether a server that fails makes a question about all of them fail.
            after: What was running before.
        """
        catalogue = Catalogue(
            registry=registry,
            connections=connections,
            cache=cache,
            router=router,
            fail_fast=fail_fast,
            offers=Offers(loaded.tool_pins, connections.redact),
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
                registry=registry, connections=connections, cache=cache, router=router, fail_fast=fail_fast
            ),
            reader=reader,
            catalogue=catalogue,
            prompter=Prompter(connections=connections, router=router, fail_fast=fail_fast),
            explainer=Explainer(
                registry=registry,
                cache=cache,
                router=router,
                reader=reader,
                catalogue=catalogue,
                policy=loaded.routing.default.spec.name,
                domains={domain: policy.spec.name for domain, policy in loaded.routing.domains.items()},
            ),
            usage=Usage() if after is None else after.usage.successor(),
            retiring=Retiring() if after is None else after.retiring,
        )

    def stand_back(self, registry: MCPRegistry, cache: ResourceCache) -> None:
        """Answer what is under way from another registry and cache: those that there were now are a successor's."""
        for part in (self.gatherer, self.catalogue, self.explainer, self.reader.owners):
            part.registry, part.cache = registry, cache
        self.reader.templates.cache = cache

    async def close(self) -> None:
        """Close everything, also what was replaced and is still in use."""
        await asyncio.gather(self.connections.close(), self.retiring.aclose())


def outdating(cache: ResourceCache) -> Callable[[str, Collection[Change]], None]:
    """Return what to call when a server's offer has, or may have, changed."""

    def changed(server_id: str, changes: Collection[Change]) -> None:
        if "resources" in changes:
            cache.outdate(resources_key(server_id))
            cache.outdate(templates_key(server_id))  # the protocol has no notice of their own
        if "tools" in changes:
            cache.outdate(tools_key(server_id))

    return changed


def make_router(loaded: LoadedConfig) -> Router:
    """Make the routing policies of a configuration.

    Raises:
        PluginError: One cannot be created.
    """
    return Router(
        loaded.routing.default.create(),
        {domain: policy.create() for domain, policy in loaded.routing.domains.items()},
    )
