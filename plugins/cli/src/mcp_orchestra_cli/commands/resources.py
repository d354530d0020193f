"""``mcp-orchestra resources``."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Table

__all__ = ["resources"]


def resources(
    context: typer.Context,
    domain: Annotated[
        str | None,
        typer.Argument(
            metavar="DOMAIN", help="Ask the first server for this domain instead of all.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the resources of all servers, or for one domain.

    With --json: server name to its entry, or with DOMAIN resource name to resource, contents included.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.session import connected

        async def main() -> dict[str, Any]:
            async with connected(call) as orchestrator:
                with call.screen.progress("Gathering resources"):
                    if domain is None:
                        return await orchestrator.gather_all_resources()
                    return await orchestrator.get_resources_for_domain(domain)

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        call.screen.table(_of_all(found) if domain is None else _of_domain(found))
        failed = {name: entry["error"] for name, entry in found.items() if domain is None and "error" in entry}
        for name, error in failed.items():
            call.screen.note(f"warning: the resources of {name} could not be fetched: {error}")
        if failed and len(failed) == len(found):
            raise typer.Exit(ExitCode.NOT_FOUND)


def _of_all(found: Mapping[str, Any]) -> Table:
    table = Table(["server", "resource", "uri", "type", "size", "note"])
    for server, entry in found.items():
        for name, resource in entry["resources"].items():
            table.add(server, name, *_described(resource, stale=bool(entry.get("stale"))))
    return table


def _of_domain(found: Mapping[str, Any]) -> Table:
    table = Table(["resource", "uri", "type", "size", "note"])
    for name, resource in found.items():
        table.add(name, *_described(resource))
    return table


def _described(resource: Mapping[str, Any], *, stale: bool = False) -> tuple[object, ...]:
    note = resource.get("error") or ("not read: limit max_resources_read" if "skipped" in resource else None)
    return resource["uri"], resource["mime_type"], _size(resource), note or ("stale" if stale else None)


def _size(resource: Mapping[str, Any]) -> str | None:
    """Return the size in bytes as stated, else as read."""
    size = resource.get("size")
    if size is None and (contents := resource.get("contents")) is not None:
        # Base64 takes four characters for three bytes.
        size = sum(
            len(part["text"].encode()) if "text" in part else len(part["blob"].rstrip("=")) * 3 // 4
            for part in contents
        )
    return None if size is None else f"{size} B"
