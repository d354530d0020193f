"""ResourceCache over stores in memory does what the model does: S30, S31, S33, S34, S35 and S36.

At the end are the examples that have failed once, step by step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from cache_machine import CacheMachine, run_machine
from switchable import SwitchableBytes, SwitchableMemory

MachineT = TypeVar("MachineT", bound=CacheMachine)


class OverObjects(CacheMachine):
    def open_store(self, room: int) -> SwitchableMemory:
        return SwitchableMemory(max_entries=room)


class OverBytes(CacheMachine):
    def open_store(self, room: int) -> SwitchableBytes:
        return SwitchableBytes(max_entries=room)


class OverBytesElsewhere(CacheMachine):
    """The store is one that has to be waited for."""

    blocking = True

    def open_store(self, room: int) -> SwitchableBytes:
        return SwitchableBytes()


class BehindANearCache(OverBytesElsewhere):
    near_entries = 3


def test_s30_the_cache_behaves_like_its_model_over_objects() -> None:
    run_machine(OverObjects)


def test_s30_the_cache_behaves_like_its_model_over_bytes() -> None:
    run_machine(OverBytes)


def test_s30_the_cache_behaves_like_its_model_over_a_store_that_it_waits_for() -> None:
    run_machine(OverBytesElsewhere, 2_000)


def test_s30_the_cache_behaves_like_its_model_behind_a_near_cache() -> None:
    run_machine(BehindANearCache, 2_000)


@contextmanager
def example(
    machine: type[MachineT], *, max_stale: float = 0, swr: float = 0, strict: bool = False
) -> Iterator[MachineT]:
    """Take steps by hand; the statistics have to add up after the last one too."""
    state = machine()
    state.start(room=1, max_stale=max_stale, swr=swr, strict=strict)
    try:
        yield state
        state.the_statistics_add_up()
    finally:
        state.teardown()


def test_s35_an_answer_that_was_set_while_the_fetch_failed_does_not_count_as_stale() -> None:
    with example(OverObjects, max_stale=4) as state:
        state.fetch([("a", False)], {"a"}, None, True, meanwhile=[("set", "a", {})], late=[])


@pytest.mark.parametrize("on_loop", [True, False])
def test_s33_what_is_outdated_is_not_served_as_fresh_by_the_near_cache(on_loop: bool) -> None:
    with example(BehindANearCache, max_stale=16) as state:
        state.fetch([("a", False)], set(), None, True, meanwhile=[], late=[])
        state.outdate("a", on_loop)
        state.lookup(["a"], set())
        state.get("a")


def test_s36_what_was_outdated_while_the_store_hung_is_so_since_then_and_not_since_it_is_back() -> None:
    with example(BehindANearCache, max_stale=4, swr=16) as state:
        state.fetch([("a", False)], set(), None, True, meanwhile=[], late=[])
        state.store_hangs(("invalidate", "b"), [("outdate", "a")])
        state.lookup(["a"], {"a"})
        state.cleanup()


def test_s30_a_ticket_is_not_honoured_before_what_it_stands_for_was_stored() -> None:
    with example(OverObjects) as state:
        state.time_passes(16)
        state.fetch([("a", False)], set(), None, True, meanwhile=[], late=[])
        state.clock_is_put_back(6)
        state.look_up_with_a_ticket(["a"])
        state.clock_is_put_back(6)
        state.show_the_ticket()
        state.lookup(["a"], set())


def test_s35_what_was_fetched_too_late_to_be_kept_does_not_take_the_stale_entry_with_it() -> None:
    with example(OverObjects, max_stale=4) as state:
        state.set_data("a", {})
        state.store_goes_down()
        state.fetch([("a", False)], set(), None, True, meanwhile=[("outdate", "a")], late=[])
        state.the_statistics_add_up()
        state.store_comes_up()
        state.lookup(["a"], {"a"})
