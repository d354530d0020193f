"""``mcp-orchestra cache``: look into the configured cache and drop from it, without starting any server."""

from collections.abc import Callable

import typer

from mcp_orchestra_cli.commands.cache import get, invalidate, keys, purge, stats
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption, Settings

__all__ = ["build_cache"]

_COMMANDS: dict[str, Callable[..., None]] = {
    "stats": stats.stats,
    "keys": keys.keys,
    "get": get.get,
    "invalidate": invalidate.invalidate,
    "purge": purge.purge,
}


def build_cache() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
    group.callback()(_common)
    for name, command in _COMMANDS.items():
        group.command(name)(command)
    return group


def _common(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Look into the cache, and drop from it.

    No server is started: only the configured cache backend is opened. Run it with the configuration and the environment
    of the application: what was fetched with other credentials is kept apart and not shown.
    """
    context.obj = Settings(config=config, as_json=as_json, debug=debug).over(context.obj)
