"""Finds the configuration file to use when none is named."""

import os
import pathlib
from collections.abc import Mapping

from mcp_orchestra.errors import ConfigurationError

__all__ = ["CONFIG_VARIABLE", "find_config"]

CONFIG_VARIABLE = "MCP_ORCHESTRA_CONFIG"
"""The environment variable that names the configuration file."""

_PLACES = ("fastapi_server/mcp_config.yaml", "mcp_config.yaml", ".mcp.json")


def find_config(environ: Mapping[str, str] | None = None) -> pathlib.Path:
    """Return the configuration file to use when none is named.

    That is the first that exists of ``$MCP_ORCHESTRA_CONFIG``, ``./fastapi_server/mcp_config.yaml``,
    ``./mcp_config.yaml`` and ``./.mcp.json``.

    Args:
        environ: The environment variables; those of the process by default.

    Raises:
        ConfigurationError: None of them exists; the message lists all.
    """
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "")
    places = [named, *_PLACES] if named else [*_PLACES]
    for place in places:
        if os.path.exists(place):  # noqa: PTH110 - Path.exists raises where a folder may not be read
            return pathlib.Path(place)
    tried = [f"${CONFIG_VARIABLE} ({named or 'not set'})", *(f"./{place}" for place in _PLACES)]
    raise ConfigurationError(
        f"no configuration file found; tried {', '.join(tried)}; create one of them, or name one",
        {"path": None, "errors": [], "tried": tried},
    )
