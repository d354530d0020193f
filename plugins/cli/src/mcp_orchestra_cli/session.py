"""An orchestrator for the length of one command: what works is used, what does not is said."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mcp_orchestra.errors import NoMCPAvailableError

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.hints import troubles
from mcp_orchestra_cli.invocation import Invocation

if TYPE_CHECKING:
    from mcp_orchestra.orchestrator import MCPOrchestrator
    from mcp_orchestra.plugins import PluginManager

__all__ = ["connect", "connected", "is_available", "orchestrator_of", "server_count"]


@asynccontextmanager
async def orchestrator_of(
    call: Invocation, plugins: "PluginManager | None" = None, *, tool_pins: bool = True
) -> "AsyncGenerator[MCPOrchestrator]":
    """Load the configuration and yield an orchestrator that is closed on every way out.

    A command over many servers works with those that are there, whatever ``fail_fast`` says.

    Args:
        call: The command.
        plugins: The plug-ins, where they have been looked for already.
        tool_pins: Whether the pin file that the configuration names is read and gone by.

    Raises:
        ConfigurationError: The configuration is missing or invalid.
    """
    with call.screen.progress("Loading"):
        from mcp_orchestra.orchestrator import MCPOrchestrator

        orchestrator = MCPOrchestrator(call.settings.config, fail_fast=False, plugins=plugins, tool_pins=tool_pins)
        orchestrator.load_configuration()
        call.raise_log_level()
        import_module("mcp_orchestra.running")  # takes most of a second, which is no server's fault
    try:
        yield orchestrator
    finally:
        await orchestrator.close()


async def connect(call: Invocation, orchestrator: "MCPOrchestrator") -> dict[str, Any]:
    """Connect every server and return the status; that none connects is told by the status alone."""
    with call.screen.progress(f"Connecting to {server_count(orchestrator)}"):
        try:
            await orchestrator.initialize()
        except NoMCPAvailableError as error:
            return _with_reasons(orchestrator.get_status(), error)
    return orchestrator.get_status()


@asynccontextmanager
async def connected(call: Invocation) -> "AsyncGenerator[MCPOrchestrator]":
    """Yield a connected orchestrator, after saying on standard error which servers are not there.

    Raises:
        ConfigurationError: The configuration is missing or invalid.
        CommandError: No server is there.
    """
    async with orchestrator_of(call) as orchestrator:
        status = await connect(call, orchestrator)
        well = {"disabled", "pending"}  # the latter are started by the question that needs them
        missing = [server for server in status["servers"] if not server["connected"] and server["state"] not in well]
        for server in missing:
            call.screen.note("warning: server " + "\n".join(troubles(server)))
        if not any(map(is_available, status["servers"])):
            raise CommandError(
                "no server is available" + ("" if missing else ": the configuration has none that is enabled"),
                code=ExitCode.UNAVAILABLE,
                kind=NoMCPAvailableError.__name__,
                context={"servers": {server["id"]: server["error"] for server in missing}},
            )
        yield orchestrator


def is_available(server: Mapping[str, Any]) -> bool:
    """Return whether a server is there for questions, as its description in the status says."""
    return bool(server["connected"] or server["state"] == "pending")


def server_count(orchestrator: "MCPOrchestrator") -> str:
    """Return how many servers are configured, in words."""
    count = len(orchestrator.registry.get_all_servers())
    return "1 server" if count == 1 else f"{count} servers"


def _with_reasons(status: dict[str, Any], error: NoMCPAvailableError) -> dict[str, Any]:
    """Put back what closing has wiped out: why each server did not connect."""
    for server in status["servers"]:
        if (before := error.context.get("states", {}).get(server["id"])) is not None:
            server["state"], server["error"] = before["state"], before["error"]
    return status
