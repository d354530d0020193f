"""Tries every server of a configuration: does it connect, how fast, and what does it offer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mcp_orchestra.errors import MCPOrchestratorException

from mcp_orchestra_cli.hints import hint
from mcp_orchestra_cli.invocation import Invocation
from mcp_orchestra_cli.session import connect, orchestrator_of

if TYPE_CHECKING:
    from mcp_types import ListResourcesResult, ListToolsResult

__all__ = ["try_servers"]

_METHOD_NOT_FOUND = -32601  # JSON-RPC's: the server has no such thing, which is no failure


class _Client(Protocol):
    async def list_resources(self) -> "ListResourcesResult": ...

    async def list_tools(self) -> "ListToolsResult": ...


async def try_servers(call: Invocation) -> dict[str, dict[str, Any]]:
    """Connect every server and return what came of it, by id.

    Each has ``state``, ``connected``, ``protocol_version``, ``server_version``, ``seconds`` (until connected), the
    numbers of ``resources`` and ``tools``, ``tools_not_as_pinned`` (name to why), ``error``,
    ``hint`` (what to do about it) and ``stderr`` (last lines).
    """
    async with orchestrator_of(call) as orchestrator:
        config = orchestrator.config
        for server in config.mcp_servers.values() if config is not None else ():
            server.start = "at_once"  # whoever tries a server wants to know whether it starts
        started = datetime.now(UTC)
        status = await connect(call, orchestrator)
        with call.screen.progress("Asking what they offer"):
            if status["initialized"] and config is not None and config.orchestration.security.tool_pins is not None:
                with suppress(MCPOrchestratorException):  # whatever else is wrong is found below
                    await orchestrator.list_tools()
                status = orchestrator.get_status()
            return {
                server["id"]: found
                for server, found in zip(
                    status["servers"],
                    await asyncio.gather(
                        *(
                            _offer(server, orchestrator.registry.get_server(server["id"]), started)
                            for server in status["servers"]
                        )
                    ),
                    strict=True,
                )
            }


async def _offer(server: dict[str, Any], info: Any, started: datetime) -> dict[str, Any]:
    found: dict[str, Any] = {
        **{key: server[key] for key in ("state", "connected", "protocol_version", "server_version", "error")},
        "tools_not_as_pinned": server["tools_not_as_pinned"],
        "seconds": None,
        "resources": None,
        "tools": None,
        "hint": None if server["connected"] else hint(server),
        "stderr": server["stderr"],
    }
    if server["connected"] and info.client is not None:
        client: _Client = info.client
        found["seconds"] = round((datetime.fromisoformat(server["last_connected"]) - started).total_seconds(), 3)
        found["resources"] = await _count(client.list_resources, lambda answer: len(answer.resources), found)
        found["tools"] = await _count(client.list_tools, lambda answer: len(answer.tools), found)
    return found


async def _count(ask: Callable[[], Awaitable[Any]], count: Callable[[Any], int], found: dict[str, Any]) -> int | None:
    try:
        return count(await ask())
    except MCPOrchestratorException as error:
        if error.context.get("code") == _METHOD_NOT_FOUND:
            return 0
        found["error"] = error.message
        return None
