"""Which plug-ins are installed: the entry points of the group ``mcp_orchestra``, without importing any."""

import logging
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distribution, distributions
from operator import attrgetter

from mcp_orchestra.hookspecs import PROJECT
from mcp_orchestra.plugins.explaining import Unusable

__all__ = ["Found", "canonical", "find"]

_logger = logging.getLogger("mcp_orchestra.plugins")


@dataclass(frozen=True, kw_only=True)
class Found:
    """An installed plug-in that has not been imported yet."""

    entry_point: EntryPoint
    distribution: str
    """What to uninstall."""
    version: str

    @property
    def name(self) -> str:
        """The name of its entry point: what users disable."""
        return self.entry_point.name

    @property
    def module(self) -> str:
        """Where its entry point leads: a module, or ``module:object``."""
        return self.entry_point.value

    def load(self) -> object:
        """Import the plug-in and return it; its code may raise anything."""
        if not self.entry_point.pattern.match(self.module):
            raise Unusable(f"its entry point {self.module!r} is not the name of a module")
        module = import_module(self.entry_point.module)
        attribute = self.entry_point.attr
        try:
            return attrgetter(attribute)(module) if attribute else module
        except AttributeError:
            raise Unusable(f"its entry point {self.module!r} leads nowhere") from None


def canonical(distribution: str) -> str:
    """Return the form of a distribution's name that its other spellings share."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def find() -> list[Found]:
    """Return the installed plug-ins, sorted by (name, distribution).

    A distribution that is on ``sys.path`` more than once, as an editable install beside a wheel is, counts where it is
    found first, which is also where its modules are imported from: if that one offers no plug-ins, nor do the others.
    One whose metadata cannot be read is left out with a warning.
    """
    plugins: dict[str, list[Found]] = {}
    for installed in distributions():
        try:
            if installed.entry_points.select(group=PROJECT):
                name = canonical(installed.metadata["Name"])
                if name not in plugins:
                    plugins[name] = _plugins_of(distribution(name))
        except Exception:  # noqa: BLE001 - the damage of one distribution must not hide the plug-ins of the others
            _logger.warning(
                "the entry points or the name of the distribution %s cannot be read, so plug-ins it may offer are "
                "missing: reinstall it",
                _label(installed),
            )
    return sorted((one for found in plugins.values() for one in found), key=lambda one: (one.name, one.distribution))


def _plugins_of(installed: Distribution) -> list[Found]:
    name, version = installed.metadata["Name"], installed.version
    entry_points = installed.entry_points.select(group=PROJECT)
    return [Found(entry_point=one, distribution=name, version=version) for one in entry_points]


def _label(distribution: Distribution) -> str:
    try:
        return canonical(distribution.metadata["Name"])
    except Exception:  # noqa: BLE001 - its name is as damaged as the rest
        return "without a name"
