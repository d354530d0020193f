"""``mcp-orchestra status``."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.hints import troubles
from mcp_orchestra_cli.invocation import Invocation, invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

if TYPE_CHECKING:
    from mcp_orchestra.orchestrator import MCPOrchestrator

__all__ = ["cache_table", "server_table", "state_cell", "status"]

_STYLES = {"ready": "green", "degraded": "yellow", "disabled": "dim"}

_LOOK_SECONDS = 1.0
_TELLING = ("id", "name", "connected", "error", "transport", "protocol_version", "priority", "domains")
"""What of a server, when it has changed, is worth showing again; its state changes with each attempt to connect."""


def status(
    context: typer.Context,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on, show each change, and reload the configuration when its file changes."),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Connect to every server and show how it is.

    Exit code 0 if at least one server is connected, else 3. With --watch it goes on until it is interrupted.
    """
    with invocation(context, config, as_json, debug) as call:
        if watch and call.settings.as_json:
            raise UsageError("--watch is for people, and --json for one document: leave out one of them")
        from mcp_orchestra_cli.session import connect, is_available, orchestrator_of

        async def main() -> dict[str, Any]:
            async with orchestrator_of(call) as orchestrator:
                if watch:
                    await _watch(call, orchestrator)
                return await connect(call, orchestrator)

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        _show_servers(call, found)
        call.screen.line()
        call.screen.table(cache_table(found))
        if not any(map(is_available, found["servers"])):
            raise typer.Exit(ExitCode.UNAVAILABLE)


async def _watch(call: Invocation, orchestrator: "MCPOrchestrator") -> NoReturn:
    """Show the servers each time when something has changed."""
    import asyncio

    from mcp_orchestra.watching import auto_reload

    from mcp_orchestra_cli.session import connect

    shown: object = None
    # A terminal that is closed says so by SIGHUP: that is the end, and no reason to reload.
    async with auto_reload(orchestrator, on_sighup=False):
        while True:
            found = orchestrator.get_status()
            if not found["initialized"]:
                found = await connect(call, orchestrator)
            seen = [{key: server[key] for key in _TELLING} for server in found["servers"]]
            if seen != shown:
                if shown is not None:
                    call.screen.line(f"\n{datetime.now().astimezone():%H:%M:%S}")
                _show_servers(call, found)
                shown = seen
            await asyncio.sleep(_LOOK_SECONDS)


def _show_servers(call: Invocation, found: dict[str, Any]) -> None:
    call.screen.table(server_table(found))
    for server in found["servers"]:
        if server["error"] is not None:
            call.screen.line("\n".join(troubles(server)))


def server_table(found: dict[str, Any]) -> Table:
    """Return the servers of a status as a table."""
    table = Table(["server", "state", "transport", "protocol", "priority", "domains"], title="Servers")
    for server in found["servers"]:
        state = state_cell(server["state"])
        table.add(
            server["id"], state, *(server[key] for key in ("transport", "protocol_version", "priority", "domains"))
        )
    return table


def cache_table(found: dict[str, Any]) -> Table:
    """Return the cache statistics of a status as a table."""
    statistics: dict[str, Any] = found["cache_stats"]
    shown = ("hits", "misses", "hit_rate", "cached_items", "evictions")
    table = Table([name.replace("_", " ") for name in shown], title="Cache")
    table.add(*(statistics[name] for name in shown))
    return table


def state_cell(state: str) -> Cell:
    """Return a server's state, coloured by whether it answers."""
    return Cell(state, _STYLES.get(state, "red"))
