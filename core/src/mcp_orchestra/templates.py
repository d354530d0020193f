"""Which servers have a template for a URI that none is known to list."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from mcp_orchestra.cache import Answer, Fetched, ResourceCache, templates_key
from mcp_orchestra.connection.faults import METHOD_NOT_FOUND
from mcp_orchestra.connection.uri_templates import matches_any, parsed
from mcp_orchestra.connections import Connections
from mcp_orchestra.derived import Derived
from mcp_orchestra.errors import MCPOrchestratorException
from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.tasks import run_all

if TYPE_CHECKING:
    from mcp.shared.uri_template import UriTemplate

__all__ = ["Templates"]

_PATIENCE_SECONDS: Final = 2.0
"""So long a read waits for listings of templates: a slow server must not hold up what another one has."""

_REST_SECONDS: Final = 30.0
"""So long a server that could not list its templates in time is not asked for them again."""


class Templates:
    """The resource templates of all servers; listed when they are first needed, then cached.

    Args:
        connections: The connections to the servers.
        cache: Where the templates are kept.
    """

    def __init__(self, connections: Connections, cache: ResourceCache) -> None:
        self._connections = connections
        self.cache = cache
        self._parsed: Derived[list[UriTemplate]] = Derived(lambda _, data: parsed(_templates_in(data)))
        self._resting: dict[str, float] = {}

    async def matching(self, uri: str, servers: Sequence[MCPServerInfo]) -> set[str]:
        """Return the ids of the servers that have a template for the URI.

        Args:
            uri: The URI.
            servers: Those to look at; one that cannot list its templates, or not soon, counts as having none.
        """
        keys = {info.server_id: templates_key(info.server_id) for info in servers}
        cached = await self.cache.lookup(list(keys.values()), counts=False)  # it is asked where to ask
        missing = [info for info in servers if info.usable and keys[info.server_id] not in cached]
        fetched = dict(zip((i.server_id for i in missing), await run_all(map(self._ask, missing)), strict=True))
        found: set[str] = set()
        for info in servers:
            answer = cached.get(keys[info.server_id]) or fetched.get(info.server_id)
            if answer is None:
                continue
            if answer.stale and info.usable:
                self.cache.refresh(keys[info.server_id], partial(self._fetch, info))
            if matches_any(self._parsed.of(info.server_id, answer.data), uri):
                found.add(info.server_id)
        return found

    async def _ask(self, info: MCPServerInfo) -> Answer | None:
        """Return a server's templates, or None if they cannot be had soon: the read itself will find out why."""
        loop, key = asyncio.get_running_loop(), templates_key(info.server_id)
        if loop.time() < self._resting.get(info.server_id, 0.0):
            return None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self.cache.fetch(key, lambda: self._fetch(info), patience=_PATIENCE_SECONDS)
        except (TimeoutError, MCPOrchestratorException):
            self._resting[info.server_id] = loop.time() + _REST_SECONDS
            return None

    async def _fetch(self, info: MCPServerInfo) -> Fetched:
        connection = self._connections[info.server_id]
        current = connection.current
        if current is not None and current.server_capabilities.resources is None:
            return Fetched(data={"templates": []})
        try:
            listing = await connection.client.collect_resource_templates()
        except MCPOrchestratorException as error:
            if error.context.get("code") == METHOD_NOT_FOUND:
                return Fetched(data={"templates": []})
            raise
        return listing.hints.fetched({"templates": [template.uri_template for template in listing.items]})


def _templates_in(data: Mapping[str, Any]) -> list[str]:
    """Return the templates in what is cached under a server's key, where anybody may have put anything."""
    found = data.get("templates")
    return [one for one in cast("list[object]", found) if isinstance(one, str)] if isinstance(found, list) else []
