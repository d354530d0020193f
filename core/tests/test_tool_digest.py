"""A digest of a tool: the same for the same tool, another one for any other."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mcp_orchestra.tool_digest import TOOL_FIELDS, tool_digest

TEXTS = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=12,
)
TOOLS = st.fixed_dictionaries(dict.fromkeys(sorted(TOOL_FIELDS), VALUES))


def shuffled(value, draw):
    """Return an equal value whose mappings have another order of keys."""
    match value:
        case dict():
            return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
        case list():
            return [shuffled(item, draw) for item in value]
        case _:
            return value


def places(value, path=()):
    """Yield the path of every value in a value."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def written(value):
    return json.dumps(value, sort_keys=True)


@given(TOOLS, st.data())
def test_the_order_of_keys_does_not_matter_at_any_depth(tool, data):
    assert tool_digest(shuffled(tool, data.draw)) == tool_digest(tool)


@given(TOOLS, st.data())
def test_a_tool_that_was_read_from_json_again_has_the_same_digest(tool, data):
    again = json.loads(json.dumps(shuffled(tool, data.draw), indent=3, ensure_ascii=data.draw(st.booleans())))
    assert tool_digest(again) == tool_digest(tool)


@given(TOOLS, VALUES, st.data())
def test_any_other_value_anywhere_gives_another_digest(tool, value, data):
    path = data.draw(st.sampled_from([path for path in places(tool) if path]))
    other = replaced(tool, path, value)
    assume(written(other) != written(tool))
    assert tool_digest(other) != tool_digest(tool)


def test_fields_that_no_model_sees_do_not_count():
    tool = dict.fromkeys(TOOL_FIELDS)
    assert tool_digest({**tool, "server": "a"}) == tool_digest(tool)


def test_the_digest_is_that_of_canonical_json():
    """A pin file outlives versions of this library: digests must not change with one."""
    tool = {**dict.fromkeys(TOOL_FIELDS), "name": "é", "input_schema": {"b": [1, 2.5, True], "a": "\n"}}
    assert tool_digest(tool) == "sha256:b2cd30c087525ff7a636f425bf31825fdadef46926f800c5c89fc2159f94471d"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": b"x"}])
def test_what_is_not_json_has_no_digest(value):
    with pytest.raises(ValueError, match=r"JSON"):
        tool_digest({**dict.fromkeys(TOOL_FIELDS), "input_schema": {"a": value}})


def test_half_a_pair_of_characters_has_a_digest():
    tool = dict.fromkeys(TOOL_FIELDS)
    assert tool_digest({**tool, "description": "\ud800"}) != tool_digest({**tool, "description": "\ud801"})
