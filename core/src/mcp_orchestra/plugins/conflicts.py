"""Two plug-ins that claim one name: always an error, because either choice would be a guess."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from mcp_orchestra.errors import PluginError
from mcp_orchestra.plugins.asking import kind_of, names_of
from mcp_orchestra.plugins.info import Plugin, context, switch_off

__all__ = ["refuse_conflicts"]


def refuse_conflicts(plugins: Sequence[Plugin]) -> None:
    """Check that no two plug-ins share a name or offer something under one name.

    Raises:
        PluginError: Some do. The message names them, their distributions and how to switch one off.
    """
    claims = [(plugin, _claims(plugin)) for plugin in plugins if plugin.info.state != "disabled"]
    holders = Counter(claim for _, claimed in claims for claim in claimed)
    # Usually nobody is left here, and pairs are not looked at: this is asked for at every look-up.
    rivals = [plugin for plugin, claimed in claims if any(holders[claim] > 1 for claim in claimed)]
    conflicts: list[str] = []
    involved: dict[int, Plugin] = {}
    for one, other in combinations(rivals, 2):
        if conflict := _namesakes(one, other) or _rivals(one, other):
            conflicts.append(conflict)
            involved |= {id(one): one, id(other): other}
    if conflicts:
        raise PluginError("; ".join(conflicts), context(plugin.info for plugin in involved.values()))


def _namesakes(one: Plugin, other: Plugin) -> str | None:
    if one.info.name != other.info.name:
        return None
    conflict = f"two plug-ins have one name: {one.info} and {other.info}: "
    # To disable them by their name would switch off both.
    if distribution := other.info.distribution or one.info.distribution:
        return f"{conflict}uninstall one, or switch it off by its distribution: {switch_off(distribution)}"
    return f"{conflict}give one of them another name"


def _rivals(one: Plugin, other: Plugin) -> str | None:
    shared = sorted(_claims(one) & _claims(other))
    if not shared:
        return None
    claims = " and ".join(f"the {label} {name!r}" for label, name in shared)
    return f"two plug-ins offer {claims}: {one.info} and {other.info}: switch one off: {switch_off(other.info.name)}"


def _claims(plugin: Plugin) -> set[tuple[str, str]]:
    offered = {(kind_of(type(spec)).label, name) for spec in plugin.specs for name in names_of(spec)}
    return {("plug-in", plugin.info.name), *offered}
