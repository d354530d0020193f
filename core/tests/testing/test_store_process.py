"""A store in another process does what it is told, and what goes wrong there is an error here."""

import os
import pickle
import time
from functools import partial
from operator import methodcaller

import pytest
from mcp_orchestra.stores import StoredEntry
from mcp_orchestra.testing.store_process import StoreProcess
from mcp_orchestra_memory import MemoryStore


def test_it_returns_what_the_store_returns_over_there() -> None:
    with StoreProcess(MemoryStore) as process:
        assert process.call(methodcaller("set_many", {"\ud800": StoredEntry(b"\0", 0.1)})) == 0
        assert process.call(methodcaller("get_many", ["\ud800", "x"])) == {"\ud800": StoredEntry(b"\0", 0.1)}


def test_what_the_store_raises_is_shown_and_the_process_goes_on() -> None:
    with StoreProcess(MemoryStore) as process:
        with pytest.raises(AssertionError, match="no_such_method"):
            process.call(methodcaller("no_such_method"))
        assert process.call(methodcaller("count", 0.0)) == 0


def test_a_store_that_does_not_open_is_an_error() -> None:
    with (
        StoreProcess(partial(MemoryStore, max_entries=0)) as process,
        pytest.raises(AssertionError, match="at least 1"),
    ):
        process.call(methodcaller("count", 0.0))


def test_a_factory_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="pickle"):
        StoreProcess(lambda: MemoryStore())


def test_a_process_that_does_not_answer_in_time_is_an_error() -> None:
    with (
        StoreProcess(partial(time.sleep, 3600), deadline=0.2) as process,
        pytest.raises(AssertionError, match="ended or did not answer in time"),
    ):
        process.call(methodcaller("count", 0.0))


def test_a_process_that_was_killed_has_no_answer() -> None:
    with StoreProcess(MemoryStore) as process:
        process.begin(methodcaller("count", 0.0))
        process.kill()
        with pytest.raises(AssertionError, match="ended"):
            process.result()
        with pytest.raises(AssertionError, match="has ended"):
            process.call(methodcaller("count", 0.0))


def test_a_process_that_ends_by_itself_has_no_answer() -> None:
    with StoreProcess(partial(os._exit, 3)) as process, pytest.raises(AssertionError, match="ended"):
        process.call(methodcaller("count", 0.0))
