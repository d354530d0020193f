"""Runs the demo from the first server to the last, and cleans up after it."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp_orchestra.plugins import PluginManager

from mcp_orchestra_cli.commands.init import create, refuse_existing
from mcp_orchestra_cli.demo.children import Child, ended, start
from mcp_orchestra_cli.demo.configuration import configuration
from mcp_orchestra_cli.demo.steps import Narrator
from mcp_orchestra_cli.demo.story import Story
from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.invocation import Invocation
from mcp_orchestra_cli.session import orchestrator_of

__all__ = ["tour"]

_TRANSPORTS = {"stdio", "sse", "streamable-http"}


async def tour(call: Invocation, keep: Path | None, *, force: bool) -> dict[str, Any]:
    """Run the demo and return it as a document.

    Args:
        call: The command.
        keep: Where to leave the configuration; None writes it to a temporary folder.
        force: Replace a file that is there.

    Raises:
        CommandError: Something did not go as it should; everything is cleaned up.
    """
    if keep is not None and not force:
        refuse_existing(keep)
    plugins = _plugins()
    narrator = Narrator(call.screen)
    preferred, other = Child("products", "streamable-http"), Child("orders", "sse")
    with tempfile.TemporaryDirectory(prefix="mcp-orchestra-demo-") as folder:
        async with ended(preferred, other):
            step = narrator.step("servers", "Start two servers, and write a configuration for them and a third")
            began = time.perf_counter()
            with call.screen.progress("Starting servers"):
                await start(preferred, other)
            file, text = keep or Path(folder) / "mcp_config.yaml", configuration([preferred, other])
            create(file, text, force=force)
            step.facts |= {"seconds": time.perf_counter() - began, "pids": [preferred.pid, other.pid]}
            narrator.say(text)
            narrator.say(f"Written to {file}" if keep else "Copy it if you like; --keep FILE writes it for you.")
            settings = replace(call.settings, config=file)
            async with orchestrator_of(replace(call, settings=settings), plugins=plugins) as orchestrator:
                status = await Story(orchestrator, preferred, narrator).tell()
    return {
        "config": text,
        "config_path": str(keep) if keep else None,
        "steps": [step.as_document() for step in narrator.steps],
        "status": status,
    }


def _plugins() -> "PluginManager":
    """Return the installed plug-ins, which must include the three built-in transports."""
    plugins = PluginManager()
    plugins.discover()
    if missing := _TRANSPORTS - {spec.name for spec in plugins.transports()}:
        raise CommandError(
            f"the demo needs the transports {', '.join(sorted(missing))}: install mcp-orchestra[standard], "
            "and see mcp-orchestra plugins",
            code=ExitCode.USAGE,
            kind="PluginError",
        )
    return plugins
