"""Compares what servers offer now with a pin file, for somebody who decides what to approve."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mcp_orchestra.errors import MCPOrchestratorException

from mcp_orchestra_cli.failures import UsageError

if TYPE_CHECKING:
    from mcp_orchestra.config.tool_pins import ServerPins
    from mcp_orchestra.orchestrator import MCPOrchestrator
    from mcp_types import ListToolsResult

__all__ = ["Comparison", "PinnedTool", "compare", "pins_in"]

_METHOD_NOT_FOUND = -32601  # JSON-RPC's: the server has no tools, which is no failure


class _Client(Protocol):
    async def list_tools(self) -> "ListToolsResult": ...


@dataclass(frozen=True, kw_only=True)
class PinnedTool:
    """A tool that a server lists, or that the pin file has."""

    server: str
    """The server's id."""
    tool: str
    """Its own name."""
    state: Literal["same", "changed", "new", "gone"]
    pinned: str | None
    """Its digest in the file."""
    digest: str | None
    """Its digest as the server lists it now."""
    listed: Mapping[str, Any] | None
    """What the digest is made of."""


@dataclass(kw_only=True)
class Comparison:
    """What is different between a pin file and what the servers list."""

    tools: list[PinnedTool] = field(default_factory=list[PinnedTool])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Why those servers, by id, could not be asked that should be there."""

    @property
    def different(self) -> Sequence[PinnedTool]:
        """The tools that are not as pinned."""
        return [tool for tool in self.tools if tool.state != "same"]

    def approved(self, pins: "ServerPins") -> "ServerPins":
        """Return these pins with every tool as it is now; servers that could not be asked keep theirs."""
        found = {server_id: dict(tools) for server_id, tools in pins.items()}
        for tool in self.tools:
            of_server = found.setdefault(tool.server, {})
            if tool.digest is not None:
                of_server[tool.tool] = tool.digest
            else:
                del of_server[tool.tool]
        return found


def pins_in(file: Path) -> "ServerPins":
    """Return the pins of a file; none if it is not there yet.

    Raises:
        ConfigurationError: What is in it is no pin file.
        UsageError: It cannot be read.
    """
    from mcp_orchestra.config.files import FileProblemError
    from mcp_orchestra.config.tool_pins import read_pin_file

    if not file.exists():
        return {}
    try:
        return read_pin_file(file)
    except FileProblemError as error:
        raise UsageError(f"{file} {error.reason}") from None


async def compare(
    orchestrator: "MCPOrchestrator", status: Sequence[Mapping[str, Any]], pins: "ServerPins"
) -> Comparison:
    """Ask every enabled server for its tools, past the cache, and compare them with pins.

    Args:
        orchestrator: Connected, as far as its servers are there.
        status: Its servers, as its status describes them.
        pins: What was approved before.
    """
    enabled = [server for server in status if server["state"] != "disabled"]
    clients = [orchestrator.registry.get_server(server["id"]) for server in enabled]
    found = await asyncio.gather(*(_listed(info.client if info is not None else None) for info in clients))
    comparison = Comparison()
    for server, listed in zip(enabled, found, strict=True):
        if isinstance(listed, str):
            comparison.failed[server["id"]] = server["error"] or listed
        else:
            comparison.tools += _compared(server["id"], listed, pins.get(server["id"], {}))
    return comparison


async def _listed(client: _Client | None) -> dict[str, dict[str, Any]] | str:
    """Return a server's tools by name, or why they cannot be had."""
    from mcp_orchestra.connection.tools import facts_of

    if client is None:
        return "it is not connected"
    try:
        answer = await client.list_tools()
    except MCPOrchestratorException as error:
        return {} if error.context.get("code") == _METHOD_NOT_FOUND else error.message
    return {tool.name: facts_of(tool) for tool in answer.tools}


def _compared(server_id: str, listed: Mapping[str, Mapping[str, Any]], pinned: Mapping[str, str]) -> list[PinnedTool]:
    from mcp_orchestra.tool_digest import tool_digest

    compared: list[PinnedTool] = []
    for name in sorted({*listed, *pinned}):
        facts, before = listed.get(name), pinned.get(name)
        now = tool_digest(facts) if facts is not None else None
        state: Literal["same", "changed", "new", "gone"] = "changed"
        if now is None:
            state = "gone"
        elif before is None:
            state = "new"
        elif now == before:
            state = "same"
        compared.append(PinnedTool(server=server_id, tool=name, state=state, pinned=before, digest=now, listed=facts))
    return compared
