"""The options that every command takes, before its name or after it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigOption", "DebugOption", "JsonOption", "Settings"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration. Without it: $MCP_ORCHESTRA_CONFIG, fastapi_server/mcp_config.yaml, mcp_config.yaml "
        "or .mcp.json.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document, errors included.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log everything to standard error and show tracebacks.")]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a command was asked to behave."""

    config: Path | None = None
    """The configuration file; None for the library's search."""
    as_json: bool = False
    debug: bool = False

    def over(self, outer: object) -> "Settings":
        """Return these settings, filled up with those given before the command's name."""
        if not isinstance(outer, Settings):
            return self
        return Settings(
            config=self.config or outer.config,
            as_json=self.as_json or outer.as_json,
            debug=self.debug or outer.debug,
        )
