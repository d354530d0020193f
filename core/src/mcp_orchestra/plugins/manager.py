"""The plug-ins of one orchestrator: which there are, which work, and what they offer."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from mcp_orchestra.errors import PluginError
from mcp_orchestra.plugins.asking import Spec, ask, kind_of, names_of
from mcp_orchestra.plugins.conflicts import refuse_conflicts
from mcp_orchestra.plugins.explaining import explain
from mcp_orchestra.plugins.finding import Found, canonical, find
from mcp_orchestra.plugins.info import DISABLE_VARIABLE, Plugin, PluginInfo, context, switch_off
from mcp_orchestra.suggest import did_you_mean
from mcp_orchestra.types import CacheBackendSpec, RoutingPolicySpec, TransportSpec

__all__ = ["PluginManager"]

_logger = logging.getLogger("mcp_orchestra.plugins")

_SpecT = TypeVar("_SpecT", TransportSpec, CacheBackendSpec, RoutingPolicySpec)


class PluginManager:
    """Finds the installed plug-ins and hands out what they offer, by name.

    Nothing is looked for before `discover`; what is given to `register` is there at once. A plug-in that cannot be
    imported, exits the interpreter, implements a hook that core does not have or yields what it should not is *failed*:
    one warning says why, and the others work. Two plug-ins that claim one name are an error, because either choice
    would be a guess. It may be used from several threads at once.

    Args:
        disabled: Plug-ins that are not even imported, by their own name or that of their distribution. Those in the
            environment variable ``MCP_ORCHESTRA_DISABLE_PLUGINS`` (separated by commas) are added.
        only: If given, the names of the only plug-ins to discover: the others are not imported, and not listed either.
        strict: Make a failed plug-in an error, with what it raised as the cause: for tests, and for those who write
            plug-ins.
    """

    def __init__(
        self, *, disabled: Iterable[str] = (), only: Iterable[str] | None = None, strict: bool = False
    ) -> None:
        from_environment = (name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(","))
        self._disabled = dict.fromkeys(filter(None, from_environment), DISABLE_VARIABLE)
        self._disabled |= dict.fromkeys(disabled, "the configuration")
        self._only = None if only is None else frozenset(only)
        self._strict = strict
        self._discovered = False
        # Replaced as a whole and under the lock, so whoever reads it needs none.
        self._plugins: tuple[Plugin, ...] = ()
        self._lock = threading.RLock()  # reentrant, because a hook may come back here

    def discover(self) -> None:
        """Import the installed plug-ins, one by one in the order of (name, distribution); later calls only check.

        Raises:
            PluginError: Two plug-ins have one name or offer one thing; in strict mode also: one has failed. The
                context lists the plug-ins and their distributions.
        """
        with self._lock:
            if not self._discovered:
                found = find()
                loaded = self._load_all([one for one in found if self._only is None or one.name in self._only])
                self._plugins = (*self._plugins, *loaded)
                self._discovered = True
                self._warn_about_unknown(found)
        refuse_conflicts(self._plugins)
        failed = [plugin for plugin in self._plugins if plugin.info.state == "failed"]
        if self._strict and failed:
            reasons = "; ".join(_unusable(plugin.info) for plugin in failed)
            off = switch_off(",".join(plugin.info.name for plugin in failed))
            raise PluginError(
                f"{reasons}: mend it, or switch it off: {off}", context(plugin.info for plugin in failed)
            ) from failed[0].cause

    def register(self, plugin: object, name: str) -> None:
        """Add a plug-in of this process: a module, or any object with hook implementations.

        Args:
            plugin: The plug-in. If its name is disabled it is listed, and not asked for anything.
            name: Its name, unique among the plug-ins.

        Raises:
            PluginError: It cannot be used, or it claims what another plug-in has already. It is not added then.
        """
        info = PluginInfo(name=name, module=str(getattr(plugin, "__name__", type(plugin).__module__)))
        if by := self._disabled.get(name):
            added = Plugin(info=_disabled(info, by))
        else:
            try:
                added = _active(info, ask(plugin, name, info.module))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                info = _failed(info, error, "when it is registered")
                raise PluginError(_unusable(info), context([info])) from error
        with self._lock:
            plugins = (*self._plugins, added)
            refuse_conflicts(plugins)
            self._plugins = plugins

    def transport(self, name: str) -> TransportSpec:
        """Return the transport of this name or alias.

        Raises:
            PluginError: There is none. The message lists those on offer, and the plug-ins that are failed or disabled
                and may have offered it.
        """
        return self._get(TransportSpec, name)

    def cache_backend(self, name: str) -> CacheBackendSpec:
        """Return the cache backend of this name.

        Raises:
            PluginError: There is none, as for `transport`.
        """
        return self._get(CacheBackendSpec, name)

    def routing_policy(self, name: str) -> RoutingPolicySpec:
        """Return the routing policy of this name.

        Raises:
            PluginError: There is none, as for `transport`.
        """
        return self._get(RoutingPolicySpec, name)

    def transports(self) -> list[TransportSpec]:
        """Return the transports on offer, sorted by name."""
        return self._list(TransportSpec)

    def cache_backends(self) -> list[CacheBackendSpec]:
        """Return the cache backends on offer, sorted by name."""
        return self._list(CacheBackendSpec)

    def routing_policies(self) -> list[RoutingPolicySpec]:
        """Return the routing policies on offer, sorted by name."""
        return self._list(RoutingPolicySpec)

    def installed(self) -> list[PluginInfo]:
        """Return what became of each plug-in, sorted by (name, distribution), after a failed discovery too."""
        infos = [plugin.info for plugin in self._plugins]
        return sorted(infos, key=lambda info: (info.name, info.distribution or ""))

    def _load_all(self, found: Iterable[Found]) -> list[Plugin]:
        off = {one: by for one in found if (by := self._disabled_by(one))}
        names = Counter(plugin.info.name for plugin in self._plugins if plugin.info.state != "disabled")
        names.update(one.name for one in found if one not in off)
        loaded: list[Plugin] = []
        for one in found:
            info = PluginInfo(name=one.name, module=one.module, distribution=one.distribution, version=one.version)
            if by := off.get(one):
                loaded.append(Plugin(info=_disabled(info, by)))
            elif names[one.name] > 1:  # which of them is meant is not known: none of them gets to run
                loaded.append(Plugin(info=replace(info, state="failed", reason="another plug-in has the same name")))
            else:
                loaded.append(_load(one, info))
        return loaded

    def _disabled_by(self, found: Found) -> str | None:
        if by := self._disabled.get(found.name):
            return by
        distribution = canonical(found.distribution)
        return next((by for name, by in self._disabled.items() if canonical(name) == distribution), None)

    def _warn_about_unknown(self, found: Iterable[Found]) -> None:
        names = {plugin.info.name for plugin in self._plugins} | {one.name for one in found}
        distributions = {canonical(one.distribution) for one in found}
        for name, by in self._disabled.items():
            if name not in names and canonical(name) not in distributions:
                hint = did_you_mean(name, names | distributions)
                _logger.warning("there is no plug-in %r to switch off, as %s asks%s", name, by, hint)

    def _list(self, record: type[_SpecT]) -> list[_SpecT]:
        plugins = self._plugins
        refuse_conflicts(plugins)
        specs = [spec for plugin in plugins for spec in plugin.specs if isinstance(spec, record)]
        return sorted(specs, key=lambda spec: spec.name)

    def _get(self, record: type[_SpecT], name: str) -> _SpecT:
        specs = self._list(record)
        offered = {known: spec for spec in specs for known in names_of(spec)}
        if name in offered:
            return offered[name]
        kind = kind_of(record)
        installed = [spec.name for spec in specs]
        listing = f"installed: {', '.join(installed)}" if installed else "none is installed"
        suspects = [plugin.info for plugin in self._plugins if plugin.info.state != "active"]
        raise PluginError(
            f"unknown {kind.label} {name!r} ({listing})"
            + "".join(f"; it may be in the plug-in {info}, which is {info.state}: {info.reason}" for info in suspects)
            + ("" if self._discovered else "; installed plug-ins have not been looked for: call discover()")
            + did_you_mean(name, offered),
            {"kind": kind.label, "name": name, "installed": installed, **context(suspects)},
        )


def _load(found: Found, info: PluginInfo) -> Plugin:
    doing = "while it is imported"
    try:
        plugin = found.load()
        doing = "when it is asked what it offers"
        return _active(info, ask(plugin, found.name, found.module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - to contain whatever a plug-in does is the point
        info = _failed(info, error, doing)
        _logger.warning("%s", _unusable(info))
        return Plugin(info=info, cause=error)


def _active(info: PluginInfo, specs: tuple[Spec, ...]) -> Plugin:
    offers = tuple(f"{kind_of(type(spec)).label} {spec.name}" for spec in specs)
    return Plugin(info=replace(info, offers=offers), specs=specs)


def _failed(info: PluginInfo, error: BaseException, doing: str) -> PluginInfo:
    return replace(info, state="failed", reason=explain(error, doing, info.module))


def _disabled(info: PluginInfo, by: str) -> PluginInfo:
    return replace(info, state="disabled", reason=f"switched off by {by}")


def _unusable(info: PluginInfo) -> str:
    return f"the plug-in {info} cannot be used: {info.reason}"
