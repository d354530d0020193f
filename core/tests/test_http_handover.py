"""S23, S6: large results pass the SDK's parser unseen and come out as they went in; what is no message stops here."""

import asyncio
import gc
import json
from contextvars import copy_context

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
    handover.restore(item, copy_context())
    assert item.message.id == request_id
    assert item.message.result == LARGE


@pytest.mark.parametrize(
    "text",
    [
        message(id=1, result={"text": "x"}),
        message(id=1, error={"code": 1, "message": "x" * 200_000}),
        message(method="m", params=LARGE),
    ],
    ids=["a small result", "an error", "a notification"],
)
async def test_everything_else_goes_through_it(text):
    assert await Handover().body(text) is text


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200_000,
        json.dumps([LARGE]).encode(),
        b"Bearer s3cret",
        b'["s3cret"]',
    ],
    ids=["large and no JSON", "large and no message", "no JSON", "no message"],
)
async def test_what_is_no_message_is_a_value_error_and_in_an_event_the_error_of_its_call(text):
    with pytest.raises(ValueError):  # noqa: PT011 - it has no words that anybody would see
        await Handover().body(text)
    event = await Handover().event(b"data: " + text + b"\n\n")
    assert "not valid JSON" in json.loads(event.removeprefix(b"data: "))["error"]["message"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_an_event_keeps_its_other_fields(newline):
    handover = Handover()
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "result": LARGE}, indent=1).encode()
    lines = [b"event: message", b"id: 9", b"retry: 5", *(b"data: " + line for line in text.splitlines()), b"", b""]
    *others, data, end, _ = (await handover.event(newline.join(lines))).split(b"\n")
    assert (others, end) == ([b"id: 9", b"retry: 5"], b"")
    item = parsed(data.removeprefix(b"data: "))
    handover.restore(item, copy_context())
    assert item.message.result == LARGE


@pytest.mark.parametrize(
    "event", [b"event: s3cret\nid: 9\ndata: s3cret", b": s3cret\nid: 9", b"id: 9\ndata:", b"s3cret: 1\nid: 9"]
)
async def test_an_event_without_a_message_keeps_its_id_only(event):
    assert await Handover().event(event + b"\n\n") == b"id: 9\n\n"


@pytest.mark.parametrize(
    "event", [b"\xef\xbb\xbfdata: %s\n\n", b"event:\ndata: %s\n\n", b"event: message\rdata:%s\r\r"]
)
async def test_a_message_is_found_however_its_event_is_written(event):
    text = message(id=1, result={})
    assert await Handover().event(event % text) == b"data: " + text + b"\n\n"


async def test_bytes_that_are_not_utf_8_cost_an_event_those_characters_only():
    text = message(id=1, result={"text": "?"}).replace(b"?", b"\xe9")
    assert json.loads((await Handover().event(b"data: " + text)).removeprefix(b"data: "))["result"] == {
        "text": "\ufffd"
    }


async def test_nobody_else_can_name_a_result_that_is_on_its_way():
    handover = Handover()
    small = json.loads(await handover.body(message(id=1, result=LARGE)))
    another = json.loads(await Handover().body(message(id=1, result=LARGE)))
    (key,) = small["result"]["_meta"]
    for result in ({}, {"_meta": None}, {"_meta": {key: []}}, another["result"]):
        item = parsed(message(id=1, result=result))
        handover.restore(item, copy_context())
        assert item.message.result == result


async def test_any_number_of_results_are_on_their_way_at_once():
    handover = Handover()

    async def receive(number):
        return parsed(await handover.body(message(id=number, result={**LARGE, "number": number}))), copy_context()

    async with asyncio.timeout(30):
        received = await asyncio.gather(*map(receive, range(100)))
    for number, (item, context) in enumerate(received):
        handover.restore(item, context)
        assert item.message.result["number"] == number
        handover.restore(again := parsed(message(id=number, result={})), context)
        assert again.message.result == {}


def results_in_memory():
    gc.collect()
    return sum(isinstance(found, dict) and found.get("text") == LARGE["text"] for found in gc.get_objects())


async def results_are_gone(before):
    """Wait for it: the thread that has parsed a result lets go of it a moment later."""
    async with asyncio.timeout(5):
        while results_in_memory() > before:
            await asyncio.sleep(0.01)


async def test_a_result_that_nobody_waits_for_any_more_is_not_kept():
    handover, before = Handover(), results_in_memory()
    async with asyncio.timeout(30):
        await asyncio.gather(*(handover.body(message(id=number, result=LARGE)) for number in range(8)))
    await results_are_gone(before)


async def test_a_result_that_has_arrived_is_not_kept_with_the_context_it_came_in():
    handover, before = Handover(), results_in_memory()
    item = parsed(await handover.body(message(id=1, result=LARGE)))
    context = copy_context()
    handover.restore(item, context)
    assert item.message.result == LARGE
    del item
    await results_are_gone(before)
    assert context  # which is still there
