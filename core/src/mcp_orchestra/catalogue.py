"""Which tools there are, and how a call finds its server.

A server that is down keeps its claim to the names of its tools: a name must not pass to another server because the
first one has gone away. A tool that is left out because it is not as it was approved claims nothing.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp_orchestra.cache import Answer, Fetched, ResourceCache, tools_key
from mcp_orchestra.connection.faults import METHOD_NOT_FOUND
from mcp_orchestra.connection.tools import facts_of
from mcp_orchestra.connections import Connections
from mcp_orchestra.errors import (
    MCPConnectionError,
    MCPOrchestratorException,
    ToolCallError,
    ToolNotFoundError,
)
from mcp_orchestra.failover import Failover, Purpose, in_words, unusable, why_unusable
from mcp_orchestra.offers import Offers, tools_in
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.selection import none_fits
from mcp_orchestra.tasks import run_all
from mcp_orchestra.tool_names import ToolInfo, divided, how_to_choose, named
from mcp_orchestra.types import Question

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["Catalogue"]

logger: logging.Logger = logging.getLogger(__name__)

_NO_NAMES: frozenset[str] = frozenset()
_SECOND_LOOK_SECONDS = 5.0
"""So often the servers are asked anew for a tool that none seems to have: made-up names must not keep them busy."""
_PATIENCE_SECONDS = 2.0
"""So long a call waits for the listing of one server if another one has the tool."""
_REST_SECONDS = 30.0
"""So long a server that did not list its tools in time holds up no other call of what another one has."""


@dataclass
class _Listed:
    """What the servers that were asked said of their tools."""

    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    names: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    failures: dict[str, MCPOrchestratorException] = field(default_factory=dict[str, MCPOrchestratorException])
    late: bool = False
    """Whether one did not say so soon; its claim stands for it."""

    def having(self, names: Sequence[str], servers: Sequence[MCPServerInfo]) -> tuple[list[MCPServerInfo], str]:
        """Return the servers that have a tool of the first of these names that any has, and that name."""
        for name in names:
            if found := [info for info in servers if name in self.names.get(info.server_id, _NO_NAMES)]:
                return found, name
        return [], names[0]


@dataclass(kw_only=True)
class Catalogue:
    """The tools of all servers."""

    registry: MCPRegistry
    connections: Connections
    cache: ResourceCache
    router: Router
    fail_fast: bool
    offers: Offers = field(default_factory=Offers)
    _looked_again_at: float = float("-inf")
    _resting: dict[str, float] = field(default_factory=dict[str, float])

    def adopt(self, other: "Catalogue", server_ids: Iterable[str]) -> None:
        """Know what these servers offer, from a catalogue that knew it before."""
        self.offers.adopt(other.offers, server_ids)

    async def tools(self) -> list[ToolInfo]:
        """Return the tools of every connected server, in priority order; one that cannot list its own is left out.

        Raises:
            NoMCPAvailableError: No server is connected.
            MCPConnectionError: A server cannot list its tools, and the configuration says to fail fast; or the
                orchestrator was closed meanwhile.
        """
        listed = await self._listed(await self.connections.available())
        if listed.failures and (self.fail_fast or self.connections.closed):
            raise next(iter(listed.failures.values()))
        return list(self._named(listed))

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
            timeout: Seconds to find the tool, and seconds to wait for its result from each server that is asked.
        """
        wanted_id, tool = divided(name, self.registry)
        if wanted_id is not None:
            wanted = [info for info in servers if info.server_id == wanted_id]
            if wanted or question is not None:
                servers = wanted
            else:
                tool = name  # another server was named: this is a tool of its own that looks like a prefixed one
        if not servers:
            raise ToolNotFoundError(none_fits(question), {"tool": name, "delivered": "no", "near": []})
        try:
            async with asyncio.timeout(timeout):
                candidates, tool = await self._offering(name, tool, servers)
        except TimeoutError:
            raise _not_found_in_time(name, timeout) from None
        offering = {info.server_id for info in candidates}
        having = [info for info in servers if info.server_id in offering or tool in self.claim(info)]
        if question is not None:
            # In its turn among all that have the tool: one that is down for a while does not change whose turn it is.
            candidates = [info for info in self.router.order(question, having) if info.server_id in offering]
        elif len(having) > 1:
            raise ToolNotFoundError(
                f"several servers offer the tool {tool!r}: {how_to_choose(having, tool)}",
                {"tool": name, "candidates": [info.server_id for info in having], "delivered": "no"},
            )
        failover = Failover()

        async def one(info: MCPServerInfo, *, last_resort: bool = False) -> "CallToolResult | None":
            if not (info.usable or last_resort):
                return None
            approve = partial(self._approve, info, tool, timeout) if self.offers.blocks else None
            client = self.connections[info.server_id].client
            return await client.call_tool(tool, arguments, timeout=timeout, approve=approve)

        def purpose(info: MCPServerInfo) -> Purpose:
            return "safe call" if info.config.may_repeat(tool) else "call"

        result = await failover.ask(candidates, one, purpose)
        if result is None and not failover.attempts:
            await self.connections.revive(candidates)
            result = await failover.ask(candidates, lambda info: one(info, last_resort=True), purpose)
        if result is not None:
            return result
        if (error := failover.error) is None:
            raise AssertionError("a tool is offered by one server at least, which was asked")
        failover.pass_over(having)
        error.context.update(failover.facts())
        raise error

    async def holders(self, name: str) -> tuple[list[MCPServerInfo], str, dict[str, str]]:
        """Return the servers that have a tool, its own name there, and why others are not among them, by id.

        Those that are connected are asked for what they have not listed yet; the others count by their claims.

        Args:
            name: A unique name, or the tool's own name at a server.
        """
        wanted_id, tool = divided(name, self.registry)
        servers = [info for info in self.registry.get_all_servers() if wanted_id in (None, info.server_id)]
        listed = await self._listed([info for info in servers if info.connected], counts=False)
        for info in servers:
            listed.names.setdefault(info.server_id, self.claim(info))
        found, own = listed.having((tool, name), servers)
        unlisted = {
            info.server_id: why_unusable(info) or "it is not started yet"
            for info in servers
            if not (info.connected or self.offers.known(info.server_id))
        } | {server_id: error.message for server_id, error in listed.failures.items()}
        why = {server_id: f"its tools cannot be listed: {reason}" for server_id, reason in unlisted.items()}
        return found, own, why | self.offers.refusals(servers, (tool, name))

    def claim(self, info: MCPServerInfo) -> frozenset[str]:
        """Return the names that a server's tools had when they were last listed."""
        return self.offers.last(info.server_id).names

    async def _offering(
        self, name: str, tool: str, servers: Sequence[MCPServerInfo]
    ) -> tuple[list[MCPServerInfo], str]:
        """Return the servers that have the tool, and its own name there; a tool may carry the id of its server.

        Those that had it when they were last seen, and are down, are connected again if none else has it. There is a
        second look at fresh listings if none seems to have it.
        """
        names = (tool, name)
        reachable = [info for info in servers if info.available]
        listed = await self._listed(reachable, patience=_PATIENCE_SECONDS)
        found, own = listed.having(names, reachable)
        absent = [info for info in servers if not (info.available or self.claim(info).isdisjoint(names))]
        again = listed.late
        if not found and (absent or not reachable):
            again |= await self.connections.revive(absent or servers)
            reachable = [info for info in servers if info.available]
            absent = [info for info in absent if not info.available]
        if not found and again:
            listed = await self._listed(reachable)
            found, own = listed.having(names, reachable)
        if not found and not absent and not listed.failures and self._may_look_again():
            listed = await self._listed(reachable, refresh=True)
            found, own = listed.having(names, reachable)
        if found:
            return found, own
        self.offers.refuse(name, servers, names)
        if absent or (servers and not reachable):
            raise ToolCallError(
                f"no server that could have the tool {name!r} is connected{in_words(unusable(absent or servers))}",
                {"tool": name, "delivered": "no", "cause": "lost", "servers": dict(self.connections.states())},
            )
        if listed.failures:
            error = next(iter(listed.failures.values()))
            raise ToolCallError(
                f"the tool {name!r} was not found, because not every server could list its tools: {error.message}",
                {**error.context, "tool": name, "delivered": "no", "operation": "tools/call"},
            ) from error
        known = [info.name for info in self._named(listed)]
        near = get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ToolNotFoundError(
            f"no connected server offers the tool {name!r}{hint}{in_words(unusable(servers))}",
            {"tool": name, "delivered": "no", "near": near},
        )

    async def _approve(self, info: MCPServerInfo, tool: str, timeout: float | None) -> None:
        """Refuse a call if the server's listing, which may have become outdated since, has not the approved tool."""
        try:
            async with asyncio.timeout(timeout):
                # What others cached may be older than the server that is connected.
                refresh = not self.connections[info.server_id].client.has_listed
                listed = await self._listed([info], refresh=refresh, counts=False)
        except TimeoutError:
            raise _not_found_in_time(tool, timeout) from None
        if (error := listed.failures.get(info.server_id)) is not None:
            message = f"the tool {tool!r} is not called, because what it is now cannot be listed: {error.message}"
            raise ToolCallError(message, {**error.context, "tool": tool, "delivered": "no", "operation": "tools/call"})
        self.offers.refuse(tool, [info], [tool])
        if tool not in listed.names[info.server_id]:
            raise ToolNotFoundError(
                f"server {info.server_id} does not list the tool {tool!r} any more", {"tool": tool, "delivered": "no"}
            )

    def _may_look_again(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._looked_again_at < _SECOND_LOOK_SECONDS:
            return False
        self._looked_again_at = now
        return True

    async def _listed(
        self,
        servers: Sequence[MCPServerInfo],
        *,
        patience: float | None = None,
        refresh: bool = False,
        counts: bool = True,
    ) -> _Listed:
        """Return each server's tools, or why it cannot list them.

        Args:
            servers: Whom to ask.
            patience: Seconds to wait for each; as long as a request may take by default.
            refresh: Whether to ask also for what is cached.
            counts: Whether the cache counts this.
        """
        keys = {info.server_id: tools_key(info.server_id) for info in servers}
        if refresh:
            for key in keys.values():
                self.cache.invalidate(key)
        cached = await self.cache.lookup(list(keys.values()), counts=counts)
        listed = _Listed()

        def take(info: MCPServerInfo, answer: Answer) -> None:
            if answer.stale:
                self.cache.refresh(keys[info.server_id], lambda: self._fetch(info))
            listed.answers[info.server_id] = answer
            listed.names[info.server_id] = self.offers.of(info.server_id, answer.data).names

        async def ask(info: MCPServerInfo) -> None:
            try:
                async with asyncio.timeout(patience):
                    take(info, await self._ask(info, keys[info.server_id]))
            except TimeoutError:
                self._resting[info.server_id] = asyncio.get_running_loop().time() + _REST_SECONDS
                be_late(info)
            except MCPOrchestratorException as error:
                logger.warning("%s", error.message)
                listed.failures[info.server_id] = error

        def be_late(info: MCPServerInfo) -> None:
            listed.late = True
            # What it had before is no proof that it is the tool that was approved.
            listed.names[info.server_id] = _NO_NAMES if self.offers.blocks else self.claim(info)

        now = asyncio.get_running_loop().time()
        missing: list[MCPServerInfo] = []
        for info in servers:
            answer = cached.get(keys[info.server_id])
            if answer is not None and not (answer.stale and self.offers.blocks):
                take(info, answer)
            elif patience is not None and now < self._resting.get(info.server_id, now):
                be_late(info)
            else:
                missing.append(info)
        await run_all(map(ask, missing))
        return listed

    async def _ask(self, info: MCPServerInfo, key: str) -> Answer:
        patience = self.connections[info.server_id].request_timeout
        fall_back = not self.offers.blocks  # an outdated copy does not show what a tool is now
        return await self.cache.fetch(key, lambda: self._fetch(info), fall_back=fall_back, patience=patience)

    async def _fetch(self, info: MCPServerInfo) -> Fetched:
        client = self.connections[info.server_id].client
        try:
            listing = await client.collect_tools()
        except MCPConnectionError as error:
            if error.context.get("code") == METHOD_NOT_FOUND:
                return Fetched(data={"tools": []})  # it has no tools at all
            raise
        return listing.hints.fetched({"tools": list(map(facts_of, listing.items))})

    def _named(self, listed: _Listed) -> Iterator[ToolInfo]:
        tools = {
            server_id: [(own, tool) for own, tool in tools_in(answer.copy()) if own in listed.names[server_id]]
            for server_id, answer in listed.answers.items()
        }
        return named(tools, self.registry, self.claim)


def _not_found_in_time(name: str, timeout: float | None) -> ToolCallError:
    return ToolCallError(
        f"the tool {name!r} was not found within {timeout:.3g} s",
        {"tool": name, "cause": "timeout", "delivered": "no", "retryable": True},
    )
