"""S16: what cannot be sent is the caller's error, in plain words that name the place and never the value."""

import datetime
import enum
import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.inputs import checked_object, checked_seconds, checked_text


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def holding_itself() -> dict[str, Any]:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


WRONG = {
    "half a pair": ({"text": "s3cret\ud800"}, ValueError, "arguments.text is not valid Unicode"),
    "half a pair in a key": ({"a": {"\udfff": 1}}, ValueError, "is not valid Unicode"),
    "not a number": ({"a": [1, {"b": float("nan")}]}, ValueError, r"arguments\.a\[1\]\.b is not a finite number"),
    "infinite": ({"a": float("-inf")}, ValueError, "arguments.a is not a finite number"),
    "too long a number": ({"a": 10**5000}, ValueError, "arguments.a is an integer too large"),
    "in itself": (holding_itself(), ValueError, r"arguments\.a\[0\] contains itself"),
    "too deep": ({"a": nested(10_000)}, ValueError, "nested more than 150 levels deep"),
    "bytes": ({"a": b"s3cret"}, TypeError, "arguments.a is of type bytes"),
    "a set": ({"a": {"s3cret"}}, TypeError, "arguments.a is of type set"),
    "an object": ({"a": object()}, TypeError, "arguments.a is of type object"),
    "a date": ({"a": datetime.date(2026, 1, 1)}, TypeError, "arguments.a is of type date"),
    "a key that is no text": ({"a": {1: 2}}, TypeError, "the keys of arguments.a must be of type str, not int"),
    "a list": (["s3cret"], TypeError, "arguments must be a mapping, not list"),
    "a text": ("s3cret", TypeError, "arguments must be a mapping, not str"),
}


@pytest.mark.parametrize("what", WRONG)
def test_s6_what_is_not_json_is_refused_by_its_place_and_not_by_its_value(what: str):
    value, error, message = WRONG[what]
    with pytest.raises(error, match=message) as caught:
        checked_object(value)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_the_same_value_twice_is_not_in_itself():
    shared = [1]
    assert checked_object({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_what_json_has_a_word_for_is_taken():
    given_ = MappingProxyType({"t": (1, 2), "c": Colour.RED, "l": Level.HIGH, "n": None, "b": True, "f": 1.5})
    taken = checked_object(given_)
    assert json.dumps(taken) == '{"t": [1, 2], "c": "red", "l": 3, "n": null, "b": true, "f": 1.5}'
    assert checked_object(None) is None


def test_what_the_caller_changes_later_is_not_sent():
    given_ = {"a": [1]}
    taken = checked_object(given_)
    given_["a"].append(float("nan"))
    assert taken == {"a": [1]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
)


@given(st.dictionaries(st.text(st.characters()), JSON, max_size=4))
def test_what_is_taken_can_be_written_as_json_and_nothing_else_is_refused(value: dict[str, Any]):
    try:
        expected = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        with pytest.raises(ValueError, match="arguments"):
            checked_object(value)
    else:
        assert json.dumps(checked_object(value), allow_nan=False, ensure_ascii=False).encode() == expected


@pytest.mark.parametrize(
    ("value", "error"), [(None, TypeError), (5, TypeError), (b"x", TypeError), ("\ud800", ValueError)]
)
def test_a_name_that_is_no_text_is_refused(value: object, error: type[Exception]):
    with pytest.raises(error, match="name"):
        checked_text(value, "name")


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("-inf"), True, False])
def test_a_time_that_is_no_time_is_refused(value: float):
    with pytest.raises(ValueError, match="timeout must be a number of seconds greater than 0"):
        checked_seconds(value)


@pytest.mark.parametrize("value", ["5", [1], object()])
def test_a_time_that_is_no_number_is_refused(value: object):
    with pytest.raises(TypeError, match="timeout must be a number of seconds"):
        checked_seconds(value)


@pytest.mark.parametrize(("value", "expected"), [(None, None), (1, 1.0), (0.5, 0.5), (float("inf"), float("inf"))])
def test_a_time_is_taken(value: float | None, expected: float | None):
    assert checked_seconds(value) == expected
