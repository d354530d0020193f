"""``mcp-orchestra cache keys``."""

from typing import Annotated, Any

import typer

from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

__all__ = ["keys", "state_of"]

_STYLES = {"fresh": "green", "stale": "yellow", "outdated": "yellow"}


def keys(
    context: typer.Context,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="ID", help="Only this server's (id or display name); may be repeated."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the keys of the configured servers that have an entry.

    Times are seconds; for a stale entry the time left is negative. What an application stores under keys of its own is
    not listed.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.caches import opened_cache

        async def main() -> dict[str, Any]:
            async with opened_cache(call) as opened:
                owners = opened.keys(opened.ids(server) if server else None)
                entries = await opened.describe(list(owners))
                await opened.check("it is not known what it has")
                return {
                    "backend": opened.backend,
                    "persistent": opened.persistent,
                    "keys": [{"key": key, "server": owners[key], **entry} for key, entry in entries.items()],
                }

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        table = Table(["key", "state", "age", "left", "scope", "ttl ms", "bytes"])
        for entry in found["keys"]:
            state = state_of(entry)
            table.add(
                entry["key"],
                Cell(state, _STYLES[state]),
                *(f"{entry[name]:.1f} s" for name in ("age", "expires_in")),
                *(entry[name] for name in ("scope", "ttl_ms", "bytes")),
            )
        call.screen.table(table)


def state_of(entry: dict[str, Any]) -> str:
    """Return what may be done with an entry, in a word: fresh, stale (its time is over), or outdated (it changed)."""
    if entry["outdated"]:
        return "outdated"
    return "stale" if entry["stale"] else "fresh"
