"""``mcp-orchestra plugins``."""

from typing import Annotated

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.invocation import invocation, show_error
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

__all__ = ["plugins"]

_STYLES = {"active": "green", "failed": "red", "disabled": "dim"}


def plugins(
    context: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 2 if a plug-in has failed.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the installed plug-ins and what they offer.

    Needs no configuration; with --config, what it disables is shown as disabled.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra.errors import ConfigurationError, PluginError
        from mcp_orchestra.plugins import PluginManager
        from mcp_orchestra.status import describe_plugins

        disabled: list[str] = []
        if call.settings.config is not None:
            from mcp_orchestra.config.loader import load_config

            try:
                disabled = load_config(call.settings.config).config.plugins.disabled
            except ConfigurationError:
                call.screen.note(
                    f"warning: {call.settings.config} is invalid (see check), so what it disables is unknown"
                )
        manager = PluginManager(disabled=disabled)
        conflict: PluginError | None = None
        with call.screen.progress("Loading plug-ins"):
            try:
                manager.discover()
            except PluginError as error:
                conflict = error
        found = describe_plugins(manager.installed())
        if call.settings.as_json:
            call.screen.document({"plugins": found, "conflict": conflict.message if conflict else None})
        table = Table(["plug-in", "distribution", "version", "state", "offers", "reason"])
        for plugin in found:
            state = plugin["state"]
            table.add(
                plugin["name"],
                plugin["distribution"],
                plugin["version"],
                Cell(state, _STYLES.get(state, "")),
                plugin["offers"],
                plugin["reason"],
            )
        call.screen.table(table)
        if conflict is not None:
            if not call.settings.as_json:
                show_error(conflict, call.screen)
            raise typer.Exit(ExitCode.USAGE)
        if strict and any(plugin["state"] == "failed" for plugin in found):
            raise typer.Exit(ExitCode.USAGE)
