"""Nobody drops a test unnoticed: what a subclass may leave out, and what it may not replace."""

from collections.abc import Iterator
from inspect import getattr_static

from mcp_orchestra.stores import GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges
from mcp_orchestra.testing.cache_stores.rules import DECLARED, StoreTests, needs_of

__all__ = ["ABILITIES", "check", "settle"]

ABILITIES: tuple[type, ...] = (GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges)
"""What a store may do besides."""


class _LeftOut:
    """Stands in a class for a test of what its store does not claim to be; pytest takes only functions for tests."""


_LEFT_OUT = _LeftOut()


def settle(cls: type[StoreTests], contract: type[StoreTests]) -> None:
    """Check what a subclass declares, and leave out of it the tests of what its store does not claim to be.

    Args:
        cls: The author's class.
        contract: The class with all tests, from which it descends.

    Raises:
        TypeError: It replaces a test, or declares what makes no sense.
    """
    _check_declarations(cls, contract)
    for name, original in _members(contract):
        expected = original if _claims(cls, original) else _LEFT_OUT
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
        if found is not (original if _claims(cls, original) else _LEFT_OUT):
            culprit = next((base for base in cls.__mro__ if name in vars(base)), cls)
            advice = f"; if the rule cannot apply to the store, say why in not_applicable = {{{name!r}: '...'}}"
            raise TypeError(
                f"{culprit.__name__}.{name} replaces a part of {contract.__name__}: give it another name"
                + (advice if name.startswith("test_") else "")
            )


def _members(contract: type) -> Iterator[tuple[str, object]]:
    """Yield what may not be replaced."""
    for name in dir(contract):
        if not name.startswith("__") and name not in DECLARED:
            yield name, getattr_static(contract, name)


def _claims(cls: type[StoreTests], test: object) -> bool:
    """Whether the class declares all that the test needs."""
    return all(getattr(cls, need) if isinstance(need, str) else need in cls.abilities for need in needs_of(test))


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
