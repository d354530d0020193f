"""Which servers list a resource: an index over what is cached of them, rebuilt when that changes."""

from collections.abc import Mapping
from typing import Any

from mcp_orchestra.cache import ResourceCache, Ticket, resources_key
from mcp_orchestra.derived import Derived
from mcp_orchestra.parts import listed
from mcp_orchestra.registry import MCPRegistry

__all__ = ["Owners"]

_NOBODY: frozenset[str] = frozenset()


class Owners:
    """The servers that are known to list each URI.

    Args:
        registry: The servers.
        cache: Where their resources are.
    """

    def __init__(self, registry: MCPRegistry, cache: ResourceCache) -> None:
        self.registry = registry
        self.cache = cache
        self._uris: Derived[frozenset[str]] = Derived(_uris_in)
        self._by_uri: dict[str, frozenset[str]] = {}
        self._built_from: dict[str, frozenset[str]] = {}
        self._ticket: Ticket | None = None
        self._registry_version = -1

    async def of(self, uri: str) -> frozenset[str]:
        """Return the ids of the servers that are known to list the URI."""
        if self._ticket is None or not self._holds(self._ticket):
            await self._look()
        return self._by_uri.get(uri, _NOBODY)

    def _holds(self, ticket: Ticket) -> bool:
        return self._registry_version == self.registry.version and self.cache.honours(ticket)

    async def _look(self) -> None:
        version, ticket = self.registry.version, self.cache.ticket()
        keys = {resources_key(info.server_id): info.server_id for info in self.registry.get_all_servers()}
        answers = await self.cache.lookup(list(keys), counts=False)  # it is asked where to ask, and not for an answer
        uris = {keys[key]: self._uris.of(keys[key], answer.data) for key, answer in answers.items()}
        self._uris.keep_only(set(uris))
        if not _same(uris, self._built_from):
            by_uri: dict[str, set[str]] = {}
            for server_id, listing in uris.items():
                for uri in listing:
                    by_uri.setdefault(uri, set()).add(server_id)
            self._by_uri = {uri: frozenset(server_ids) for uri, server_ids in by_uri.items()}
            self._built_from = uris
        self._ticket, self._registry_version = self.cache.grant(ticket, answers, counts=False), version


def _uris_in(_server_id: str, resources: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(uri for one in listed(resources) if isinstance(uri := one["uri"], str))


def _same(one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]) -> bool:
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)
