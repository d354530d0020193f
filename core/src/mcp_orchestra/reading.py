"""Reads one resource: from who lists it, else from who has a template for it, else from whoever has it after all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mcp_orchestra.connections import Connections
from mcp_orchestra.errors import NoMCPAvailableError, ResourceFetchError
from mcp_orchestra.failover import Failover, Purpose, in_words
from mcp_orchestra.owners import Owners
from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.templates import Templates
from mcp_orchestra.types import Question

if TYPE_CHECKING:
    from mcp_types import ReadResourceResult

__all__ = ["Claim", "Reader", "by_claim"]

Claim = Literal["lists it", "has a template for it", "may have it"]
"""Why a server is asked for a resource; the first kind before the second, and that before the third."""

_RANK: Mapping[Claim, int] = {"lists it": 0, "has a template for it": 1, "may have it": 2}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads resources by their URIs."""

    connections: Connections
    router: Router
    owners: Owners
    templates: Templates

    async def read(self, uri: str, servers: Sequence[MCPServerInfo], key: str | None = None) -> "ReadResourceResult":
        """Return a resource's contents from the first of these servers that has it.

        Args:
            uri: The resource's URI.
            servers: Who may be asked.
            key: What the caller wants the same server for each time.

        Raises:
            ResourceFetchError: None of them has it or can be asked.
            NoMCPAvailableError: None of them is connected.
        """
        ordered = self.router.order(Question(kind="uri", value=uri, key=key), servers)
        claims = await self.claims(uri, ordered)
        candidates = by_claim(ordered, claims)
        owners = [info for info in candidates if claims[info.server_id] == "lists it"]
        if owners and not any(info.usable for info in owners):
            await self.connections.revive(owners)
        failover = Failover()

        async def one(info: MCPServerInfo, *, last_resort: bool = False) -> "ReadResourceResult | None":
            if not (info.usable or (last_resort and info.connected)):
                return None
            return await self.connections[info.server_id].client.read_resource(uri)

        def purpose(info: MCPServerInfo) -> Purpose:
            return "owned read" if claims[info.server_id] == "lists it" else "read"

        answer = await failover.ask(candidates, one, purpose)
        if answer is None and failover.may_go_on:
            # After somebody's answer only those are waited for that are known to have it: most resources are nowhere.
            if last_resort := not failover.attempts:
                again = candidates
            else:
                again = [info for info in candidates if claims[info.server_id] != "may have it"]
            await self.connections.revive(again)
            answer = await failover.ask(again, lambda info: one(info, last_resort=last_resort), purpose)
        if answer is not None:
            return answer
        if (error := failover.error) is None:
            raise NoMCPAvailableError(
                f"no server is connected that could read {uri}{in_words(failover.passed_over)}",
                {"uri": uri, "passed_over": failover.passed_over},
            )
        if len(failover.attempts) == 1 and not failover.passed_over:
            error.context.update(failover.facts())
            raise error
        last = failover.attempts[-1]
        raise ResourceFetchError(
            f"no server could read {uri}: {last['reason']}{in_words(failover.passed_over)}",
            {**error.context, "server": last["server"], "server_id": last["server_id"], "uri": uri} | failover.facts(),
        ) from error

    async def claims(self, uri: str, servers: Sequence[MCPServerInfo]) -> dict[str, Claim]:
        """Return what is known of each server and this resource; where it matters they are asked for their templates.

        Args:
            uri: The resource's URI.
            servers: The servers.
        """
        claims: dict[str, Claim] = {info.server_id: "may have it" for info in servers}
        owners = await self.owners.of(uri)
        for server_id in claims.keys() & owners:
            claims[server_id] = "lists it"
        if len(servers) > 1 and not owners:
            for server_id in await self.templates.matching(uri, servers):
                claims[server_id] = "has a template for it"
        return claims


def by_claim(ordered: Sequence[MCPServerInfo], claims: Mapping[str, Claim]) -> list[MCPServerInfo]:
    """Return servers by their claims, those with equal ones in the order in which they are given."""
    return sorted(ordered, key=lambda info: _RANK[claims[info.server_id]])
