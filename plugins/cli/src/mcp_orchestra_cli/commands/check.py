"""``mcp-orchestra check``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcp_orchestra_cli.commands.status import state_cell
from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.hints import troubles
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Table

if TYPE_CHECKING:
    from mcp_orchestra.config.loaded import LoadedConfig

__all__ = ["check"]


def check(
    context: typer.Context,
    connect: Annotated[bool, typer.Option("--connect", help="Try every server, and say what is wrong.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check a configuration, and with --connect its servers.

    Nothing is opened without --connect. Every problem is printed as file:line:column.

    Exit code 2 if there is a problem, 3 if a server does not connect.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra.config.loader import load_config

        with call.screen.progress("Checking the configuration"):
            loaded = load_config(call.settings.config)
        servers = [_configured(loaded, server_id) for server_id in loaded.config.mcp_servers]
        if connect:
            from mcp_orchestra_cli.trial import try_servers

            tried = call.run(try_servers(call))
            servers = [{**server, **tried[server["id"]]} for server in servers]
        if call.settings.as_json:
            call.screen.document(
                {"path": str(loaded.path), "valid": True, "warnings": list(loaded.warnings), "servers": servers}
            )
        for warning in () if connect else loaded.warnings:  # the orchestrator has logged them
            call.screen.note(f"warning: {warning}")
        for server in servers:
            if server["deprecated"]:
                call.screen.note(f"note: server {server['id']}: {server['deprecated']}")
        call.screen.line(f"{loaded.path} is valid: {_count(len(servers), 'server')}")
        if connect:
            _show_trial(call.screen, servers)
        elif servers:
            call.screen.table(_configuration(servers))
        if any(server["enabled"] and not server.get("connected", True) for server in servers):
            raise typer.Exit(ExitCode.UNAVAILABLE)


def _configured(loaded: "LoadedConfig", server_id: str) -> dict[str, Any]:
    config, spec = loaded.config.mcp_servers[server_id], loaded.transports[server_id].spec
    return {
        "id": server_id,
        "name": config.name,
        "enabled": config.enabled,
        "transport": spec.name,
        "deprecated": spec.deprecated,
        "priority": config.priority,
        "domains": list(config.domains),
        "capabilities": list(config.capabilities),
    }


def _configuration(servers: list[dict[str, Any]]) -> Table:
    table = Table(["server", "name", "transport", "priority", "domains", "enabled"])
    for server in servers:
        enabled = "yes" if server["enabled"] else "no"
        table.add(*(server[key] for key in ("id", "name", "transport", "priority", "domains")), enabled)
    return table


def _show_trial(screen: Screen, servers: list[dict[str, Any]]) -> None:
    table = Table(["server", "state", "transport", "protocol", "seconds", "resources", "tools"])
    for server in servers:
        table.add(
            server["id"],
            state_cell(server["state"]),
            server["transport"],
            *(server[key] for key in ("protocol_version", "seconds", "resources", "tools")),
        )
    screen.table(table)
    for server in servers:
        if server["error"] is not None:
            screen.line("\n".join(troubles(server)))
    enabled = [server for server in servers if server["enabled"]]
    connected = [server for server in enabled if server["connected"]]
    screen.line(f"{len(connected)} of {_count(len(enabled), 'server')} connected")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
