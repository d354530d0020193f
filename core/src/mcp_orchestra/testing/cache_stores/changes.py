"""Who keeps what a store returned is told, by the store, when another one changes it."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

import math
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from operator import methodcaller
from threading import Lock, Thread
from typing import Protocol, cast

import pytest

from mcp_orchestra.stores import CacheStore, GrantsLeases, TellsOfChanges
from mcp_orchestra.testing.cache_stores.place import PATIENCE, Place, entry, until
from mcp_orchestra.testing.cache_stores.rules import Interruption, StoreTests, needs

__all__ = ["ChangeTests"]

_EVERYTHING = None


class Telling(CacheStore, TellsOfChanges, Protocol):
    """A store that tells of changes, for those who check types."""


class Listener:
    """Opens a store, listens to it, and remembers of which keys it was told."""

    def __init__(self, place: Place) -> None:
        self.store: Telling = cast("Telling", place.open())
        self._lock = Lock()
        self._told: set[str | None] = set()
        self.store.watch(self._changed)
        until(self.store.in_step, "a store that is watched gets in step")

    def forget(self) -> None:
        """Forget what was told so far."""
        with self._lock:
            self._told.clear()

    def heard_of(self, keys: Collection[str]) -> bool:
        """Whether each of the keys was named, or may have changed like all others."""
        with self._lock:
            return _EVERYTHING in self._told or self._told.issuperset(keys)

    def was_named(self, key: str) -> bool:
        """Whether this very key was named."""
        with self._lock:
            return key in self._told

    def await_change(self, *keys: str) -> None:
        """Wait until each of the keys was named, or all keys were."""
        for key in keys:
            until(partial(self.heard_of, [key]), f"told of {key[:20]!r}", seconds=self.store.push_delay)

    def _changed(self, keys: Sequence[str] | None) -> None:
        with self._lock:
            self._told.update([_EVERYTHING] if keys is None else keys)


class ChangeTests(StoreTests):
    """`TellsOfChanges`."""

    @pytest.fixture
    def listener(self, place: Place) -> Listener:
        """Return a store that is watched, with nothing stored yet."""
        return Listener(place)

    @needs(TellsOfChanges)
    def test_it_says_how_long_a_change_takes_to_arrive(self, listener: Listener) -> None:
        assert isinstance(listener.store.push_delay, (int, float))
        assert math.isfinite(listener.store.push_delay)
        assert listener.store.push_delay >= 0

    @needs(TellsOfChanges)
    def test_whether_it_is_in_step_is_a_plain_answer(self, place: Place, listener: Listener) -> None:
        assert isinstance(listener.store.in_step(), bool)
        assert isinstance(cast("Telling", place.open()).in_step(), bool)

    @needs(TellsOfChanges)
    def test_it_tells_what_another_store_stored_and_deleted(self, place: Place, listener: Listener) -> None:
        other = place.open()
        keys = ["", "a", "\ud800\0\n", "a:{b}*", "k" * 10_000]
        other.set_many({key: entry() for key in keys})
        listener.await_change(*keys)
        listener.forget()
        other.delete_many(keys[:2])
        listener.await_change(*keys[:2])

    @needs(TellsOfChanges)
    def test_it_tells_that_another_store_replaced_what_it_had_stored(self, place: Place, listener: Listener) -> None:
        other = place.open()
        listener.store.set_many({"a": entry(b"own")})
        other.set_many({"a": entry(b"of the other")})
        listener.await_change("a")

    @needs(TellsOfChanges)
    def test_it_tells_of_a_deletion_even_if_the_entry_is_gone_already(self, place: Place, listener: Listener) -> None:
        other = place.open()
        assert other.delete_many(["a"]) == 0  # who was returned it before it went has it still
        listener.await_change("a")

    @needs(TellsOfChanges)
    def test_it_tells_that_another_store_was_cleared(self, place: Place, listener: Listener) -> None:
        other = place.open()
        listener.store.set_many({"a": entry()})
        listener.forget()
        other.clear()
        listener.await_change("a")

    @needs(TellsOfChanges, GrantsLeases)
    def test_it_tells_what_the_holder_of_a_lease_stored(self, place: Place, listener: Listener) -> None:
        other = cast("GrantsLeases", place.open())
        other.acquire("a", "one", 3600.0)
        listener.forget()
        assert other.set_held("a", entry(), "one") == 0
        listener.await_change("a")

    @needs(TellsOfChanges)
    def test_it_does_not_tell_what_it_changed_itself(self, place: Place, listener: Listener) -> None:
        other = place.open()
        listener.store.set_many({"own": entry(), "own too": entry()})
        listener.store.delete_many(["own too"])
        for n in range(3):  # what came before these has arrived with them
            other.set_many({f"of the other {n}": entry()})
            listener.await_change(f"of the other {n}")
        assert not listener.was_named("own")
        assert not listener.was_named("own too")

    @needs(TellsOfChanges)
    def test_who_is_told_of_a_change_reads_what_was_changed(self, place: Place, listener: Listener) -> None:
        other = place.open()
        for n in range(10):
            listener.forget()
            writer = Thread(target=other.set_many, args=[{"a": entry(b"%d" % n)}], daemon=True)
            writer.start()
            try:
                listener.await_change("a")
                returned = dict(listener.store.get_many(["a"]))
            finally:
                writer.join(PATIENCE)
            assert returned == {"a": entry(b"%d" % n)}

    @needs(TellsOfChanges)
    def test_everybody_who_watches_is_told(self, place: Place, listener: Listener) -> None:
        another = Listener(place)
        other = place.open()
        other.set_many({"a": entry()})
        listener.await_change("a")
        another.await_change("a")

    @needs(TellsOfChanges)
    def test_it_tells_what_another_process_changed(self, place: Place, listener: Listener) -> None:
        with place.process() as process:
            process.call(methodcaller("set_many", {"a": entry()}))
            listener.await_change("a")
            listener.forget()
            process.call(methodcaller("clear"))
            listener.await_change("a")

    @needs(TellsOfChanges)
    def test_what_is_in_step_has_told_every_change_that_is_older_than_its_delay(
        self, place: Place, listener: Listener
    ) -> None:
        store, other = listener.store, place.open()
        keys = [f"key {n}" for n in range(5)]
        for key in keys:
            other.set_many({key: entry()})
        _told_unless_out_of_step(listener, keys)
        listener.await_change(*keys)
        until(store.in_step, "in step again")

    @needs(TellsOfChanges, "interrupt")
    def test_what_is_cut_off_is_not_in_step_before_it_has_told_what_it_missed(
        self, place: Place, listener: Listener, interrupt: Interruption
    ) -> None:
        store, other = listener.store, place.open()
        written: list[str] = []

        def write(key: str) -> bool:
            with suppress(OSError):  # it may be cut off as well
                other.set_many({key: entry()})
                written.append(key)
            return key in written

        writer = Thread(target=write, args=["meanwhile"], daemon=True)
        with interrupt():
            writer.start()
            until(lambda: not store.in_step(), "what is cut off is not in step", seconds=store.push_delay)
        writer.join(PATIENCE)
        until(partial(write, "afterwards"), "the place can be used again")
        _told_unless_out_of_step(listener, written)
        listener.await_change(*written)
        until(store.in_step, "in step again")


def _told_unless_out_of_step(listener: Listener, keys: Collection[str]) -> None:
    """Check that a store does not say for longer than its delay that it is in step, and has not told of the keys."""
    end = time.monotonic() + listener.store.push_delay + 1  # for the thread that is told to get its turn
    while not listener.heard_of(keys) and listener.store.in_step():
        assert time.monotonic() < end, "it says that it is in step, and has not told of every change"
        time.sleep(0.01)
