"""``mcp-orchestra demo``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.invocation import Invocation, invocation
from mcp_orchestra_cli.settings import DebugOption, JsonOption

if TYPE_CHECKING:
    from mcp_orchestra_cli.demo.children import Child

__all__ = ["demo"]

_TRANSPORTS = {"stdio", "sse", "streamable-http"}


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
    """Show everything with real servers: connect, gather, cache, failover, recovery.

    Takes a few seconds, needs no network, and leaves no process and no file behind (but for --keep).
    """
    with invocation(context, None, as_json, debug) as call:
        started = time.perf_counter()
        story = call.run(_main(call, keep, force=force))
        seconds = time.perf_counter() - started
        if call.settings.as_json:
            call.screen.document({**story, "seconds": seconds})
        call.screen.line()
        call.screen.line(f"Done in {seconds:.1f} s; every server of the demo has been stopped.")
        call.screen.line("Next: mcp-orchestra init, then mcp-orchestra check --connect")


async def _main(call: Invocation, keep: Path | None, *, force: bool) -> dict[str, Any]:
    import tempfile

    from mcp_orchestra_cli.commands.init import create
    from mcp_orchestra_cli.demo.children import Child, children
    from mcp_orchestra_cli.demo.configuration import configuration
    from mcp_orchestra_cli.demo.steps import Narrator

    narrator = Narrator(call.screen)
    http = [Child("products", "streamable-http"), Child("orders", "sse")]
    _require_transports(call)
    with tempfile.TemporaryDirectory(prefix="mcp-orchestra-demo-") as folder:
        file = keep or Path(folder) / "mcp_config.yaml"
        step = narrator.step("servers", "Start two MCP servers, and write a configuration for them and a third")
        started = time.perf_counter()
        with call.screen.progress("Starting servers"):
            running = children(*http)
            await running.__aenter__()
        ...
