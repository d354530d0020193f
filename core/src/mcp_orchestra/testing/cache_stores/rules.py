"""What all tests of a store have in common: what the author declares, and the fixtures that they use."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from inspect import getattr_static
from types import MappingProxyType
from typing import ClassVar, TypeVar

import pytest

from mcp_orchestra.stores import CacheStore
from mcp_orchestra.testing.cache_stores.place import Place, StoreFactory

__all__ = ["DECLARED", "Interruption", "StoreTests", "claims", "needs"]

_TestT = TypeVar("_TestT", bound=Callable[..., object])

Interruption = Callable[[], AbstractContextManager[object]]
"""Cuts the stores that are open off from their place for as long as a block lasts."""

DECLARED: frozenset[str] = frozenset(
    {"factory", "interrupt", "persistent", "shared", "abilities", "not_applicable", "steps"}
)
"""What an author may define in a subclass, beside names of his own."""

_NEEDS = "needs_of_the_store"


def needs(*what: str | type) -> Callable[[_TestT], _TestT]:
    """Mark a test that is only for stores of which all of this holds.

    Args:
        what: An ability, or ``"persistent"``, ``"shared"``, ``"openable twice"`` or ``"interrupt"``.
    """

    def mark(test: _TestT) -> _TestT:
        setattr(test, _NEEDS, what)
        return test

    return mark


def claims(cls: "type[StoreTests]", test: object) -> bool:
    """Return whether a class declares all that a test was marked with by `needs`."""
    found: tuple[str | type, ...] = getattr(test, _NEEDS, ())
    return all(_CONDITIONS[need](cls) if isinstance(need, str) else need in cls.abilities for need in found)


class StoreTests:
    """What an author declares, and the fixtures that the tests use."""

    __test__: ClassVar[bool] = False

    persistent: ClassVar[bool] = False
    """What is stored is there again when the store was closed and its place is opened once more."""
    shared: ClassVar[bool] = False
    """Several stores, in this process and in others, may have the place open at once and see each other's entries."""
    abilities: ClassVar[Collection[type]] = ()
    """Which of `KeepsObjects`, `GrantsLeases`, `TellsOfChanges` and `GivesNotice` the store has."""
    not_applicable: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Tests that cannot apply to the store, by name, each with the reason that is shown where it is skipped."""
    steps: ClassVar[int] = 1000
    """Steps of the state machine; the environment variable ``MCP_ORCHESTRA_TEST_STEPS`` overrides it."""

    @pytest.fixture
    def factory(self) -> StoreFactory:
        """Return what opens the store: the one fixture that an author writes."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture named factory that returns what opens a store"
        )

    @pytest.fixture
    def interrupt(self) -> Interruption:
        """Return what cuts open stores off from their place: for a store that `TellsOfChanges`, if its author can."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture named interrupt")

    @pytest.fixture
    def place(self, factory: StoreFactory) -> Iterator[Place]:
        """Return where stores are opened."""
        place = Place(factory)
        yield place
        place.leave()

    @pytest.fixture
    def store(self, place: Place) -> CacheStore:
        """Return an open store on an empty place."""
        return place.open()

    def steps_to_take(self) -> int:
        """Return for how many steps the state machine runs."""
        return int(os.environ.get("MCP_ORCHESTRA_TEST_STEPS", self.steps))


_CONDITIONS: Mapping[str, Callable[[type[StoreTests]], bool]] = {
    "persistent": lambda cls: cls.persistent,
    "shared": lambda cls: cls.shared,
    "openable twice": lambda cls: cls.shared or not cls.persistent,  # else a second one need not even open
    "interrupt": lambda cls: getattr_static(cls, "interrupt") is not getattr_static(StoreTests, "interrupt"),
}
