"""HTTP+SSE against a server that does everything wrong: one failing POST is one failing call."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import MCPError
from mcp.shared.message import SessionMessage
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.testing.raw_http import RawRequest, RawServer, event_stream, raw_answer
from mcp_orchestra.testing.servers import free_port
from mcp_orchestra.wire import TRANSPORT_ERROR, transport_facts

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]

COMMON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
RESULTS: dict[str, dict[str, Any]] = {
    "server/discover": {
        **COMMON,
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}, "resources": {}},
        "serverInfo": {"name": "raw", "version": "1"},
    },
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "raw", "version": "1"},
    },
    "tools/list": {**COMMON, "tools": []},
}


class SseServer(RawServer):
    """Accepts every POST with a 202 and answers it on the event stream; a test replaces single answers."""

    def __init__(self, **answers: Any) -> None:
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        methods = [*RESULTS, "notifications/initialized"]
        super().__init__(GET=self._stream, **{**dict.fromkeys(methods, self._accept), **answers})

    def send(self, data: str) -> None:
        self.events.put_nowait(f"event: message\ndata: {data}\n\n".encode())

    def _accept(self, request: RawRequest) -> bytes:
        message = request.message
        if "id" in message:
            self.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": RESULTS[message["method"]]}))
        return raw_answer(202)

    async def _stream(self, _request: RawRequest | None = None) -> AsyncIterator[bytes]:
        yield event_stream("event: endpoint\ndata: /messages?session=1")
        while True:
            yield await self.events.get()


async def still_works(client) -> bool:
    return (await client.list_tools()).tools == []


async def error_of_list(client) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await client.list_resources()
    return caught.value


# A POST that fails


@pytest.mark.parametrize(
    ("status", "delivered"), [(401, "no"), (404, "maybe"), (429, "no"), (500, "maybe"), (503, "maybe")]
)
async def test_an_http_error_is_the_error_of_its_call_with_status_and_advice(connect, endpoint, status, delivered):
    answer = raw_answer(status, b"<html>", content_type="text/html", retry_after="7")
    async with (
        SseServer(**{"resources/list": answer}).listening() as server,
        connect(endpoint(server.url)) as client,
    ):
        for _ in range(3):
            error = await error_of_list(client)
            assert error.code == TRANSPORT_ERROR
            facts = {"kind": "http", "delivered": delivered, "status": status, "retry_after": "7"}
            assert transport_facts(error.code, error.data) == facts
            assert await still_works(client)


async def test_a_json_rpc_error_in_the_answer_to_a_post_reaches_its_call(connect, endpoint):
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no such cursor"}}).encode()
    async with (
        SseServer(**{"resources/list": raw_answer(400, body)}).listening() as server,
        connect(endpoint(server.url)) as client,
    ):
        error = await error_of_list(client)
        assert (error.code, error.message) == (-32602, "no such cursor")


async def test_a_post_that_is_cut_is_the_error_of_its_call_alone(connect, endpoint):
    async with SseServer(**{"resources/list": b""}).listening() as server, connect(endpoint(server.url)) as client:
        error = await error_of_list(client)
        facts = transport_facts(error.code, error.data)
        assert facts == {"kind": "RemoteProtocolError", "delivered": "maybe"}
        assert await still_works(client)


@pytest.mark.parametrize("text", ["\ud800", object()], ids=["half a pair", "an object"])
async def test_what_cannot_be_written_as_json_fails_alone_and_nothing_is_sent(spec, endpoint, text):
    async with SseServer().listening() as server, spec.open(endpoint(server.url)) as (read, write):
        for number, params in enumerate(({"name": "t", "arguments": {"text": text}}, {}), start=1):
            request = types.JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/list", params=params)
            await write.send(SessionMessage(request))
            with anyio.fail_after(5):
                answer = (await read.receive()).message
            assert answer.id == number
            if number == 1:
                facts = transport_facts(answer.error.code, answer.error.data)
                assert facts == {"kind": "unsendable", "delivered": "no"}
        assert isinstance(answer, types.JSONRPCResponse)
        assert [request.method for request in server.requests] == ["GET", "POST"]


async def test_a_post_that_hangs_holds_up_nobody_else(connect, endpoint):
    async with SseServer(**{"resources/list": None}).listening() as server, connect(endpoint(server.url)) as client:
        with anyio.move_on_after(0.2) as scope:
            await client.list_resources()
        assert scope.cancelled_caught
        assert await still_works(client)


async def test_a_redirect_of_a_post_to_another_origin_is_not_followed(connect, endpoint):
    async with RawServer().listening() as stranger:
        answer = raw_answer(307, location=stranger.url)
        async with (
            SseServer(**{"resources/list": answer}).listening() as server,
            connect(endpoint(server.url, headers={"Authorization": "Bearer canary"})) as client,
        ):
            assert (await error_of_list(client)).data["status"] == 307
            assert await still_works(client)
        assert stranger.requests == []


async def test_a_failing_notification_disturbs_nobody(connect, endpoint):
    async with (
        SseServer(**{"notifications/initialized": raw_answer(500)}).listening() as server,
        connect(endpoint(server.url), "legacy") as client,
    ):
        assert await still_works(client)


async def test_what_follows_the_handshake_is_sent_after_its_end(connect, endpoint):
    async with SseServer().listening() as server, connect(endpoint(server.url), "legacy") as client:
        await client.list_tools()
        methods = [request.message["method"] for request in server.requests if request.method == "POST"]
        assert methods == ["initialize", "notifications/initialized", "tools/list"]


# What comes over the event stream


async def test_garbage_on_the_event_stream_is_noted_and_ignored(connect, endpoint):
    async with SseServer().listening() as server:
        ours = endpoint(server.url)
        async with connect(ours) as client:
            server.send("hello")
            server.send('{"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "lost"}}')
            server.events.put_nowait(b": a comment\n\nevent: ping\ndata: x\n\nevent: message\ndata:\n\n")
            assert await still_works(client)
    assert ours.diagnostics.tail() == [
        "event stream: not a JSON-RPC message: 'hello'",
        "event stream: an error that answers no request: lost",
    ]


async def test_an_event_stream_that_is_cut_ends_the_connection(connect, endpoint):
    async def cut() -> AsyncIterator[bytes]:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        yield head + b"event: endpoint\ndata: /messages\n\n"
        yield await server.events.get()
        await gate.wait()

    gate = asyncio.Event()
    server = SseServer()
    server.answers["GET"] = lambda _: cut()
    async with server.listening(), connect(endpoint(server.url)) as client:
        gate.set()
        with pytest.raises(MCPError, match="Connection closed"):
            await client.list_tools()


# Opening


async def failure_of_opening(spec, endpoint) -> MCPConnectionError:
    with anyio.fail_after(20), pytest.raises(MCPConnectionError) as caught:
        async with spec.open(endpoint):
            pytest.fail("it must not connect")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "context"),
    [
        (raw_answer(401), {"cause": "auth", "retryable": False, "status": 401}),
        (raw_answer(403), {"cause": "auth", "retryable": False, "status": 403}),
        (raw_answer(404), {"cause": "http", "retryable": True, "status": 404}),
        (raw_answer(503, retry_after="3"), {"cause": "http", "retryable": True, "status": 503, "retry_after": "3"}),
        (raw_answer(200, b"<html>", content_type="text/html"), {"cause": "protocol", "retryable": True, "status": 200}),
        (raw_answer(307, location="http://h.invalid/"), {"cause": "redirect", "retryable": False, "status": 307}),
        (event_stream(": nothing"), {"cause": "protocol", "retryable": True}),
        (event_stream("event: endpoint\ndata: http://[::1"), {"cause": "protocol", "retryable": False}),
        (
            event_stream().replace(b"connection", b"content-encoding: br\r\nconnection"),
            {"cause": "protocol", "retryable": True},
        ),
        (b"", {"cause": "protocol", "retryable": True}),
    ],
)
async def test_an_event_stream_that_cannot_be_opened_is_one_error_with_its_reason(spec, endpoint, answer, context):
    async with RawServer(GET=answer).listening() as server:
        error = await failure_of_opening(spec, endpoint(server.url + "?key=canary"))
        assert error.context == context
        assert server.url in error.message
        assert "canary" not in error.message


async def test_a_server_that_is_down_refuses_the_connection(spec, endpoint):
    error = await failure_of_opening(spec, endpoint(f"http://127.0.0.1:{free_port()}/sse"))
    assert error.context == {"cause": "refused", "retryable": True}


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.invalid/messages?key=canary",
        "https://127.0.0.1/messages",
        "//evil.invalid/m",
        "http://127.0.0.1:1/m",
    ],
)
async def test_an_address_for_messages_on_another_origin_is_refused_with_both_named(spec, endpoint, address):
    async with RawServer(GET=event_stream(f"event: endpoint\ndata: {address}")).listening() as server:
        error = await failure_of_opening(spec, endpoint(server.url))
        assert error.context == {"cause": "protocol", "retryable": False}
        assert server.url.removesuffix("/mcp") in error.message
        assert address.removeprefix("http:").split("/")[2] in error.message
        assert "canary" not in error.message


async def test_a_redirect_within_the_origin_is_followed(connect, endpoint):
    server = SseServer()
    stream = server.answers["GET"]
    assert callable(stream)
    server.answers["GET"] = lambda r: raw_answer(302, location="/mcp/sse") if r.target == "/mcp" else stream(r)
    async with server.listening(), connect(endpoint(server.url)) as client:
        assert await still_works(client)


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_probe_that_meets_an_outage_never_turns_a_modern_server_into_a_legacy_one(connect, endpoint, status):
    async with SseServer(**{"server/discover": raw_answer(status)}).listening() as server:
        with pytest.RaisesGroup(MCPConnectionError, flatten_subgroups=True, allow_unwrapped=True):
            async with connect(endpoint(server.url)):
                pytest.fail("it must not connect")
        assert [request.message.get("method") for request in server.requests] == [None, "server/discover"]


async def test_a_server_that_does_not_know_the_probe_is_a_legacy_one(connect, endpoint):
    async with (
        SseServer(**{"server/discover": raw_answer(404)}).listening() as server,
        connect(endpoint(server.url)) as client,
    ):
        assert client.protocol_version == "2025-11-25"
