"""Which tools there are, under names that are unique by construction, and how a call finds its server.

A tool keeps its own name while no other connected server has one like it; otherwise each is called
``<server id>__<tool>``. Server ids contain no double underscore and do not end with one, so the first double
underscore always divides the two, and a tool that calls itself like a prefixed name is prefixed too.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcp_orchestra.cache import Fetched, ResourceCache, tools_key
from mcp_orchestra.connection.faults import METHOD_NOT_FOUND
from mcp_orchestra.connections import REVIVE_SECONDS, Connections
from mcp_orchestra.errors import (
    MCPConnectionError,
    MCPOrchestratorException,
    NoMCPAvailableError,
    ToolCallError,
    ToolNotFoundError,
)
from mcp_orchestra.failover import attempt_of, may_ask_another
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.tasks import run_all
from mcp_orchestra.types import Question

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["Catalogue", "ToolInfo"]

_SEPARATOR = "__"


@dataclass(frozen=True, kw_only=True)
class ToolInfo:
    """A tool that can be called."""

    name: str
    """Its unique name, for `MCPOrchestrator.call_tool`."""
    server: str
    """Display name of its server."""
    server_id: str
    tool: str
    """Its name at its server."""
    title: str | None = None
    description: str | None = None
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] | None = None
    """What the server says of it; not to be trusted (specification 2026-07-28, server/tools)."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The tools of all servers."""

    registry: MCPRegistry
    connections: Connections
    cache: ResourceCache
    router: Router

    async def tools(self) -> list[ToolInfo]:
        """Return the tools of every connected server, in priority order; one that cannot list its own is left out.

        Raises:
            NoMCPAvailableError: No server is connected.
        """
        servers = self.registry.get_connected_servers()
        if not servers:
            raise NoMCPAvailableError("no server is connected", {"servers": dict(self.connections.states())})
        return list(self._named(await self._listed(servers)))

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        servers: Sequence[MCPServerInfo],
        question: Question | None,
        timeout: float | None,
    ) -> "CallToolResult":
        """Call a tool at the first of these servers that has it.

        Args:
            name: A unique name, or the tool's own name at a server.
            arguments: The tool's arguments.
            servers: Who may be asked.
            question: Why just these; with it several servers may have the tool, and the routing policy decides.
            timeout: Seconds to wait for the result.
        """
        wanted_id, tool = self._split(name)
        if wanted_id is not None:
            servers = [info for info in servers if info.server_id == wanted_id]
        candidates = await self._offering(name, tool, servers)
        if len(candidates) > 1 and question is None:
            names = ", ".join(f"{info.server_id}{_SEPARATOR}{tool}" for info in candidates)
            raise ToolNotFoundError(
                f"several servers offer the tool {tool!r}: call {names}, or give server=, domain= or capability=",
                {"tool": name, "candidates": [info.server_id for info in candidates], "delivered": "no"},
            )
        if len(candidates) > 1 and question is not None:
            candidates = self.router.order(question, candidates)
        attempts: list[Mapping[str, Any]] = []
        error: MCPOrchestratorException | None = None
        for info in candidates:
            connection = self.connections[info.server_id]
            await connection.revive(REVIVE_SECONDS)
            try:
                return await connection.client.call_tool(tool, arguments, timeout=timeout)
            except ToolCallError as failure:
                error = failure
                attempts.append(attempt_of(info, failure))
                if not may_ask_another("call", failure):
                    break
        if error is None:
            raise AssertionError("a tool call without candidates")
        error.context["attempts"] = attempts
        raise error

    def _split(self, name: str) -> tuple[str | None, str]:
        head, separator, tail = name.partition(_SEPARATOR)
        if separator and tail and self.registry.get_server(head) is not None:
            return head, tail
        return None, name

    async def _offering(self, name: str, tool: str, servers: Sequence[MCPServerInfo]) -> list[MCPServerInfo]:
        """Return the servers that have the tool, after a second look at fresh listings if none seems to."""
        reachable = [info for info in servers if info.connected]
        if not reachable:
            await self.connections.revive(servers)
            reachable = [info for info in servers if info.connected]
        listed: dict[str, list[Mapping[str, Any]]] = {}
        for refresh in (False, True):
            listed = await self._listed(reachable, refresh=refresh)
            if found := [i for i in reachable if any(t["name"] == tool for t in listed.get(i.server_id, ()))]:
                return found
        if servers and not reachable:
            raise ToolCallError(
                f"no server that could have the tool {name!r} is connected",
                {"tool": name, "delivered": "no", "cause": "lost", "servers": dict(self.connections.states())},
            )
        known = [info.name for info in self._named(listed)]
        near = get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ToolNotFoundError(
            f"no connected server offers the tool {name!r}{hint}", {"tool": name, "delivered": "no", "near": near}
        )

    async def _listed(
        self, servers: Sequence[MCPServerInfo], *, refresh: bool = False
    ) -> dict[str, list[Mapping[str, Any]]]:
        """Return each server's tools by its id; servers that cannot list them are absent."""
        cached: Mapping[str, dict[str, Any]] = {}
        if not refresh:
            cached = await self.cache.lookup([tools_key(info.server_id) for info in servers])

        async def one(info: MCPServerInfo) -> list[Mapping[str, Any]] | None:
            key = tools_key(info.server_id)
            if (hit := cached.get(key)) is not None:
                return list(hit["tools"])
            if refresh:
                self.cache.invalidate(key)
            try:
                return list((await self.cache.fetch(key, lambda: self._fetch(info)))["tools"])
            except MCPOrchestratorException:
                return None

        lists = await run_all(map(one, servers))
        return {info.server_id: tools for info, tools in zip(servers, lists, strict=True) if tools is not None}

    async def _fetch(self, info: MCPServerInfo) -> Fetched:
        client = self.connections[info.server_id].client
        try:
            answer = await client.list_tools()
        except MCPConnectionError as error:
            if error.context.get("code") == METHOD_NOT_FOUND:
                return Fetched(data={"tools": []})  # it has no tools at all
            raise
        tools = [
            {
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "input_schema": tool.input_schema,
                "output_schema": tool.output_schema,
                "annotations": tool.annotations.model_dump(exclude_none=True) if tool.annotations else None,
            }
            for tool in answer.tools
        ]
        return Fetched(data={"tools": tools}, ttl_ms=answer.ttl_ms or None, scope=answer.cache_scope)

    def _named(self, listed: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[ToolInfo]:
        owners = Counter(name for tools in listed.values() for name in {tool["name"] for tool in tools})
        for info in self.registry.get_all_servers():
            seen: set[str] = set()
            for tool in listed.get(info.server_id, ()):
                own = tool["name"]
                if own in seen:
                    continue  # the first of a server's own namesakes is the one that a call reaches
                seen.add(own)
                unique = owners[own] == 1 and self._split(own)[0] is None
                named: dict[str, Any] = {
                    **tool,
                    "name": own if unique else f"{info.server_id}{_SEPARATOR}{own}",
                    "server": info.name,
                    "server_id": info.server_id,
                    "tool": own,
                }
                yield ToolInfo(**named)
