"""``mcp-orchestra demo``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.settings import DebugOption, JsonOption

__all__ = ["demo"]


def demo(
    context: typer.Context,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            "--config",
            "-c",
            metavar="FILE",
            help="Write the configuration to this new file and leave it there.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """See it work: real servers, caching, failover, recovery.

    Takes a few seconds, needs no network, and leaves no process and no file behind (but for --keep).
    """
    with invocation(context, None, as_json, debug) as call:
        from mcp_orchestra_cli.demo.tour import tour

        started = time.perf_counter()
        story = call.run(tour(call, keep, force=force))
        seconds = time.perf_counter() - started
        if call.settings.as_json:
            call.screen.document({**story, "seconds": seconds})
        call.screen.line()
        call.screen.line(f"Done in {seconds:.1f} s; every server of the demo has been stopped.")
        call.screen.line("Next: mcp-orchestra init, then mcp-orchestra check --connect")
