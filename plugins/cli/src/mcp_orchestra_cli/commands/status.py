"""``mcp-orchestra status``."""

from typing import Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.hints import troubles
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

__all__ = ["cache_table", "server_table", "state_cell", "status"]

_STYLES = {"ready": "green", "degraded": "yellow", "disabled": "dim"}


def status(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Connect to every server and show how it is.

    Exit code 0 if at least one server is connected, else 3.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.session import connect, orchestrator_of

        async def main() -> dict[str, Any]:
            async with orchestrator_of(call) as orchestrator:
                return await connect(call, orchestrator)

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        call.screen.table(server_table(found))
        for server in found["servers"]:
            if server["error"] is not None:
                call.screen.line("\n".join(troubles(server)))
        call.screen.line()
        call.screen.table(cache_table(found))
        if not any(server["connected"] for server in found["servers"]):
            raise typer.Exit(ExitCode.UNAVAILABLE)


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
