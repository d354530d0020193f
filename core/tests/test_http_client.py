"""What the HTTP client of a transport is made of."""

import itertools
import logging
import ssl
import time

import anyio
import httpx2
import pytest
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import HttpOptions, environment_proxy, http_client, plain_url
from mcp_orchestra.http.client import send
from mcp_orchestra.http.failures import call_refused, connection_failed, connection_refused
from mcp_orchestra.testing.raw_http import RawRequest, RawServer, event_stream, raw_answer
from mcp_orchestra.types import Endpoint

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def client_for(url: str, **options: object) -> httpx2.AsyncClient:
    return http_client(Endpoint(server_id="x", options=HttpOptions.model_validate({"url": url, **options})))


async def get(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    with anyio.fail_after(20):
        return await client.get(url)


async def test_the_id_of_a_session_is_known_to_the_server_only():
    server = RawServer(GET=raw_answer(200, mcp_session_id="canary"), DELETE=raw_answer(200, mcp_session_id="another"))
    async with server.listening(), client_for(server.url) as client:
        with anyio.fail_after(20):
            session = (await client.get(server.url)).headers["mcp-session-id"]
            for _ in range(2):
                response = await client.delete(server.url, headers={"mcp-session-id": session})
    assert [request.headers.get("mcp-session-id") for request in server.requests] == [None, "canary", "canary"]
    assert session == response.headers["mcp-session-id"] == "***"  # what the SDK writes to its log


async def test_a_server_cannot_fill_our_memory_with_cookies():
    numbers = itertools.count()

    def answer(_request: RawRequest) -> bytes:
        return raw_answer(200, set_cookie=f"c{next(numbers)}=1; Path=/elsewhere").replace(
            b"\r\n\r\n", f"\r\nset-cookie: d{next(numbers)}=1\r\n\r\n".encode()
        )

    async with RawServer(GET=answer).listening() as server, client_for(server.url) as client:
        for _ in range(30):
            await get(client, server.url)
        last = server.requests[-1].headers["cookie"]
        assert len(client.cookies.jar) == 20
    assert "d57=1" in last, "the latest is kept"


async def test_a_second_client_costs_next_to_nothing(monkeypatch):
    async with client_for("https://example.org"):
        pass

    def again(*_: object, **__: object) -> None:
        pytest.fail("the authorities of the system were read again")

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", again)
    monkeypatch.setattr(httpx2, "create_ssl_context", again)
    async with client_for("https://other.example.org"):
        pass


async def test_a_request_carries_the_headers_and_the_secret_parts_of_the_address(caplog):
    caplog.set_level(logging.DEBUG)
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening():
        url = server.url.replace("http://", "http://us%40er:canary1@") + "?key=canary2&b=%20"
        async with client_for(url, headers={"X-Key": "canary3"}) as client:
            response = await get(client, plain_url(url))
    (request,) = server.requests
    assert request.target == "/mcp?key=canary2&b=%20"
    assert request.headers["authorization"] == httpx2.BasicAuth("us@er", "canary1")._auth_header
    assert request.headers["x-key"] == "canary3"
    assert "canary" not in str(response.url)
    assert "canary" not in caplog.text  # S6
    assert "HTTP Request: GET" in caplog.text, "httpx2 logs addresses, or this proves nothing"


async def test_a_configured_authorization_wins_over_the_user_in_the_address():
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening():
        url = server.url.replace("http://", "http://user:pass@")
        async with client_for(url, headers={"Authorization": "Bearer t"}) as client:
            await get(client, plain_url(url))
    assert server.requests[0].headers["authorization"] == "Bearer t"


async def test_another_path_of_the_server_does_not_get_the_query():
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening(), client_for(server.url + "?key=1") as client:
        await get(client, server.url + "/messages?session=2")
    assert server.requests[0].target == "/mcp/messages?session=2"


async def test_a_connection_is_used_again():
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening(), client_for(server.url) as client:
        for _ in range(5):
            await get(client, server.url)
    assert server.connections == 1


@pytest.mark.parametrize(("idle", "connections"), [(3.5, 1), (4.5, 2)])
async def test_a_connection_is_given_up_before_servers_do_that_keep_it_for_five_seconds(monkeypatch, idle, connections):
    """What is written while the server closes it is lost, and a tool call may not be repeated."""
    server = RawServer(GET=raw_answer(200, b"ok"))
    now = time.monotonic
    async with server.listening(), client_for(server.url) as client:
        await get(client, server.url)
        monkeypatch.setattr(time, "monotonic", lambda: now() + idle)
        await get(client, server.url)
        monkeypatch.undo()
    assert server.connections == connections


async def test_the_client_waits_for_an_answer_for_as_long_as_its_caller_does():
    async with client_for("http://example.org") as client:
        assert client.timeout.read is None
        assert client.timeout.connect == 30.0


async def test_a_failing_get_stays_an_exception_of_httpx2():
    server = RawServer(GET=b"")
    async with server.listening(), client_for(server.url) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await get(client, server.url)


async def test_a_cut_event_stream_of_a_get_ends_quietly():
    cut = (
        event_stream("data: one", "data: tw")
        .removesuffix(b"\n\n")
        .replace(b"connection: close", b"content-length: 999")
    )
    server = RawServer(GET=cut)
    async with server.listening(), client_for(server.url) as client, client.stream("GET", server.url) as response:
        assert await response.aread() == b"data: one\n\n"


async def test_redirects_are_followed_within_the_origin_and_not_for_ever():
    server = RawServer(GET=lambda r: raw_answer(302, location="/mcp/2") if r.target == "/mcp" else raw_answer(200))
    async with server.listening(), client_for(server.url) as client:
        response = await send(client, client.build_request("GET", server.url))
        await response.aclose()
        assert (response.status_code, response.url.path) == (200, "/mcp/2")
        server.answers["GET"] = raw_answer(302, location="/mcp")
        response = await send(client, client.build_request("GET", server.url))
        await response.aclose()
        assert response.status_code == 302


async def test_a_ca_file_that_cannot_be_read_is_named_and_is_not_tried_again(tmp_path):
    (tmp_path / "ca.pem").write_text("not a certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(MCPConnectionError, match=path.name) as caught:
            client_for("https://example.org", ca_file=str(path))
        assert caught.value.context == {"cause": "tls", "retryable": False}


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://u:p@h:8443/a/b?c=d#e", "https://h:8443/a/b"),
        ("http://[::1]:80/mcp", "http://[::1]:80/mcp"),
        ("https://h", "https://h/"),
    ],
)
def test_the_plain_address_has_no_secret_parts(url, plain):
    assert plain_url(url) == plain


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://a.example/", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a.example/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://a.example/", None),
        ({"https_proxy": "p:1"}, "https://a.example/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://a.example/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "b.example,.a.example"}, "https://x.a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "localhost,127.0.0.1"}, "http://127.0.0.1:5/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8,zzz/9"}, "http://10.1.2.3/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8080"}, "http://a.example:8080/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8080"}, "http://a.example:8081/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".example:443"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:80"}, "http://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "::1,fd00::/8"}, "http://[::1]:8080/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "::1,fd00::/8"}, "http://[fd00::2]:8080/", None),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names_for_the_address(monkeypatch, environment, url, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(url) == proxy


async def test_a_proxy_carries_the_request(monkeypatch):
    proxy = RawServer(GET=raw_answer(200, b"from the proxy"))
    async with proxy.listening():
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/mcp"))
        async with client_for("http://far.invalid/mcp") as client:
            assert (await get(client, "http://far.invalid/mcp")).text == "from the proxy"


def test_a_proxy_of_an_unknown_kind_is_an_error_that_names_the_variables(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://user:canary@p:1")
    with pytest.raises(MCPConnectionError, match="HTTP_PROXY") as caught:
        client_for("http://example.org")
    assert caught.value.context["retryable"] is False
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (httpx2.ConnectTimeout("x"), "timeout"),
        (httpx2.ReadTimeout("x"), "timeout"),
        (httpx2.PoolTimeout("x"), "timeout"),
        (httpx2.ConnectError("x"), "unreachable"),
        (httpx2.ProxyError("x"), "proxy"),
        (httpx2.ReadError("x"), "network"),
        (ConnectionResetError(), "network"),
    ],
)
def test_every_failure_has_a_cause_and_never_the_text_of_a_library(error, cause):
    ours = connection_failed(error, "http://u:p@h/mcp?q=1")
    assert ours.context == {"cause": cause, "retryable": True}
    assert ours.message.startswith("cannot connect to http://h/mcp?***: ")


