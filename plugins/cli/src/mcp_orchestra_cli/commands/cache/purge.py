"""``mcp-orchestra cache purge``."""

import asyncio
from typing import Any

import typer

from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption

__all__ = ["purge"]


def purge(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Drop expired entries from the backend.

    Those that may still be served as stale stay. Nothing needs this: it only gives back the room sooner.

    Exit code 3 if the backend cannot be reached.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.caches import opened_cache

        async def main() -> dict[str, Any]:
            async with opened_cache(call) as opened:
                number = await asyncio.to_thread(opened.cache.cleanup_expired)
                await opened.check("expired entries may be left in it")
                return {"backend": opened.backend, "persistent": opened.persistent, "purged": number}

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        if found["persistent"]:  # else it was said that there is nothing
            number = found["purged"]
            call.screen.line(f"dropped {number} expired {'entry' if number == 1 else 'entries'}")
