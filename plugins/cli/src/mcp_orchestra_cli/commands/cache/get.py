"""``mcp-orchestra cache get``."""

from typing import Annotated, Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.jsons import dumps
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import printable

__all__ = ["get"]


def get(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `mcp-orchestra cache keys` shows it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the data of one entry as JSON.

    With --json its key and whether it is stale are told, too.

    Exit code 4 if there is no entry.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.caches import opened_cache

        async def main() -> dict[str, Any]:
            async with opened_cache(call) as opened:
                # Failing: to see what is kept for the time when its server fails, too.
                answers = await opened.cache.lookup((key,), failing=(key,))
                await opened.check(f"it is not known what it has under {key!r}")
                if (answer := answers.get(key)) is None:
                    raise CommandError(
                        f"nothing is cached under {key!r}{opened.nearest(key)}",
                        code=ExitCode.NOT_FOUND,
                        kind="CacheEntryNotFoundError",
                        context={"key": key},
                    )
                return {"key": key, "stale": answer.stale, "data": answer.data}

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
            return
        if found["stale"]:
            call.screen.note(f"note: the entry under {key!r} is stale")
        if call.screen.on_terminal:
            call.screen.text(printable(dumps(found["data"])) + "\n")
        else:
            call.screen.document(found["data"])
