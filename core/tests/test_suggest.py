"""S2: a near miss is hinted at, and hinting costs next to nothing however much there is to compare."""

import time

import pytest
from mcp_orchestra.suggest import did_you_mean

FIELDS = ["command", "args", "env", "cwd", "url", "headers", "watch", "enabled", "priority", "timeout"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("comand", "command"),
        ("HEADERS", "headers"),
        ("header", "headers"),
        ("prioritty", "priority"),
        ("timeuot", "timeout"),
        ("enable", "enabled"),
    ],
)
def test_s2_a_near_miss_is_hinted_at(name, meant):
    assert did_you_mean(name, FIELDS) == f"; did you mean {meant!r}?"


@pytest.mark.parametrize("name", ["oauth", "auth", "envFile", "headersHelper", "sandboxEnabled", "zzz", ""])
def test_another_word_is_no_near_miss(name):
    assert did_you_mean(name, FIELDS) == ""


@pytest.mark.parametrize("length", [40, 100, 10_000])
@pytest.mark.parametrize("count", [200, 100_000])
def test_s2_a_hint_is_cheap_at_any_size(length, count):
    known = ("ab" * (length // 2) + str(number) for number in range(count))
    started = time.thread_time()
    did_you_mean("ba" * (length // 2), known)
    assert time.thread_time() - started < 0.5


def test_where_too_much_is_known_there_is_no_hint():
    assert did_you_mean("nam", ["name", *map(str, range(199))]) == "; did you mean 'name'?"
    assert did_you_mean("nam", ["name", *map(str, range(200))]) == ""
