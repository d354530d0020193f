"""The command ``mcp-orchestra``: its commands, its common options, and how it ends."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from mcp_orchestra_cli.commands import call, check, demo, explain, init, pins, plugins, read, resources, status, tools
from mcp_orchestra_cli.commands.cache import build_cache
from mcp_orchestra_cli.exits import EXIT_CODES_HELP, ExitCode
from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.invocation import show_error
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption, Settings

__all__ = ["build", "main", "run"]

_NAME = "mcp-orchestra"
_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "init": init.init,
    "check": check.check,
    "status": status.status,
    "resources": resources.resources,
    "read": read.read,
    "tools": tools.tools,
    "call": call.call,
    "explain": explain.explain,
    "pins": pins.pins,
    "plugins": plugins.plugins,
}


def build() -> typer.Typer:
    """Return the application with all its commands."""
    # Typer's own rich help and tracebacks would import rich at every start.
    app = typer.Typer(
        name=_NAME, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, epilog=EXIT_CODES_HELP
    )
    app.callback()(_common)
    for name, command in _COMMANDS.items():
        app.command(name)(command)
    app.add_typer(build_cache(), name="cache")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: The command line without the program's name; that of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    try:
        # Standing alone it prints what is wrong with the command line as people expect it.
        outcome: object = typer.main.get_command(build()).main(
            args=arguments, prog_name=_NAME, standalone_mode=not as_json
        )
    except SystemExit as end:
        outcome = end.code
    except typer.TyperException as error:
        return show_error(UsageError(error.format_message()), Screen(as_json=True))
    return outcome if isinstance(outcome, int) else ExitCode.OK


def run() -> None:
    """Run the command of this process, and end the process with its exit code."""
    sys.exit(main())


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"{_NAME} {version('mcp-orchestra-cli')}")
        raise typer.Exit


def _common(
    context: typer.Context,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Many Model Context Protocol servers as if they were one.

    Where to start: demo, then init, then check --connect.
    """
    context.obj = Settings(config=config, as_json=as_json, debug=debug)
