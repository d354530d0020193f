"""S23: large JSON is parsed beside the event loop, and means what it means to the SDK's parser."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.decoding import decoded
from pydantic_core import from_json

pytestmark = pytest.mark.anyio

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@settings(deadline=None)  # a busy machine is no fault
@given(TREES, st.booleans())
async def test_what_was_written_is_read(tree, escaped):
    text = json.dumps(tree, ensure_ascii=escaped).encode()
    assert await decoded(text) == from_json(text)


@pytest.mark.parametrize("text", [b'"caf\xe9"', b'["\xff"]'])
async def test_what_is_not_utf_8_is_replaced(text):
    assert "\N{REPLACEMENT CHARACTER}" in str(await decoded(text))


async def test_a_number_that_json_does_not_have_is_none():
    assert await decoded(b'{"a":[NaN,-Infinity,Infinity,"NaN"]}') == {"a": [None, None, None, "NaN"]}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900 + b"x",
        b"9" * 5000,
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        rb'"\ud83d"',
    ],
)
async def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - it has no words that anybody would see
        await decoded(text)


@pytest.mark.parametrize("text", [rb'"\ud83d\ude00"', rb'"\\ud800"', rb'"\uD83D\uDE00 \\ude00"'])
async def test_whole_pairs_of_surrogates_are_characters(text):
    assert await decoded(text) == json.loads(text)
