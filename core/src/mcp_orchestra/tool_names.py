"""Names of tools that are unique by construction.

A tool keeps its own name while no other server is known to have one like it; otherwise each is called
``<server id>__<tool>``. Server ids contain no double underscore and do not end with one, so the first double
underscore always divides the two, and a tool that calls itself like a prefixed name is prefixed too.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.tool_digest import TOOL_FIELDS

__all__ = ["ToolInfo", "divided", "how_to_choose", "named"]

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


def _full_name(info: MCPServerInfo, tool: str) -> str:
    """Return the name of a server's tool that is no other one's."""
    return f"{info.server_id}{_SEPARATOR}{tool}"


def how_to_choose(holders: Iterable[MCPServerInfo], tool: str) -> str:
    """Return what to do about a tool that several servers have."""
    names = ", ".join(_full_name(info, tool) for info in holders)
    return f"call {names}, or give server=, domain= or capability="


def divided(name: str, registry: MCPRegistry) -> tuple[str | None, str]:
    """Return the id of the server that a name names, if it names one, and the rest."""
    head, separator, tail = name.partition(_SEPARATOR)
    if separator and registry.get_server(head) is not None:
        return head, tail
    return None, name


def named(
    tools: Mapping[str, Iterable[tuple[str, Mapping[str, Any]]]],
    registry: MCPRegistry,
    claim: Callable[[MCPServerInfo], Collection[str]],
) -> Iterator[ToolInfo]:
    """Yield tools under their unique names, in priority order.

    Args:
        tools: Those of each server, by its id: their own names, and what is known of them.
        registry: All servers, also those that have just not been asked.
        claim: Returns the names that a server's tools have, as far as is known.
    """
    servers = registry.get_all_servers()
    owners = Counter(name for info in servers for name in claim(info))
    for info in servers:
        for own, tool in tools.get(info.server_id, ()):
            unique = owners[own] == 1 and divided(own, registry)[0] is None
            facts: dict[str, Any] = {
                **{key: tool[key] for key in TOOL_FIELDS},
                "name": own if unique else _full_name(info, own),
                "server": info.name,
                "server_id": info.server_id,
                "tool": own,
            }
            yield ToolInfo(**facts)
