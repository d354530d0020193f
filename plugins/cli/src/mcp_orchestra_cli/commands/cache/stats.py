"""``mcp-orchestra cache stats``."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

__all__ = ["stats"]

_ELSEWHERE = (
    "Hits and misses are counted by each process on its own: see cache_stats in the status of the running application "
    "(get_status(), or the route /status of its FastAPI router)."
)


def stats(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Show whether the backend works, and what it has.

    Hits and misses are counted by each process on its own, so they are not here but in the application's status.

    Exit code 3 if the backend cannot be reached.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.caches import opened_cache

        async def main() -> dict[str, Any]:
            async with opened_cache(call) as opened:
                owners = opened.keys()
                works = _works(await opened.statistics())
                entries = await opened.describe(list(owners)) if works else {}
                counted = await opened.statistics()
                works = _works(counted)
                return {
                    "backend": opened.backend,
                    "persistent": opened.persistent,
                    "available": works,
                    "errors": counted["errors"],
                    "notices": [opened.redact(notice) for notice in counted["notices"]],
                    "cached_items": counted["cached_items"] if works and opened.persistent else None,
                    "servers": {
                        server_id: _summary(entry for key, entry in entries.items() if owners[key] == server_id)
                        for server_id in opened.servers
                    }
                    if works and opened.persistent
                    else {},
                }

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        _show(call.screen, found)
        if not found["available"]:
            raise typer.Exit(ExitCode.UNAVAILABLE)


def _works(statistics: Mapping[str, Any]) -> bool:
    return statistics["available"] and not statistics["errors"]


def _summary(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    summary = {"fresh": 0, "stale": 0, "bytes": 0}
    for entry in entries:
        summary["stale" if entry["stale"] else "fresh"] += 1
        summary["bytes"] += entry["bytes"]
    return summary


def _show(screen: Screen, found: Mapping[str, Any]) -> None:
    backend = Table(["backend", "works", "fresh entries of all who share it"], title="Cache")
    works = Cell("yes", "green") if found["available"] else Cell("no", "red")
    backend.add(found["backend"], works, found["cached_items"])
    screen.table(backend)
    for notice in found["notices"]:
        screen.line(f"notice: {notice}")
    if found["servers"]:
        screen.line()
        servers = Table(["server", "fresh", "stale", "bytes"], title="Entries of this configuration")
        for server_id, summary in found["servers"].items():
            servers.add(server_id, *summary.values())
        screen.table(servers)
    screen.line()
    screen.line(_ELSEWHERE)
