"""Any calls in any order, against a dict: entries may vanish, but never change and never come back."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from collections.abc import Mapping
from functools import partial
from typing import cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from mcp_orchestra.stores import CacheStore, GrantsLeases, KeepsObjects, StoredEntry, StoredObject
from mcp_orchestra.testing.cache_stores.place import Place, tomorrow
from mcp_orchestra.testing.cache_stores.rules import StoreTests

__all__ = ["MachineTests", "StoreMachine"]

_STEPS_OF_A_RUN = 50
_STORED_BEFORE_CLEARED = 6  # else nothing ever gets old
_LONG = 3600.0
_HOWEVER_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

_KEYS = st.sampled_from(["", "a", "A", "a:b*", "\ud800\0", "k" * 300])
_SEVERAL = st.lists(_KEYS, max_size=5)
_VALUES = st.binary(max_size=20) | st.integers(1, 8).map(lambda n: bytes([n]) * 1000 * n)
_TIMES = st.integers(-8, 16).map(lambda eighths: tomorrow(eighths / 8)) | st.sampled_from([-1.0, 0.0, 1e9])
_ENTRIES = st.dictionaries(_KEYS, st.builds(StoredEntry, _VALUES, _TIMES), max_size=4)
_OBJECTS = st.dictionaries(_KEYS, st.builds(StoredObject, st.builds(object), _TIMES, st.integers(1, 99)), max_size=4)
_HOLDERS = st.sampled_from(["one", "other"])
_WHICH = st.integers(0, 1)


class StoreMachine(RuleBasedStateMachine):
    """A store, or two on one place, and a dict of what may be there.

    Args:
        place: Opens the stores.
        tests: What the author declares about them.
    """

    def __init__(self, place: Place, tests: type[StoreTests]) -> None:
        super().__init__()
        self.place: Place = place
        self.persistent: bool = tests.persistent
        self.leasing: bool = GrantsLeases in tests.abilities
        self.keeping: bool = KeepsObjects in tests.abilities
        self.stores: list[CacheStore] = [place.open() for _ in range(2 if tests.shared else 1)]
        self.stores[0].clear()
        self.model: dict[str, StoredEntry | StoredObject] = {}
        self.holders: dict[str, str] = {}
        self.stored: int = 0

    def teardown(self) -> None:
        for store in self.stores:
            self.place.close(store)

    def one(self, which: int) -> CacheStore:
        return self.stores[which % len(self.stores)]

    def leases(self, which: int) -> GrantsLeases:
        return cast("GrantsLeases", self.one(which))

    def changed(self, evicted: int | None, entries: Mapping[str, StoredEntry | StoredObject]) -> None:
        """Do to the model what storing does, and check how many entries are said to have made room."""
        assert type(evicted) is int
        assert 0 <= evicted <= len({*self.model, *entries})
        self.model.update(entries)
        self.stored += 1

    def revoke(self, *keys: str) -> None:
        for key in keys:
            self.holders.pop(key, None)

    @rule(which=_WHICH, entries=_ENTRIES)
    def set_many(self, which: int, entries: dict[str, StoredEntry]) -> None:
        self.changed(self.one(which).set_many(entries), entries)
        self.revoke(*entries)

    @rule(which=_WHICH, keys=_SEVERAL)
    def get_many(self, which: int, keys: list[str]) -> None:
        returned = self.one(which).get_many(keys)
        assert set(returned) <= set(keys)
        for key in keys:
            expected = self.model.get(key)
            if key in returned:
                assert returned[key] == expected
                assert type(returned[key].value) is bytes
                assert type(returned[key].expires_at) is float
            elif type(expected) is StoredEntry:
                del self.model[key]  # it has vanished, and for good

    @rule(which=_WHICH, keys=_SEVERAL)
    def delete_many(self, which: int, keys: list[str]) -> None:
        deleted = self.one(which).delete_many(key for key in keys)
        assert type(deleted) is int
        assert 0 <= deleted <= len({key for key in keys if self.model.pop(key, None)})
        self.revoke(*keys)
        self.get_many(which + 1, keys)

    @precondition(lambda self: self.stored >= _STORED_BEFORE_CLEARED)
    @rule(which=_WHICH)
    def clear(self, which: int) -> None:
        self.one(which).clear()
        self.model.clear()
        self.holders.clear()
        self.stored = 0

    @rule(which=_WHICH, now=_TIMES)
    def purge(self, which: int, now: float) -> None:
        expired = [key for key, kept in self.model.items() if kept.expires_at <= now]
        assert 0 <= self.one(which).purge(now) <= len(expired)
        for key in expired:
            del self.model[key]
        self.get_many(which + 1, expired)

    @rule(which=_WHICH, now=_TIMES)
    def count(self, which: int, now: float) -> None:
        assert 0 <= self.one(which).count(now) <= sum(kept.expires_at > now for kept in self.model.values())

    @precondition(lambda self: self.stored >= _STORED_BEFORE_CLEARED)
    @rule(which=_WHICH)
    def reopen(self, which: int) -> None:
        for key, holder in self.holders.items():  # whether a lease outlives its store is nowhere said
            self.leases(which).release(key, holder)
        self.holders.clear()
        number = which % len(self.stores)
        self.stores[number] = self.place.reopen(self.stores[number])
        self.stored = 0
        if not self.persistent and len(self.stores) == 1:
            self.model.clear()

    @precondition(lambda self: self.leasing)
    @rule(which=_WHICH, key=_KEYS, holder=_HOLDERS)
    def acquire(self, which: int, key: str, holder: str) -> None:
        assert self.leases(which).acquire(key, holder, _LONG) is (self.holders.setdefault(key, holder) == holder)

    @precondition(lambda self: self.leasing)
    @rule(which=_WHICH, key=_KEYS, holder=_HOLDERS)
    def renew(self, which: int, key: str, holder: str) -> None:
        assert self.leases(which).renew(key, holder, _LONG) is (self.holders.get(key) == holder)

    @precondition(lambda self: self.leasing)
    @rule(which=_WHICH, key=_KEYS, holder=_HOLDERS)
    def release(self, which: int, key: str, holder: str) -> None:
        self.leases(which).release(key, holder)
        if self.holders.get(key) == holder:
            del self.holders[key]

    @precondition(lambda self: self.leasing)
    @rule(which=_WHICH, key=_KEYS, holder=_HOLDERS, value=_VALUES, expires_at=_TIMES)
    def set_held(self, which: int, key: str, holder: str, value: bytes, expires_at: float) -> None:
        entry = StoredEntry(value, expires_at)
        evicted = self.leases(which).set_held(key, entry, holder)
        if self.holders.get(key) == holder:
            self.changed(evicted, {key: entry})
            self.revoke(key)
        else:
            assert evicted is None

    @precondition(lambda self: self.keeping)
    @rule(which=_WHICH, entries=_OBJECTS)
    def set_objects(self, which: int, entries: dict[str, StoredObject]) -> None:
        self.changed(cast("KeepsObjects", self.one(which)).set_objects(entries), entries)
        self.revoke(*entries)

    @precondition(lambda self: self.keeping)
    @rule(which=_WHICH, keys=_SEVERAL)
    def get_objects(self, which: int, keys: list[str]) -> None:
        returned = cast("KeepsObjects", self.one(which)).get_objects(keys)
        assert set(returned) <= set(keys)
        for key in keys:
            expected = self.model.get(key)
            if key in returned:
                assert type(returned[key]) is StoredObject
                assert returned[key] == expected
            elif type(expected) is StoredObject:
                del self.model[key]


class MachineTests(StoreTests):
    """The state machine."""

    def test_any_calls_in_any_order_never_return_what_is_not_there(self, place: Place) -> None:
        run_state_machine_as_test(
            cast("type[StoreMachine]", partial(StoreMachine, place, type(self))),
            settings=settings(
                max_examples=max(1, self.steps_to_take() // _STEPS_OF_A_RUN),
                stateful_step_count=_STEPS_OF_A_RUN,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=_HOWEVER_SLOW,
            ),
        )
