"""Nobody drops a test unnoticed: what a subclass may leave out, and what it may not replace."""

from collections.abc import Iterable, Iterator
from inspect import getattr_static
from typing import cast

import pytest

from mcp_orchestra.stores import GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges
from mcp_orchestra.testing.cache_stores.rules import DECLARED, StoreTests, claims

__all__ = ["ABILITIES", "check", "check_marks", "settle"]

ABILITIES: tuple[type, ...] = (GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges)
"""What a store may do besides."""

_HIDING = frozenset({"skip", "skipif", "xfail"})


class _LeftOut:
    """Stands in a class for a test of what its store does not claim to be; pytest takes only functions for tests."""


_LEFT_OUT = _LeftOut()


def settle(cls: type[StoreTests], contract: type[StoreTests]) -> None:
    """Check what a subclass declares, and leave out of it the tests of what its store does not claim to be.

    Args:
        cls: The author's class.
        contract: The class with all tests, from which it descends.

    Raises:
        TypeError: It replaces or hides a test, or declares what makes no sense.
    """
    _check_class_marks(cls, contract)
    _check_declarations(cls, contract)
    for name, original in _members(contract):
        expected = original if claims(cls, original) else _LEFT_OUT
        if expected is not (found := getattr_static(cls, name)) and (found is original or found is _LEFT_OUT):
            setattr(cls, name, expected)
    check(cls, contract)
    if "__test__" not in vars(cls):
        cls.__test__ = True  # collected, whatever its name


def check(cls: type[StoreTests], contract: type[StoreTests]) -> None:
    """Check that nothing stands in place of a test, or of what the tests use.

    Raises:
        TypeError: Something does.
    """
    for name, original in _members(contract):
        found = getattr_static(cls, name, None)
        if found is not (original if claims(cls, original) else _LEFT_OUT):
            culprit = next((base for base in cls.__mro__ if name in vars(base)), cls)
            advice = f"; if the rule cannot apply to the store, say why in not_applicable = {{{name!r}: '...'}}"
            raise TypeError(
                f"{culprit.__name__}.{name} replaces a part of {contract.__name__}: give it another name"
                + (advice if name.startswith("test_") else "")
            )
    names = {fixture for _, fixture in _fixtures(contract)}
    for name, fixture in _fixtures(cls):
        if fixture in names and name != fixture:
            raise TypeError(
                f"{cls.__name__}.{name} is a fixture named {fixture!r} and replaces the one of {contract.__name__}: "
                "give it another name"
            )


def check_marks(test: pytest.Function, contract: type[StoreTests]) -> None:
    """Check that a test is not marked so that its failure goes unnoticed, or that it gets another store.

    Args:
        test: As pytest collected it, with the marks of its class, its module and its folders.
        contract: The class with all tests.

    Raises:
        TypeError: It is.
    """
    if test.name not in {name for name, _ in _members(contract)}:
        return  # the author's own
    _check_marks(test.iter_markers(), test.nodeid, contract)


def _check_class_marks(cls: type[StoreTests], contract: type[StoreTests]) -> None:
    for base in cls.__mro__:
        marks = vars(base).get("pytestmark", [])
        several = cast("list[object]", marks if isinstance(marks, list) else [marks])
        _check_marks((getattr(one, "mark", one) for one in several), base.__name__, contract)


def _check_marks(marks: Iterable[object], where: str, contract: type[StoreTests]) -> None:
    fixtures = {name for _, name in _fixtures(contract)}
    for mark in marks:
        if not isinstance(mark, pytest.Mark):
            continue
        if mark.name in _HIDING:
            raise TypeError(
                f"{where} is marked as {mark.name}, which hides failures of {contract.__name__}: "
                "if a rule cannot apply to the store, say why in not_applicable; "
                "if there is no store to test, skip in the factory fixture"
            )
        if mark.name == "parametrize" and not fixtures.isdisjoint(_parameters(mark)):
            raise TypeError(f"{where} is parametrized with a fixture of {contract.__name__}, which replaces it")


def _parameters(mark: pytest.Mark) -> list[str]:
    names: str | Iterable[str] = mark.kwargs.get("argnames", mark.args[0] if mark.args else ())
    return [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]


def _fixtures(cls: type) -> Iterator[tuple[str, str]]:
    """Yield under which attribute there is a fixture, and what pytest calls it."""
    for name in dir(cls):
        found = getattr_static(cls, name, None)
        if isinstance(found, type(StoreTests.place)):  # pytest does not publish the type
            yield name, found.name


def _members(contract: type) -> Iterator[tuple[str, object]]:
    """Yield what may not be replaced."""
    for name in dir(contract):
        if not name.startswith("__") and name not in DECLARED:
            yield name, getattr_static(contract, name)


def _check_declarations(cls: type[StoreTests], contract: type[StoreTests]) -> None:
    tests = {name for name, _ in _members(contract) if name.startswith("test_")}
    for name, reason in cls.not_applicable.items():
        if name not in tests:
            raise TypeError(f"{cls.__name__}.not_applicable names {name!r}, which is no test of {contract.__name__}")
        if not str(reason or "").strip():
            raise TypeError(f"{cls.__name__}.not_applicable[{name!r}] must say why the rule cannot apply to the store")
    for ability in cls.abilities:
        if ability not in ABILITIES:
            known = ", ".join(one.__name__ for one in ABILITIES)
            raise TypeError(f"{cls.__name__}.abilities has {ability!r} in it; it may have {known}")
    if TellsOfChanges in cls.abilities and not cls.shared:
        raise TypeError(f"{cls.__name__} declares TellsOfChanges without shared = True: who else could change it?")
    has_factory = getattr_static(cls, "factory") is not getattr_static(contract, "factory")
    if vars(cls).get("__test__") is False and has_factory:
        raise TypeError(f"{cls.__name__} has a factory and __test__ = False, which drops every test of its store")
