"""S23: what is taken out of messages before the SDK sees them, and what is counted."""

import asyncio
import json
import math

import mcp_types as types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp_orchestra.connection.inspector import DEEPEST, Inspector, tamed
from mcp_orchestra.connection.paging import Page
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.wire import UnreadableError, transport_facts, unreadable

pytestmark = pytest.mark.anyio


@pytest.fixture
def diagnostics():
    return Diagnostics()


@pytest.fixture
def lost():
    return []


@pytest.fixture
def inspector(diagnostics, lost):
    return Inspector("a", diagnostics, lost.append)


def request(number=1, method="tools/call"):
    return types.JSONRPCRequest(jsonrpc="2.0", id=number, method=method)


def response(number=1, **result):
    return SessionMessage(types.JSONRPCResponse(jsonrpc="2.0", id=number, result=result))


def nested(levels):
    tree = value = []
    for _ in range(levels - 1):
        value.append(value := [])
    return tree


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
)


def strict(value):
    """The same, with None in the place of what JSON does not have."""
    match value:
        case dict():
            return {key: strict(one) for key, one in value.items()}
        case list():
            return [strict(one) for one in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


@settings(deadline=None)  # a busy machine is no fault
@given(st.dictionaries(st.text(max_size=2), TREES, max_size=4))
async def test_s23_only_numbers_that_json_does_not_have_are_replaced(tree):
    expected = strict(tree)
    assert await tamed(tree)
    assert tree == expected
    json.dumps(tree, allow_nan=False)


@pytest.mark.parametrize(("levels", "fine"), [(1, True), (DEEPEST, True), (DEEPEST + 1, False), (50_000, False)])
async def test_s23_nesting_is_allowed_to_a_constant_depth(levels, fine):
    assert await tamed(nested(levels)) is fine


async def test_s23_a_large_tree_is_looked_at_in_slices():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert await tamed({"rows": [[1, 2] for _ in range(50_000)]})
    task.cancel()
    assert turns > 10


@pytest.mark.parametrize("number", [1, "1"])
async def test_an_answer_passes_as_it_is(inspector, diagnostics, number):
    inspector.sent(request())
    answer = response(number, content=[])
    assert await inspector.received(answer) is answer
    assert answer.message.result == {"content": []}
    assert diagnostics.protocol_errors == 0


async def test_an_answer_to_no_request_is_kept_from_the_sdk_and_a_late_one_is_no_fault(inspector, diagnostics):
    inspector.sent(request(1))
    cancelled = {"requestId": 1}
    inspector.sent(
        types.JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=cancelled),
    )
    assert await inspector.received(response(1)) is not None
    assert diagnostics.protocol_errors == 0
    for foreign in (2, -1, "x"):
        assert await inspector.received(response(foreign)) is None
    assert diagnostics.protocol_errors == 3


async def test_the_items_of_a_page_that_is_asked_for_are_taken_out_of_its_answer_only(inspector):
    page = Page(key="tools")
    with page.being_asked_for():
        inspector.sent(request(1, "tools/list"))
    inspector.sent(request(2, "tools/list"))
    other, asked = response(2, tools=[2]), response(1, tools=[1], nextCursor="n")
    await inspector.received(other)
    await inspector.received(asked)
    assert (page.items, asked.message.result) == ([1], {"tools": [], "nextCursor": "n"})
    assert other.message.result == {"tools": [2]}


@pytest.mark.parametrize("number", [2, 3])
async def test_a_few_contents_are_left_to_the_sdk_and_many_are_taken_out(inspector, number):
    page, contents = Page(key="content", may_stay=2), list(range(number))
    with page.being_asked_for():
        inspector.sent(request())
    item = await inspector.received(response(content=contents))
    left, taken = (contents, []) if number == 2 else ([], contents)
    assert (item.message.result["content"], page.items) == (left, taken)


@pytest.mark.parametrize("in_items", [False, True])
async def test_an_answer_that_is_nested_too_deeply_becomes_an_error(inspector, diagnostics, in_items):
    page = Page(key="tools")
    with page.being_asked_for():
        inspector.sent(request())
    item = await inspector.received(response(tools=[nested(150)]) if in_items else response(meta=nested(150)))
    assert item.message.id == 1
    facts = transport_facts(item.message.error.code, item.message.error.data)
    assert facts == {"kind": "unreadable", "delivered": "yes"}
    assert "nested more than 100 levels deep" in diagnostics.warning


async def test_what_the_server_says_by_itself_is_looked_at_too(inspector, diagnostics):
    def note(value):
        return SessionMessage(
            types.JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={"data": value})
        )

    fine = note(math.nan)
    assert await inspector.received(fine) is fine
    assert fine.message.params == {"data": None}
    assert await inspector.received(note(nested(150))) is None
    assert diagnostics.protocol_errors == 1


@pytest.mark.parametrize(("data", "left"), [(math.inf, None), (nested(150), None), ({"a": 1}, {"a": 1})])
async def test_an_error_keeps_its_data_only_if_they_can_be_passed_on(inspector, data, left):
    error = types.ErrorData(code=-1, message="no", data=data)
    item = SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=error))
    assert (await inspector.received(item)).message.error.data == left


async def test_what_cannot_be_read_is_counted_quoted_in_the_status_and_logged_once_without_the_quote(
    inspector, diagnostics, caplog
):
    assert await inspector.received(UnreadableError("Welcome!")) is None
    assert await inspector.received(ValueError("a library's words")) is None
    assert diagnostics.protocol_errors == 2
    assert diagnostics.warning == "what it sends is not a message: Welcome!"
    (record,) = caplog.records
    assert record.message == "server a does not follow the protocol: what it sends is not a message"


async def test_what_a_transport_says_of_an_event_that_it_could_not_read_is_counted_as_that_event(
    inspector, diagnostics
):
    for error in (unreadable(), {"code": -32700, "message": "the server's own"}):
        data = types.ErrorData.model_validate(error)
        item = SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=data))
        assert await inspector.received(item) is (item if error["code"] == -32700 else None)
    assert diagnostics.protocol_errors == 1
    assert diagnostics.warning == "what it sends is not a message"


async def test_a_new_connection_has_a_new_warning_and_the_count_goes_on(inspector, diagnostics):
    await inspector.received(UnreadableError("one"))
    diagnostics.connecting()
    assert diagnostics.warning is None
    await inspector.received(UnreadableError("two"))
    assert diagnostics.warning.endswith("two")
    assert diagnostics.protocol_errors == 2


async def test_a_connection_that_carries_nothing_but_garbage_is_lost_only_if_somebody_waits(inspector, lost):
    inspector.sent(request(1, "subscriptions/listen"))  # for which nobody waits
    for _ in range(20_000):
        await inspector.received(UnreadableError("log"))
    assert lost == []
    inspector.sent(request(2))
    for _ in range(9_999):
        await inspector.received(UnreadableError("log"))
    assert lost == []
    await inspector.received(UnreadableError("log"))
    assert lost == ["the server sent 10000 lines or events in a row that are not messages"]