def test_a_certificate_that_is_not_accepted_says_why():
    reason = ssl.SSLCertVerificationError("library text")
    reason.verify_code = 10
    error = httpx2.ConnectError("x")
    error.__cause__ = reason
    ours = connection_failed(error, "https://h/")
    assert ours.message == "cannot connect to https://h/: its certificate has expired"
    assert ours.context["cause"] == "tls"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("120", "120"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("canary", None),
        ("1 canary", None),
        ("-1", None),
        ("", None),
    ],
)
def test_s6_only_what_may_stand_in_retry_after_is_repeated(header, kept):
    response = httpx2.Response(429, headers={"retry-after": header})
    assert connection_refused(response, "http://h/").context.get("retry_after") == kept
    assert call_refused(response)["data"].get("retry_after") == kept


async def test_s6_what_is_logged_of_an_answer_s_head_is_not_the_server_s_to_choose(caplog):
    caplog.set_level(logging.DEBUG, logger="httpx2")
    answer = raw_answer(200, b"ok", content_type="canary/canary").replace(b"Whatever", b"canary")
    server = RawServer(GET=answer)
    async with server.listening(), client_for(server.url) as client:
        response = await get(client, server.url)
    assert response.headers["content-type"] == "application/octet-stream"
    assert "HTTP Request: GET" in caplog.text
    assert "canary" not in caplog.text
