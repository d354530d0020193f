"""``mcp-orchestra call``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcp_orchestra_cli.arguments import needs_schema, tool_arguments
from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.invocation import Invocation, invocation
from mcp_orchestra_cli.jsons import dumps
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import printable

if TYPE_CHECKING:
    from mcp_orchestra.tool_names import ToolInfo
    from mcp_types import CallToolResult

__all__ = ["call"]


def call(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="A name from `mcp-orchestra tools`.", show_default=False)],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="The tool's arguments, as text or where it wants something else as JSON. KEY:=JSON is always JSON.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="A JSON object with arguments; KEY=VALUE wins.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="ID", help="Ask only this server (id or display name).")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Wait so long for the result.", min=0.001),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Call a tool, once, and print what it says.

    Exit code 5 if the tool reports an error.
    """
    with invocation(context, config, as_json, debug) as run:
        from mcp_orchestra_cli.session import connected

        wants_schema = needs_schema(pairs or [])

        async def main() -> "CallToolResult":
            async with connected(run) as orchestrator:
                with run.screen.progress(f"Calling {tool}"):
                    known = await orchestrator.list_tools() if wants_schema else []
                    arguments = tool_arguments(pairs or [], given, _schema(tool, server, known))
                    return await orchestrator.call_tool(tool, arguments, server=server, timeout=timeout)

        _show(run, run.run(main()))


def _schema(name: str, server: str | None, known: "Sequence[ToolInfo]") -> Any:
    """Return the input schema of the tool that the name means, as far as that is clear."""
    found = [
        tool
        for tool in known
        if name in (tool.name, tool.tool, f"{tool.server_id}__{tool.tool}")
        and (server is None or server in (tool.server_id, tool.server))
    ]
    return found[0].input_schema if len(found) == 1 else {}


def _show(run: Invocation, result: "CallToolResult") -> None:
    if run.settings.as_json:
        run.screen.document(result.model_dump(mode="json", by_alias=False, exclude_none=True))
    else:
        text = "\n".join(_text(block) for block in result.model_dump(mode="json", by_alias=False)["content"])
        if not text and result.structured_content is not None:
            text = dumps(result.structured_content)
        if result.is_error:
            run.screen.note(text or "the tool reported an error and said nothing about it")
        else:
            run.screen.text(f"{printable(text) if run.screen.on_terminal else text}\n")
    if result.is_error:
        raise typer.Exit(ExitCode.TOOL_ERROR)


def _text(block: dict[str, Any]) -> str:
    """Return a content block for people; what is not text is named."""
    match block:
        case {"type": "text", "text": str() as text}:
            return text
        case {"type": "resource_link", "uri": uri}:
            return f"[resource {uri}]"
        case {"type": "resource", "resource": {"text": str() as text}}:
            return text
        case {"type": "resource", "resource": {"uri": uri}}:
            return f"[binary resource {uri}; --json shows it]"
        case _:
            return f"[{block.get('type', 'unknown')} {block.get('mime_type') or ''}".rstrip() + "; --json shows it]"
