"""Asks one plug-in what it offers, through pluggy, and believes nothing it says."""

import inspect
import re
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import cast

import pluggy
from pydantic import BaseModel

from mcp_orchestra import hookspecs
from mcp_orchestra.plugins.explaining import Unusable, explain
from mcp_orchestra.suggest import did_you_mean
from mcp_orchestra.types import CacheBackendSpec, RoutingPolicySpec, TransportSpec

__all__ = ["KINDS", "Kind", "Spec", "ask", "kind_of", "names_of"]

Spec = TransportSpec | CacheBackendSpec | RoutingPolicySpec

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ALIAS = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
_FLAGS: dict[object, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "True or False"),
    "str | None": ((str, type(None)), "a text or None"),
}
"""The declared types of the records' plain fields: what they accept, and how to say it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the things that a plug-in may offer."""

    label: str
    hook: str
    record: type[Spec]
    factory: str
    """The record's field that makes the thing."""


KINDS = (
    Kind(
        label="transport",
        hook=hookspecs.mcp_orchestra_transports.__name__,
        record=TransportSpec,
        factory="open",
    ),
    Kind(
        label="cache backend",
        hook=hookspecs.mcp_orchestra_cache_backends.__name__,
        record=CacheBackendSpec,
        factory="open",
    ),
    Kind(
        label="routing policy",
        hook=hookspecs.mcp_orchestra_routing_policies.__name__,
        record=RoutingPolicySpec,
        factory="create",
    ),
)


def kind_of(record: type[Spec]) -> Kind:
    """Return the kind whose records are of this type."""
    return next(kind for kind in KINDS if issubclass(record, kind.record))


def names_of(spec: Spec) -> tuple[str, ...]:
    """Return every name under which the thing is found, its own first."""
    aliases = spec.aliases if isinstance(spec, TransportSpec) else ()
    return tuple(dict.fromkeys((spec.name, *aliases)))


def ask(plugin: object, name: str, module: str) -> tuple[Spec, ...]:
    """Return the records that a plug-in yields.

    Args:
        plugin: A module, or any object with hook implementations.
        name: The plug-in's name.
        module: Where it lives, for messages.

    Raises:
        Unusable: A hook of it is unknown, wrongly declared, fails, or yields what it should not.
    """
    # A manager for each plug-in: there is nothing to undo when it fails, and no doubt about who answered.
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    if manager.register(plugin, name) is None:
        raise Unusable("its entry point leads to None")
    # The hooks are specified after that: what is wrong with an implementation is found here and said in our words.
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        for implementation in caller.get_hookimpls():
            _check_declaration(caller.name, implementation)
    _check_marked(plugin, {caller.name for caller in callers})
    manager.add_hookspecs(hookspecs)
    specs: list[Spec] = []
    for kind in KINDS:
        try:
            for answer in getattr(manager.hook, kind.hook)():
                for record in _records(kind, answer):
                    _check_unique(kind, record, specs)
                    specs.append(record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Unusable(explain(error, f"in its hook {kind.hook}", module)) from error
    return tuple(specs)


def _check_declaration(hook: str, implementation: pluggy.HookImpl) -> None:
    known = [kind.hook for kind in KINDS]
    if hook not in known:
        if implementation.optionalhook:
            return
        hint = did_you_mean(hook, known)
        raise Unusable(f"it implements the hook {hook}, which this version of mcp-orchestra does not have{hint}")
    if implementation.wrapper or implementation.hookwrapper:
        raise Unusable(f"it wraps the hook {hook}: hooks only describe, so there is nothing to wrap")
    taken = inspect.signature(getattr(hookspecs, hook)).parameters
    if unknown := [argument for argument in implementation.argnames if argument not in taken]:
        raise Unusable(f"its hook {hook} asks for {unknown[0]!r}, an argument that the hook does not have")
    if inspect.iscoroutinefunction(implementation.function) or inspect.isasyncgenfunction(implementation.function):
        raise Unusable(f"its hook {hook} is asynchronous: hooks only describe and are never awaited")


def _check_marked(plugin: object, implemented: set[str]) -> None:
    for kind in KINDS:
        if kind.hook not in implemented and inspect.isroutine(inspect.getattr_static(plugin, kind.hook, None)):
            raise Unusable(f"its hook {kind.hook} is not marked: write @hookimpl above it")


def _records(kind: Kind, answer: object) -> Iterator[Spec]:
    expected = kind.record.__name__
    if not isinstance(answer, Iterable):
        raise Unusable(f"its hook {kind.hook} returns a {type(answer).__name__}: yield {expected} records instead")
    for record in cast("Iterable[object]", answer):
        if not isinstance(record, kind.record):
            raise Unusable(f"its hook {kind.hook} yields a {type(record).__name__} where a {expected} belongs")
        _check_fields(kind, record)
        yield record


def _check_fields(kind: Kind, record: Spec) -> None:
    name, aliases, factory, options = (_field(record, field) for field in ("name", "aliases", kind.factory, "options"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Unusable(
            f"it names a {kind.label} {reprlib.repr(name)}: "
            "a name is lower-case letters and digits, in words joined by hyphens"
        )
    if isinstance(record, TransportSpec) and not _are_aliases(aliases):
        raise Unusable(
            f"the aliases of its {kind.label} {name!r} are {reprlib.repr(aliases)}: "
            "aliases are a tuple of words of letters, digits, hyphens and underscores"
        )
    if not callable(factory):
        raise Unusable(f"{kind.factory!r} of its {kind.label} {name!r} cannot be called")
    if options is not None and not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise Unusable(f"'options' of its {kind.label} {name!r} is not a pydantic model")
    for declared in fields(kind.record):
        value = _field(record, declared.name)
        accepted, wanted = _FLAGS.get(declared.type, ((object,), ""))
        if not isinstance(value, accepted):
            raise Unusable(
                f"{declared.name!r} of its {kind.label} {name!r} is {reprlib.repr(value)}: it must be {wanted}"
            )


def _field(record: Spec, field: str) -> object:
    """Return a field without the type that it is declared with: nobody has type-checked the plug-in."""
    return getattr(record, field, None)


def _are_aliases(aliases: object) -> bool:
    return isinstance(aliases, tuple) and all(_is_alias(alias) for alias in cast("tuple[object, ...]", aliases))


def _is_alias(alias: object) -> bool:
    return isinstance(alias, str) and _ALIAS.fullmatch(alias) is not None


def _check_unique(kind: Kind, record: Spec, others: Iterable[Spec]) -> None:
    for other in others:
        if isinstance(other, kind.record) and (same := set(names_of(other)) & set(names_of(record))):
            raise Unusable(f"it offers the {kind.label} {min(same)!r} twice")
