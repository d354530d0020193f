"""S23: large results pass the SDK's parser unseen, and come out as they went in."""

import json

import pytest
from mcp.shared.message import SessionMessage
from mcp_orchestra.http import Handover
from mcp_types import jsonrpc_message_adapter

pytestmark = pytest.mark.anyio

LARGE = {"text": "x" * 200_000, "n": [1, None, {"é": 1.5}]}


def message(**members):
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


def parsed(text):
    return SessionMessage(jsonrpc_message_adapter.validate_json(text))


@pytest.mark.parametrize("request_id", [7, "seven"])
async def test_a_large_result_goes_round_the_parser(request_id):
    handover = Handover()
    small = await handover.body(message(id=request_id, result=LARGE))
    assert len(small) < 500
    item = parsed(small)
    handover.restore(item)
    assert item.message.id == request_id
    assert item.message.result == LARGE


@pytest.mark.parametrize(
    "text",
    [
        message(id=1, result={"text": "x"}),
        message(id=1, error={"code": 1, "message": "x" * 200_000}),
        message(method="m", params=LARGE),
        json.dumps([LARGE]).encode(),
    ],
    ids=["a small result", "an error", "a notification", "no message"],
)
async def test_everything_else_goes_through_it(text):
    assert await Handover().body(text) is text


async def test_what_is_large_and_not_json_is_a_value_error_and_in_an_event_the_error_of_its_call():
    text = b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200_000
    with pytest.raises(ValueError):  # noqa: PT011 - it has no words that anybody would see
        await Handover().body(text)
    event = await Handover().event(b"data: " + text + b"\n\n")
    assert "not valid JSON" in json.loads(event.removeprefix(b"data: "))["error"]["message"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_an_event_keeps_its_other_fields(newline):
    handover = Handover()
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "result": LARGE}, indent=1).encode()
    lines = [b"event: message", b"id: 9", *(b"data: " + line for line in text.splitlines()), b"", b""]
    *others, data, end, _ = (await handover.event(newline.join(lines))).split(b"\n")
    assert (others, end) == ([b"event: message", b"id: 9"], b"")
    item = parsed(data.removeprefix(b"data: "))
    handover.restore(item)
    assert item.message.result == LARGE


async def test_nobody_else_can_name_a_result_that_is_on_its_way():
    handover = Handover()
    small = json.loads(await handover.body(message(id=1, result=LARGE)))
    (key,) = small["result"]["_meta"]
    for result in ({}, {"_meta": None}, {"_meta": {key: "guessed"}}, {"_meta": {key: []}}):
        item = parsed(message(id=1, result=result))
        handover.restore(item)
        assert item.message.result == result


async def test_results_that_never_arrive_are_given_up():
    handover = Handover()
    first, *_, last = [await handover.body(message(id=n, result=LARGE)) for n in range(65)]
    lost, found = parsed(first), parsed(last)
    handover.restore(lost)
    handover.restore(found)
    assert lost.message.result != LARGE
    assert found.message.result == LARGE
