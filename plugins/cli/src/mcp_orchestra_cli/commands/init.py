"""``mcp-orchestra init``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import DebugOption, JsonOption

__all__ = ["create", "init", "refuse_existing"]

_DEFAULT = Path("mcp_config.yaml")
_MODE = 0o666


def init(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Take the servers from another MCP client's file (mcpServers, or VS Code's servers).",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Where to write. Without it: mcp_config.yaml.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a commented configuration file to start from.

    It works as it is, with a sample server, and explains every field.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra.plugins import PluginManager

        from mcp_orchestra_cli.scaffold.importing import Imported, import_servers
        from mcp_orchestra_cli.scaffold.template import template

        file = call.settings.config or _DEFAULT
        with call.screen.progress("Looking at the installed plug-ins"):
            plugins = PluginManager()
            plugins.discover()
        if source is None:
            made, mode = Imported(text=template(plugins), servers=["sample"]), _MODE
        else:
            # Like the file that it is made from, it may hold secrets that are not everybody's to read.
            made, mode = import_servers(source, plugins), _mode_of(source)
        create(file, made.text, force=force, mode=mode)
        problems = _problems(file)
        if call.settings.as_json:
            call.screen.document(
                {"path": str(file), "servers": made.servers, "notes": made.notes, "problems": problems}
            )
        call.screen.line(f"wrote {file} ({', '.join(made.servers) or 'no servers'})")
        for note in made.notes:
            call.screen.line(f"note: {note}")
        for problem in problems:
            call.screen.line(
                f"to do: {file}:{problem['line']}:{problem['column']}: {problem['path']}: {problem['message']}"
            )
        named = "" if file == _DEFAULT else f" --config {file}"
        call.screen.line(f"next: mcp-orchestra check --connect{named}")


def create(file: Path, text: str, *, force: bool, mode: int = _MODE) -> None:
    """Write a new file.

    Args:
        file: The file.
        text: Its contents.
        force: Replace one that is there.
        mode: Its permissions, less the umask.

    Raises:
        UsageError: It is there already, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(file, flags, mode), "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or type(error).__name__}") from error


def refuse_existing(file: Path) -> None:
    """Raise what `create` would raise for a file that is there, before any work is done for it."""
    if file.exists():
        raise _exists(file)


def _exists(file: Path) -> UsageError:
    return UsageError(f"{file} exists already; --force replaces it")


def _mode_of(source: Path) -> int:
    try:
        return (source.stat().st_mode & 0o777) | 0o600
    except OSError:
        return _MODE


def _problems(file: Path) -> list[dict[str, Any]]:
    """Return what is left to do before the file can be used, such as variables to set."""
    from mcp_orchestra.config.loader import load_config
    from mcp_orchestra.errors import ConfigurationError

    try:
        load_config(file)
    except ConfigurationError as error:
        return list(error.context.get("errors", []))
    return []
