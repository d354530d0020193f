"""``mcp-orchestra cache invalidate``."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption

if TYPE_CHECKING:
    from mcp_orchestra.cache import ResourceCache

__all__ = ["invalidate"]

_UNKNOWN = "it is not known whether anything was dropped"


def invalidate(
    context: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="As `mcp-orchestra cache keys` shows them.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="ID", help="Everything of this server (id or display name); may be repeated."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything in the backend, also what other configurations have there.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop entries, so that the next question asks the server.

    When the command ends with 0, the backend has done it: no process gets such an entry from there any more. What
    processes have in their own memory follows at once where the backend tells of changes, else after near_seconds.

    Exit code 3 if the backend cannot be reached.
    """
    with invocation(context, config, as_json, debug) as call:
        if everything and (keys or server):
            raise UsageError("--all drops everything: leave out the keys and --server")
        if not (everything or keys or server):
            raise UsageError("say what to drop: keys, --server ID, or --all")

        from mcp_orchestra_cli.caches import opened_cache

        async def main() -> tuple[dict[str, Any], list[str]]:
            async with opened_cache(call) as opened:
                wanted = list(keys or ())
                wanted += opened.keys(opened.ids(server)) if server else ()
                wanted = list(dict.fromkeys(opened.keys() if everything else wanted))
                there = await opened.describe(wanted)
                counted = everything and opened.persistent
                number = (await opened.statistics())["cached_items"] if counted else None
                await opened.check("nothing was dropped")
                await asyncio.to_thread(_drop, opened.cache, None if everything else wanted)
                await opened.check(_UNKNOWN)
                absent = [key for key in wanted if key not in there]
                hints = [
                    f"nothing was cached under {key!r}{opened.nearest(key)}" for key in keys or () if key in absent
                ]
                return {
                    "backend": opened.backend,
                    "persistent": opened.persistent,
                    "all": everything,
                    "cached_items": number,
                    "dropped": [key for key in wanted if key in there],
                    "absent": [] if everything else absent,
                }, hints

        found, hints = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        for line in dict.fromkeys(hints):
            call.screen.note(f"note: {line}")
        if found["persistent"]:  # else it was said that there is nothing
            _show(call.screen, found)


def _drop(cache: "ResourceCache", keys: Sequence[str] | None) -> None:
    if keys is None:
        cache.invalidate()
    for key in keys or ():
        cache.invalidate(key)


def _show(screen: Screen, found: dict[str, Any]) -> None:
    for key in found["dropped"]:
        screen.line(f"dropped {key}")
    if found["all"]:
        number = found["cached_items"]
        entries = "1 fresh entry" if number == 1 else f"{number} fresh entries"
        screen.line(f"the cache backend {found['backend']} is empty now; it had {entries}")
    elif not found["dropped"]:
        screen.line("there was nothing to drop")
