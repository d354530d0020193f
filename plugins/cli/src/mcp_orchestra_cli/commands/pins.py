"""``mcp-orchestra pins``."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.invocation import Invocation, invocation
from mcp_orchestra_cli.jsons import dumps
from mcp_orchestra_cli.pinning import Comparison, PinnedTool, compare, pins_in
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption

if TYPE_CHECKING:
    from mcp_orchestra.config.tool_pins import ServerPins
    from mcp_orchestra.orchestrator import MCPOrchestrator

__all__ = ["pins"]

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""They count as printable, look like nothing, and can carry a hidden text."""


def pins(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The pin file; without it the one that the configuration names."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Approve all tools as they are now: write the file.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show which tools are not as they were approved, and with --write approve them.

    Every enabled server is asked for its tools, whatever the file says so far. Read what is shown of each tool that is
    new or changed: a model will. That of --write, too: the servers are asked again. Servers that are down keep their
    pins.

    Exit code 6 if there are differences and nothing was written, 3 if a server could not be asked.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.session import connect, orchestrator_of

        async def main() -> "tuple[Path, ServerPins, Comparison]":
            async with orchestrator_of(call, tool_pins=False) as orchestrator:
                named = file or _configured(orchestrator)
                before = pins_in(named)
                for server in orchestrator.config.mcp_servers.values() if orchestrator.config is not None else ():
                    server.start = "at_once"  # there is no question that would start it
                status = await connect(call, orchestrator)
                with call.screen.progress("Listing tools"):
                    return named, before, await compare(orchestrator, status["servers"], before)

        named, before, found = call.run(main())
        wrote = write and _write(named, found.approved(before), before)
        if call.settings.as_json:
            call.screen.document(
                {"path": str(named), "written": wrote, "tools": found.tools, "failed": dict(found.failed)}
            )
        _show(call, named, found, wrote=wrote)
        if found.failed and (write or not found.different):
            raise typer.Exit(ExitCode.UNAVAILABLE)
        if found.different and not write:
            raise typer.Exit(ExitCode.NOT_AS_PINNED)


def _configured(orchestrator: "MCPOrchestrator") -> Path:
    from mcp_orchestra.config.tool_pins import pin_path

    named = orchestrator.config.orchestration.security.tool_pins if orchestrator.config is not None else None
    if named is None:
        raise UsageError("give the FILE: the configuration names none as orchestration.security.tool_pins")
    return pin_path(named, orchestrator.config_path)


def _write(file: Path, pins: "ServerPins", before: "ServerPins") -> bool:
    from mcp_orchestra.config.tool_pins import write_pin_file

    if pins == before and file.exists():
        return False
    try:
        write_pin_file(file, pins)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or type(error).__name__}") from error
    return True


def _show(call: Invocation, file: Path, found: Comparison, *, wrote: bool) -> None:
    for tool in found.different:
        for line in _described(tool):
            call.screen.line(line)
    for server_id, why in found.failed.items():
        call.screen.note(f"warning: server {server_id} keeps the pins that it has: {why}")
    states = [tool.state for tool in found.tools]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("same", "changed", "new", "gone"))
    call.screen.line(f"{file}: {counts}")
    if wrote:
        call.screen.line(f"wrote {file}: what is shown above is approved")
    elif found.different:
        call.screen.line("  -> if you have read all of this and trust it, approve it with --write")


def _described(tool: PinnedTool) -> Iterator[str]:
    """Yield lines that show all that a model sees of a tool, and nothing that looks like ours or like nothing."""
    digests = " -> ".join(digest for digest in (tool.pinned, tool.digest) if digest is not None)
    yield f"{tool.state}: {tool.server} {_visible(tool.tool, '')}  {digests}"
    for name, value in (tool.listed or {}).items():
        if value is None or name == "name":
            continue
        yield f"  {name}:"
        yield from (f"    {_visible(line)}" for line in _text(value).split("\n"))


def _text(value: Mapping[str, Any] | str) -> str:
    return value if isinstance(value, str) else dumps(value)


def _visible(text: str, kept: str = "\t") -> str:
    """Return a text with everything spelt out that is not seen, or not where it stands."""
    return "".join(
        character
        if character in kept or (character.isprintable() and not _UNSEEN.match(character))
        else ascii(character)[1:-1]
        for character in text
    )
