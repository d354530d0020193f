"""What is written into a store comes back equal, and nothing else is taken for it."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.cache.entry import Entry, decode, encode, pack, unpack
from pydantic_core import from_json, to_json

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
json_data = st.dictionaries(st.text(max_size=8), values, max_size=5)


def types_of(value: object) -> object:
    if isinstance(value, dict):
        return {key: types_of(item) for key, item in value.items()}
    return [types_of(item) for item in value] if isinstance(value, list) else type(value)


@given(
    key=st.text(),
    data=json_data,
    stored_at=st.floats(0, 1e12),
    expires_at=st.floats(0, 1e12),
    ttl_ms=st.none() | st.integers(0, 2**53),
    scope=st.sampled_from(["public", "private"]),
)
def test_an_entry_comes_back_equal_and_of_the_same_types(key, data, stored_at, expires_at, ttl_ms, scope):
    entry = Entry(data, stored_at, expires_at, ttl_ms, scope)

    value, returned = encode(key, entry)

    assert decode(key, value) == entry
    assert types_of(decode(key, value).data) == types_of(data)
    assert returned == decode(key, value).data == data


@given(data=json_data, key=st.text(), other=st.text())
def test_an_entry_is_none_of_another_key(data, key, other):
    value, _ = encode(key, Entry(data, 0.0, 1.0))
    if key != other:
        with pytest.raises(ValueError, match="not a cache entry"):
            decode(other, value)


@given(
    st.binary().filter(lambda value: b'"v"' not in value)  # Hypothesis tries what it finds in our sources, too
    | json_data.filter(lambda data: "v" not in data).map(to_json)
    | scalars.map(to_json)
)
def test_bytes_that_are_no_entry_are_refused(value):
    with pytest.raises(ValueError, match="not a cache entry"):
        decode("a", value)


@pytest.mark.parametrize("value", [None, 5, {"v": 1}, ["x"], object()])
def test_what_is_not_even_bytes_is_refused(value):
    with pytest.raises(ValueError, match="not a cache entry"):
        decode("a", value)


@pytest.mark.parametrize(
    "change",
    [
        {"data": []},
        {"data": None},
        {"stored_at": "long ago"},
        {"stored_at": None},
        {"expires_at": "soon"},
        {"expires_at": None},
        {"key": None},
        {"key": ["a"]},
        {"ttl_ms": "60000"},
        {"ttl_ms": 1.5},
        {"ttl_ms": True},
        {"scope": "everybody"},
        {"scope": None},
        {"scope": ["public"]},
    ],
)
def test_an_envelope_with_a_wrong_field_is_refused(change):
    envelope = from_json(encode("a", Entry({}, 0.0, 1.0))[0])

    with pytest.raises(ValueError, match="not a cache entry"):
        decode("a", to_json(envelope | change))


@pytest.mark.parametrize("field", ["data", "stored_at", "expires_at", "ttl_ms", "scope", "outdated", "key", "v"])
def test_an_envelope_without_a_field_is_refused(field):
    envelope = from_json(encode("a", Entry({}, 0.0, 1.0))[0])
    del envelope[field]

    with pytest.raises(ValueError, match="not a cache entry"):
        decode("a", to_json(envelope))


def test_an_entry_of_another_version_is_nothing_rather_than_wrong():
    envelope = from_json(encode("a", Entry({}, 0.0, 1.0))[0])

    assert decode("a", to_json(envelope | {"v": 99})) is None


def nested(levels: int) -> dict[str, object]:
    data: dict[str, object] = {}
    for _ in range(levels):
        data = {"a": data}
    return data


def test_data_may_be_150_levels_deep():
    assert encode("a", Entry(nested(150), 0.0, 1.0))[1] == nested(150)


def circle() -> dict[str, object]:
    data: dict[str, object] = {}
    data["self"] = data
    return data


class Colour(StrEnum):
    RED = "red"


class Hostile(dict):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"a": {1, 2}}, "data['a'] is set"),
        ({"a": (1, 2)}, "data['a'] is tuple"),
        ({"a": [{"b": b"x"}]}, "data['a'][0]['b'] is bytes"),
        ({"a": {1: 2}}, "a key of data['a'] is int"),
        ({None: 2}, "a key of data is NoneType"),
        ({"a": float("nan")}, "data['a'] is not finite"),
        ({"a": [float("inf")]}, "data['a'][0] is not finite"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "data['a'] is datetime"),
        ({"a": Decimal("1.5")}, "data['a'] is Decimal"),
        ({"a": object()}, "data['a'] is object"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({"a": 10**5000}, "too long"),
        (nested(1000), "too deep"),
        (circle(), "too deep"),
        ({"a": Hostile()}, "resources:a"),
    ],
)
def test_data_that_would_not_come_back_equal_is_refused_and_the_place_is_named(data, place):
    with pytest.raises(TypeError) as refused:
        encode("resources:a", Entry(data, 0.0, 1.0))

    assert place in str(refused.value)
    assert "'resources:a'" in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_refusal_shows_no_value():
    with pytest.raises(TypeError) as refused:
        encode("a", Entry({"password": b"s3cret"}, 0.0, 1.0))

    assert "s3cret" not in str(refused.value)


def test_a_subclass_that_equals_its_base_comes_back_as_the_base():
    value, returned = encode("a", Entry({"colour": Colour.RED}, 0.0, 1.0))

    assert returned == {"colour": "red"}
    assert type(decode("a", value).data["colour"]) is str


def test_a_part_that_appears_twice_is_no_circle():
    part = {"x": [1]}

    assert encode("a", Entry({"one": part, "other": [part, part]}, 0.0, 1.0))[1] == {"one": part, "other": [part, part]}


def test_an_object_is_kept_with_its_key_and_its_times():
    packed = pack("a", Entry({"n": [1]}, 0.0, 60.0))
    kept = unpack("a", packed)

    assert (kept.key, kept.entry) == ("a", Entry({"n": [1]}, 0.0, 60.0))
    assert kept.original.copy() == kept.entry.data == {"n": [1]}


@pytest.mark.parametrize("value", [None, b"{}", {"n": 1}, ("b", Entry({}, 0.0, 1.0), None), object()])
def test_an_object_that_is_no_entry_of_the_key_is_refused(value):
    with pytest.raises(ValueError, match="not a cache entry"):
        unpack("a", value)
    with pytest.raises(ValueError, match="not a cache entry"):
        unpack("a", pack("b", Entry({}, 0.0, 1.0)))


def test_an_object_weighs_at_least_what_is_in_it():
    one = pack("a", Entry({"text": "x" * 1000, "bytes": b"x" * 1000, "tuple": ("x" * 1001,)}, 0.0, 1.0))
    ten = pack("a", Entry({str(n): {"deep": ["y" * 1000]} for n in range(10)}, 0.0, 1.0))

    assert 3000 < one.size < 6000
    assert 10_000 < ten.size < 20_000


@pytest.mark.parametrize("data", [{"a": {"b": (n for n in "x")}}, {"a": Hostile(b=(n for n in "x"))}])
def test_an_object_that_cannot_be_copied_is_refused_and_the_place_is_named(data):
    with pytest.raises(TypeError, match=r"'resources:a' cannot be kept: data\['a'\]") as refused:
        pack("resources:a", Entry(data, 0.0, 1.0))

    assert refused.value.__cause__ is None
