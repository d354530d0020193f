"""``mcp-orchestra tools``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.schemas import kinds_of, properties_of
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Table

if TYPE_CHECKING:
    from mcp_orchestra.tool_names import ToolInfo

__all__ = ["tools"]


def tools(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """List the tools of every server, for `call`."""
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.session import connected

        async def main() -> "list[ToolInfo]":
            async with connected(call) as orchestrator:
                with call.screen.progress("Listing tools"):
                    return await orchestrator.list_tools()

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        table = Table(["tool", "server", "arguments", "description"])
        for tool in found:
            summary = next(iter((tool.description or tool.title or "").strip().splitlines()), "")
            table.add(tool.name, tool.server_id, _signature(tool.input_schema), summary)
        call.screen.table(table)


def _signature(schema: Mapping[str, Any]) -> list[str]:
    """Return a tool's arguments as ``name: kind``, the optional ones with a question mark."""
    needed: Any = schema.get("required") or ()
    return [
        f"{name}{'' if name in needed else '?'}: {'|'.join(sorted(kinds_of(part, schema))) or 'any'}"
        for name, part in properties_of(schema).items()
    ]
