"""One failing request is one failing call: the SDK's client over a server that does everything wrong."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import TRANSPORT_ERROR, HttpOptions, http_client, plain_url
from mcp_orchestra.testing.raw_http import RawServer, event_stream, json_answer, raw_answer
from mcp_orchestra.testing.servers import free_port
from mcp_orchestra.types import Endpoint
from mcp_orchestra.wire import transport_facts

pytestmark = pytest.mark.anyio

LIMIT = 20_000
TOOLS = {"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}
LEGACY = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"}}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def connected(url: str, mode: str = "auto") -> AsyncIterator[Client]:
    """Connect as the transport plug-in does, but without its watch."""
    endpoint = Endpoint(server_id="x", options=HttpOptions(url=url), max_message_bytes=LIMIT)

    @asynccontextmanager
    async def transport():
        async with (
            http_client(endpoint) as http,
            streamable_http_client(plain_url(url), http_client=http, max_sse_event_size=LIMIT) as streams,
        ):
            yield streams

    with anyio.fail_after(20):
        async with Client(transport(), cache=None, mode=mode) as client:
            yield client


async def error_of_list(client: Client) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await client.list_resources()
    return caught.value


async def still_works(client: Client) -> bool:
    return (await client.list_tools()).tools == []


async def failure_of_connecting(url: str, mode: str = "auto") -> MCPConnectionError:
    """Return the one error of ours among what connecting raised."""
    with pytest.RaisesGroup(MCPConnectionError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with connected(url, mode):
            pytest.fail("it must not connect")
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, MCPConnectionError)
    return error


# After the handshake: isolation

CUT_EVENTS = (
    event_stream(": hello", 'data: {"jsonrpc":"2.0"')
    .removesuffix(b"\n\n")
    .replace(b"connection: close", b"content-length: 9999")
)


@pytest.mark.parametrize(
    ("status", "delivered"),
    [
        (303, "maybe"),
        (400, "maybe"),
        (401, "no"),
        (403, "no"),
        (404, "maybe"),
        (405, "no"),
        (407, "maybe"),
        (408, "maybe"),
        (409, "maybe"),
        (413, "no"),
        (422, "maybe"),
        (429, "no"),
        (499, "maybe"),
        (500, "maybe"),
        (503, "maybe"),
        (599, "maybe"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"error": "not JSON-RPC"}', b'{"error": ', b"[" * 100_000])
async def test_an_http_error_is_the_error_of_its_call_with_status_and_advice(status, delivered, body):
    answer = raw_answer(status, body, content_type="application/json", retry_after="7", www_authenticate="Bearer")
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert error.code == TRANSPORT_ERROR
        assert error.message.startswith(f"the server answered HTTP {status}")
        assert transport_facts(error.code, error.data) == {
            "kind": "http",
            "delivered": delivered,
            "status": status,
            "retry_after": "7",
            "www_authenticate": "Bearer",
        }
        assert await still_works(client)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_json_rpc_error_of_the_server_arrives_whatever_its_content_type(status, content_type):
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no such cursor"}}).encode()
    answer = raw_answer(status, body, content_type=content_type)
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert (error.code, error.message) == (-32602, "no such cursor")
        assert await still_works(client)


async def test_a_json_rpc_error_with_a_status_that_means_nothing_still_ends_the_call():
    answer = json_answer(300, error={"code": -32602, "message": "odd"})
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        assert (await error_of_list(client)).message == "odd"


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_refused_credentials_and_rate_limits_keep_their_status_beside_a_json_rpc_error(status):
    answer = json_answer(status, error={"code": -32001, "message": "Unauthorized"})
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert error.code == TRANSPORT_ERROR
        assert error.data["status"] == status


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "RemoteProtocolError"),
        (b"HTTP/1.1 2", "RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "RemoteProtocolError"),
        (
            b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"jsonrpc":',
            "RemoteProtocolError",
        ),
        (
            CUT_EVENTS,
            "RemoteProtocolError",
        ),
    ],
    ids=["no answer", "half a status", "not HTTP", "cut JSON", "cut event stream"],
)
async def test_a_cut_answer_is_the_error_of_its_call_alone(answer, kind):
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert error.code == TRANSPORT_ERROR
        assert transport_facts(error.code, error.data) == {"kind": kind, "delivered": "maybe"}
        assert await still_works(client)


async def test_a_refused_connection_proves_that_the_call_was_not_delivered():
    server = RawServer()
    async with server.listening():
        port = int(server.url.split(":")[2].split("/")[0])
        server.answers["tools/list"] = lambda _: raw_answer(500) + b" "  # which ends the idle connection
        client_context = connected(server.url)
        client = await client_context.__aenter__()
        with pytest.raises(MCPError):
            await client.list_tools()
    error = await error_of_list(client)
    assert transport_facts(error.code, error.data) == {"kind": "ConnectError", "delivered": "no"}
    assert error.message == "the server did not answer: the connection was refused"
    async with RawServer().listening(port):
        assert await still_works(client), "a modern connection outlives a restart of its server"
    await client_context.__aexit__(None, None, None)


async def test_an_event_stream_that_ends_without_an_answer_ends_its_call():
    async with (
        RawServer(**{"resources/list": event_stream(": nothing")}).listening() as server,
        connected(server.url) as client,
    ):
        assert "without a response" in (await error_of_list(client)).message
        assert await still_works(client)


def big(name: str = "aaaa") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {**TOOLS, "resources": [], "x": name * LIMIT}}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(200, big(), content_type="application/json"),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + big(),
        raw_answer(200, gzip.compress(big()), content_type="application/json", content_encoding="gzip"),
        event_stream("data: " + big().decode()),
    ],
    ids=["stated length", "unknown length", "compressed", "event"],
)
async def test_s23_an_answer_over_the_limit_is_an_error_that_names_the_limit(answer):
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert error.code == TRANSPORT_ERROR
        assert error.data["kind"] == "too_large"
        assert f"max_message_bytes={LIMIT}" in error.message
        assert await still_works(client)


async def test_an_answer_below_the_limit_that_is_compressed_in_spite_of_us_is_understood():
    body = json.dumps({"jsonrpc": "2.0", "id": 2, "result": {**TOOLS, "resources": []}}).encode()

    def answer(request):
        message = {**json.loads(body), "id": request.message["id"]}
        packed = gzip.compress(json.dumps(message).encode())
        return raw_answer(200, packed, content_type="application/json", content_encoding="gzip")

    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        assert (await client.list_resources()).resources == []
        assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("encoding", "kind"), [("br", "encoding"), ("gzip", "DecodingError")])
async def test_an_answer_that_cannot_be_decompressed_is_the_error_of_its_call(encoding, kind):
    answer = raw_answer(200, b"never mind", content_type="application/json", content_encoding=encoding)
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        assert (await error_of_list(client)).data["kind"] == kind
        assert await still_works(client)


async def test_a_redirect_to_another_origin_is_not_followed_and_gets_no_credentials():
    async with RawServer().listening() as stranger:
        answer = raw_answer(307, location=stranger.url + "?token=canary")
        async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
            error = await error_of_list(client)
            assert transport_facts(error.code, error.data) == {"kind": "http", "delivered": "maybe", "status": 307}
            assert f"to {stranger.url}?***, which is not followed" in error.message
            assert await still_works(client)
        assert stranger.requests == []


async def test_a_redirect_within_the_origin_is_followed():
    answer = raw_answer(307, location="/mcp/")
    async with RawServer(**{"server/discover": lambda r: answer if r.target == "/mcp" else None}).listening() as server:
        usual = RawServer().answers["server/discover"]
        server.answers["server/discover"] = lambda r: answer if r.target == "/mcp" else usual(r)  # type: ignore[operator]
        async with connected(server.url) as client:
            assert client.protocol_version == "2026-07-28"


def initialize_with_session(request: Any) -> bytes:
    return json_answer(result=LEGACY)(request).replace(
        b"HTTP/1.1 200 Whatever\r\n", b"HTTP/1.1 200 OK\r\nmcp-session-id: s1\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(404),
        raw_answer(404, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'),
        raw_answer(404, b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32001,"message":"no such session"}}'),
        json_answer(404, error={"code": -32600, "message": "whatever"}),
    ],
    ids=["no body", "no id", "an id of its own", "an invalid request"],
)
async def test_a_session_is_forgotten_where_the_status_says_so(answer):
    answers = {
        "server/discover": raw_answer(404),
        "initialize": initialize_with_session,
        "notifications/initialized": raw_answer(202),
        "GET": raw_answer(405),
        "DELETE": raw_answer(404),
        "resources/list": answer,
    }
    async with RawServer(**answers).listening() as server, connected(server.url) as client:
        error = await error_of_list(client)
        assert transport_facts(error.code, error.data) == {"kind": "session", "delivered": "no", "status": 404}


@pytest.mark.parametrize(
    "error", [{"code": -32601, "message": "Method not found"}, {"code": -32002, "message": "Session not found"}]
)
async def test_a_404_that_answers_the_request_itself_is_no_forgotten_session(error):
    answers = {
        "initialize": initialize_with_session,
        "notifications/initialized": raw_answer(202),
        "GET": raw_answer(405),
        "DELETE": raw_answer(404),
        "resources/list": json_answer(404, error=error),
    }
    async with RawServer(**answers).listening() as server, connected(server.url, "legacy") as client:
        raised = await error_of_list(client)
        assert (raised.code, raised.message) == (error["code"], error["message"])


async def test_a_404_without_a_session_says_nothing_of_one():
    answer = json_answer(404, error={"code": -32600, "message": "Session not found"})
    async with RawServer(**{"resources/list": answer}).listening() as server, connected(server.url) as client:
        assert (await error_of_list(client)).code == -32600


async def test_ending_a_session_does_not_wait_for_a_server_that_hangs():
    answers = {
        "initialize": initialize_with_session,
        "notifications/initialized": raw_answer(202),
        "GET": None,
        "DELETE": None,
    }
    async with RawServer(**answers).listening() as server:
        with anyio.fail_after(5):
            async with connected(server.url, "legacy"):
                pass
        assert server.requests[-1].method == "DELETE"


async def test_a_failing_notification_disturbs_nobody():
    answers = {
        "initialize": json_answer(result=LEGACY),
        "notifications/initialized": b"",
        "tools/list": json_answer(result={"tools": []}),
    }
    async with RawServer(**answers).listening() as server, connected(server.url, "legacy") as client:
        assert await still_works(client)


# During the handshake: hard failures


@pytest.mark.parametrize(
    ("status", "cause", "retryable"),
    [
        (401, "auth", False),
        (403, "auth", False),
        (429, "http", True),
        (500, "http", True),
        (502, "http", True),
        (503, "http", True),
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"x"}}'])
async def test_a_probe_that_meets_an_outage_never_turns_a_modern_server_into_a_legacy_one(
    status, cause, retryable, body
):
    answer = raw_answer(status, body, content_type="application/json", retry_after="3")
    answers = {"server/discover": answer, "initialize": json_answer(result=LEGACY)}
    async with RawServer(**answers).listening() as server:
        error = await failure_of_connecting(server.url)
        assert error.context == {"cause": cause, "retryable": retryable, "status": status, "retry_after": "3"}
        assert f"HTTP {status}" in error.message
        assert [request.message["method"] for request in server.requests] == ["server/discover"]


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
async def test_a_server_that_does_not_know_the_probe_is_a_legacy_one(status):
    answers = {
        "server/discover": raw_answer(status, b"what?"),
        "initialize": json_answer(result=LEGACY),
        "notifications/initialized": raw_answer(202),
    }
    async with RawServer(**answers).listening() as server, connected(server.url) as client:
        assert client.protocol_version == "2025-11-25"


@pytest.mark.parametrize("status", [400, 404, 405, 503])
async def test_a_refused_initialize_is_a_failure_with_its_status(status):
    answers = {"server/discover": raw_answer(404), "initialize": raw_answer(status)}
    async with RawServer(**answers).listening() as server:
        error = await failure_of_connecting(server.url)
        assert error.context == {"cause": "http", "retryable": True, "status": status}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"jsonrpc"',
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\n: hello\n\n",
    ],
    ids=["no answer", "cut JSON", "cut event stream"],
)
async def test_a_probe_whose_answer_is_cut_is_a_failure_and_not_a_legacy_server(answer):
    answers = {"server/discover": answer, "initialize": json_answer(result=LEGACY)}
    async with RawServer(**answers).listening() as server:
        error = await failure_of_connecting(server.url)
        assert error.context == {"cause": "protocol", "retryable": True}
        assert [request.message["method"] for request in server.requests] == ["server/discover"]


async def test_a_probe_whose_answer_is_too_large_is_a_failure_that_names_the_limit():
    answer = raw_answer(200, big(), content_type="application/json")
    async with RawServer(**{"server/discover": answer}).listening() as server:
        assert f"max_message_bytes={LIMIT}" in (await failure_of_connecting(server.url)).message


async def test_a_server_that_is_down_refuses_the_connection():
    error = await failure_of_connecting(f"http://u:canary@127.0.0.1:{free_port()}/mcp?key=canary")
    assert error.context == {"cause": "refused", "retryable": True}
    assert "127.0.0.1" in error.message
    assert "canary" not in error.message


async def test_a_host_name_that_does_not_exist_is_a_matter_of_dns():
    error = await failure_of_connecting("http://nowhere.invalid/mcp")
    assert error.context == {"cause": "dns", "retryable": True}


async def test_https_to_a_server_without_tls_is_a_matter_of_tls():
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        error = await failure_of_connecting(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp")
    assert error.context == {"cause": "tls", "retryable": True}


async def test_a_redirect_of_the_probe_to_another_origin_cannot_heal():
    async with RawServer().listening() as stranger:
        answer = raw_answer(307, location=stranger.url + "?token=canary")
        async with RawServer(**{"server/discover": answer}).listening() as server:
            error = await failure_of_connecting(server.url)
            assert error.context == {"cause": "redirect", "retryable": False, "status": 307}
            assert stranger.url in error.message
            assert "canary" not in error.message
        assert stranger.requests == []
