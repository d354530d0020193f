"""An event stream passed on event by event: nothing is lost, nothing too large is kept, and a cut ends quietly."""

import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterable

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.http.bodies import RefusedBody
from mcp_orchestra.http.events import GuardedEvents
from mcp_orchestra.wire import transport_facts

pytestmark = pytest.mark.anyio


class Chunks(httpx2.AsyncByteStream):
    """A body that arrives in these pieces and is then, perhaps, cut."""

    def __init__(self, chunks: Iterable[bytes], cut: bool = False) -> None:
        self._chunks = chunks
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._cut:
            raise httpx2.RemoteProtocolError("cut")


def guarded(chunks: Iterable[bytes], *, limit: int = 10_000, cut: bool = False, answers_call: bool = False, **headers):
    response = httpx2.Response(200, headers=headers, stream=Chunks(chunks, cut))
    return GuardedEvents(response, limit, answers_call=answers_call)


async def events_of(stream: GuardedEvents) -> list[httpx2.ServerSentEvent]:
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        stream=stream,
        request=httpx2.Request("GET", "http://test"),
    )
    return [event async for event in httpx2.EventSource(response, max_event_size=None)]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


lines = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=30)


@given(
    st.lists(lines, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.integers(0, 1000), max_size=12),
)
@settings(deadline=None)
async def test_events_below_the_limit_pass_unchanged_however_they_are_cut_into_chunks(texts, newline, cuts):
    data = "".join(f"event: message{newline}data: {text}{newline}{newline}" for text in texts).encode()
    seen = await events_of(guarded(pieces(data, cuts)))
    assert [event.data for event in seen] == texts


@given(st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([b"\n", b"\r\n"]))
@settings(deadline=None)
async def test_only_the_event_over_the_limit_is_replaced(cuts, newline):
    huge = b'data: {"jsonrpc":"2.0","id":7,"result":{"text":"' + b"a" * 5000 + b'"}}' + newline * 2
    data = b"data: before" + newline * 2 + huge + b"data: after" + newline * 2
    before, error, after = await events_of(guarded(pieces(data, cuts), limit=2000))
    assert (before.data, after.data) == ("before", "after")
    message = json.loads(error.data)
    assert message["id"] == 7
    assert "max_message_bytes=2000" in message["error"]["message"]


async def test_the_memory_for_an_endless_event_is_bounded():
    chunk = b"a" * 65_536
    endless = guarded((b"data: " if i == 0 else chunk for i in range(2000)), limit=1_000_000)
    tracemalloc.start()
    try:
        async for _ in endless:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # of 131 MB


async def test_a_cut_ends_the_stream_quietly():
    seen = await events_of(guarded([b"data: one\n\ndata: tw"], cut=True))
    assert [event.data for event in seen] == ["one"]


async def test_a_cut_answer_to_a_call_ends_with_the_error_for_that_call():
    (error,) = await events_of(guarded([b'data: {"jsonrpc":"2.0","id":1,"resu'], cut=True, answers_call=True))
    said = json.loads(error.data)["error"]
    facts = transport_facts(said["code"], said["data"])
    assert facts == {"kind": "RemoteProtocolError", "delivered": "maybe"}


async def test_a_cut_answer_that_can_be_resumed_is_left_to_be_resumed():
    seen = await events_of(guarded([b"id: 1\ndata: \n\n"], cut=True, answers_call=True))
    assert [event.data for event in seen] == [""]


async def test_a_compressed_stream_is_measured_decompressed():
    huge = b"data: " + b"a" * 5_000_000 + b"\n\n"
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(huge + b"data: after\n\n") + packer.flush()
    assert len(packed) < 10_000
    stream = guarded([packed], limit=100_000, **{"content-encoding": "gzip"})
    error, after = await events_of(stream)
    assert json.loads(error.data)["error"]["data"]["kind"] == "too_large"
    assert after.data == "after"


async def test_a_compression_that_nobody_asked_for_is_refused():
    with pytest.raises(RefusedBody, match="not asked for"):
        guarded([], **{"content-encoding": "br"})
