"""What became of a plug-in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mcp_orchestra.plugins.asking import Spec

__all__ = ["DISABLE_VARIABLE", "Plugin", "PluginInfo", "context", "switch_off"]

DISABLE_VARIABLE = "MCP_ORCHESTRA_DISABLE_PLUGINS"
"""The environment variable that names plug-ins not to import, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class PluginInfo:
    """What became of one plug-in: what `PluginManager.installed` tells about it."""

    name: str
    """The name of its entry point: what users disable."""
    module: str
    """Where it lives: a module, or ``module:object``."""
    distribution: str | None = None
    """The distribution that installed it; None for one that was registered in this process."""
    version: str | None = None
    """The version of the distribution."""
    state: Literal["active", "failed", "disabled"] = "active"
    reason: str | None = None
    """Why it is failed or disabled, in plain words; None for an active one."""
    offers: tuple[str, ...] = ()
    """What it offers, such as ``"transport stdio"``."""

    def __str__(self) -> str:
        """Return its name and origin, for messages."""
        origin = " ".join(filter(None, (self.distribution, self.version)))
        return f"{self.name!r} ({origin or 'registered in this process'})"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in as the manager keeps it."""

    info: PluginInfo
    specs: tuple[Spec, ...] = ()
    """What it offers, if it is active."""
    cause: BaseException | None = None
    """What it raised, if it is failed."""


def switch_off(name: str) -> str:
    """Return what to write where, to disable the plug-in or distribution of this name."""
    return f"plugins: {{disabled: [{name}]}} in the configuration, or {DISABLE_VARIABLE}={name}"


def context(infos: Iterable[PluginInfo]) -> dict[str, Any]:
    """Return the context of an error about these plug-ins."""
    infos = list(infos)
    return {
        "plugins": [info.name for info in infos],
        "distributions": [info.distribution for info in infos],
        "reasons": [info.reason for info in infos],
    }
