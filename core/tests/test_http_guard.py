"""The guard against being led inside: what is checked is what is connected to."""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_network

import anyio
import httpx2
import pytest
from mcp_orchestra.addresses import AddressRules
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http import HttpOptions, connect_tcp, http_client
from mcp_orchestra.http.carrier import carrier
from mcp_orchestra.http.failures import NotSentError, connection_failed
from mcp_orchestra.http.guard import GuardedProxy, _first, connect
from mcp_orchestra.testing.raw_http import RawServer, raw_answer
from mcp_orchestra.types import Endpoint

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.215.14"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def resolver(monkeypatch):
    """Answer look-ups of names: ``resolver({"a.example": [["10.0.0.1"], ["10.0.0.2"]]})``, the last for good."""
    real = socket.getaddrinfo
    looked_up: list[str] = []

    def install(names: dict[str, list[list[str]]]) -> list[str]:
        def getaddrinfo(host: bytes | str, port: int, *args: object, **kwargs: object) -> object:
            name = host.decode() if isinstance(host, bytes) else host
            if name not in names:
                return real(host, port, *args, **kwargs)
            looked_up.append(name)
            answers = names[name]
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            return [
                (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return looked_up

    return install


async def get(url: str, rules: AddressRules) -> httpx2.Response:
    with anyio.fail_after(20):
        async with httpx2.AsyncClient(transport=carrier(url, rules, None), timeout=5) as client:
            return await client.get(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.1:{port}/",
        "http://127.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[2002:7f00:1::]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://100.64.0.1:{port}/",
        "http://0.0.0.0:{port}/",
        "http://localhost:{port}/",
        "http://public.example@127.0.0.1:{port}/",
        "http://user:pass@localhost:{port}/",
        "http://inside.example:{port}/",
        "http://inside.example.:{port}/",
        "http://xn--bcher-kva.example:{port}/",
        "http://bücher.example:{port}/",
        "http://mixed.example:{port}/",
    ],
)
async def test_what_is_inside_is_not_connected_to_however_it_is_named(url: str, resolver: Callable[..., list[str]]):
    inside = [["127.0.0.1"]]
    resolver(
        {
            "inside.example": inside,
            "inside.example.": inside,
            "xn--bcher-kva.example": inside,
            "mixed.example": [[PUBLIC, "127.0.0.1"]],
        }
    )
    server = RawServer(GET=raw_answer(200, b"secret"))
    async with server.listening():
        with pytest.raises(NotSentError, match="blocked address"):
            await get(url.format(port=httpx2.URL(server.url).port), AddressRules())
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        *("①②⑦.⓪.⓪.①", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1"),  # digits and dots of other scripts
        *("127.0.0.1.", "127.0.0.1%00.example", "0177.0.0.1"),
    ],
)
async def test_a_host_that_only_looks_like_an_address_does_not_lead_inside(host: str):
    server = RawServer(GET=raw_answer(200, b"secret"))
    async with server.listening():
        with pytest.raises((NotSentError, httpx2.InvalidURL, httpx2.ConnectError)):
            await get(f"http://{host}:{httpx2.URL(server.url).port}/", AddressRules())
    assert server.connections == 0


async def test_the_host_that_the_configuration_names_is_connected_to_by_its_name(resolver: Callable[..., list[str]]):
    looked_up = resolver({"tools.corp.example": [["127.0.0.1"]]})
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening():
        url = server.url.replace("127.0.0.1", "tools.corp.example")
        rules = AddressRules()
        rules.configured(url)
        assert (await get(url, rules)).text == "ok"
    assert server.requests[0].headers["host"] == f"tools.corp.example:{httpx2.URL(url).port}"
    assert looked_up == ["tools.corp.example"], "a name is looked up once for a connection"


async def test_an_allowed_network_may_be_connected_to(resolver: Callable[..., list[str]]):
    resolver({"inside.example": [["127.0.0.1"]]})
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening():
        url = server.url.replace("127.0.0.1", "inside.example")
        assert (await get(url, AddressRules([ip_network("127.0.0.0/8")]))).text == "ok"


async def test_a_name_that_is_pointed_elsewhere_after_it_was_checked_leads_to_the_checked_address(
    resolver: Callable[..., list[str]], monkeypatch
):
    """DNS rebinding: the second answer would lead inside, but nobody asks a second time."""
    looked_up = resolver({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    connected: list[str] = []
    real = anyio.connect_tcp

    async def connect(remote_host: str, remote_port: int, **kwargs: object) -> object:
        connected.append(str(remote_host))
        if remote_host == PUBLIC:
            raise OSError("unreachable in this test")
        return await real(remote_host, remote_port, **kwargs)

    monkeypatch.setattr(anyio, "connect_tcp", connect)
    server = RawServer(GET=raw_answer(200, b"secret"))
    async with server.listening():
        url = server.url.replace("127.0.0.1", "rebind.example")
        with pytest.raises(httpx2.ConnectError):
            await get(url, AddressRules())
        assert (looked_up, connected) == (["rebind.example"], [PUBLIC])
        with pytest.raises(NotSentError, match="blocked address"):
            await get(url, AddressRules())
    assert server.connections == 0


async def test_a_configured_name_that_was_public_and_is_pointed_inside_is_blocked(resolver: Callable[..., list[str]]):
    resolver({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    server = RawServer(POST=raw_answer(200, b"secret"))
    async with server.listening():
        url = server.url.replace("127.0.0.1", "rebind.example")
        endpoint = Endpoint(server_id="x", options=HttpOptions(url=url), connect_timeout=0.5)
        ping = {"jsonrpc": "2.0", "id": 1, "method": "server/discover"}
        for attempt in ("public", "inside", "inside"):
            async with http_client(endpoint) as client:
                with pytest.raises(MCPConnectionError) as caught, anyio.fail_after(20):
                    await client.post(url, json=ping)
            assert (caught.value.context["cause"] == "blocked") == (attempt == "inside")
        assert "blocked address: rebind.example is at 127.0.0.1" in caught.value.message
        assert caught.value.context["retryable"] is False
        port = httpx2.URL(url).port
        assert port is not None
        with pytest.raises(NotSentError):
            await connect_tcp(endpoint, "rebind.example", port)
    assert server.connections == 0


async def test_a_blocked_call_says_that_it_was_not_delivered(resolver: Callable[..., list[str]]):
    resolver({"rebind.example": [["127.0.0.1"]]})
    endpoint = Endpoint(server_id="x", options=HttpOptions(url="https://public.example/mcp"))
    async with http_client(endpoint) as client:
        answer = await client.post("http://rebind.example/", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    error = answer.json()["error"]
    assert error["message"].startswith("the server was not asked: blocked address")
    assert (error["data"]["kind"], error["data"]["delivered"]) == ("blocked", "no")


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(resolver, monkeypatch):
    resolver({"two.example": [["127.0.0.2", "::1", "127.0.0.1"]]})
    tried: list[str] = []
    real = anyio.connect_tcp

    async def connect(remote_host: str, remote_port: int, **kwargs: object) -> object:
        tried.append(str(remote_host))
        if remote_host == "127.0.0.2":
            await anyio.sleep_forever()
        if remote_host == "::1":
            raise OSError("no IPv6 here")
        return await real(remote_host, remote_port, **kwargs)

    monkeypatch.setattr(anyio, "connect_tcp", connect)
    server = RawServer(GET=raw_answer(200, b"ok"))
    async with server.listening():
        url = server.url.replace("127.0.0.1", "two.example")
        assert (await get(url, AddressRules([ip_network("127.0.0.0/8"), ip_network("::1/128")]))).text == "ok"
    assert tried == ["127.0.0.2", "::1", "127.0.0.1"], "families take turns, each address is tried once"


async def test_all_addresses_that_fail_are_one_failure_with_its_reason():
    rules = AddressRules([ip_network("127.0.0.0/8")])
    with pytest.raises(httpx2.ConnectError) as caught:
        await get("http://127.0.0.1:1/", rules)
    assert connection_failed(caught.value, "http://127.0.0.1:1/").context["cause"] == "refused"


async def test_of_two_connections_that_are_made_at_the_same_time_one_is_closed():
    class Stream:
        closed = False

        async def aclose(self):
            self.closed = True

    made = []
    both = anyio.Event()

    async def attempt(address):
        stream = Stream()
        made.append(stream)
        if len(made) == 2:
            both.set()
        with anyio.CancelScope(shield=True):  # made before the news that it is not needed
            await both.wait()
        return stream

    with anyio.fail_after(5):
        taken = await _first(["192.0.2.1", "192.0.2.2"], attempt)
    assert len(made) == 2
    assert [stream for stream in made if not stream.closed] == [taken]


async def test_addresses_that_all_fail_are_one_failure_that_has_each():
    async def attempt(address):
        raise OSError(address)

    with anyio.fail_after(5), pytest.raises(OSError, match="no address can be connected to") as caught:
        await _first(["192.0.2.1", "192.0.2.2"], attempt)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert [str(error) for error in caught.value.__cause__.exceptions] == ["192.0.2.1", "192.0.2.2"]


async def test_a_name_that_nobody_knows_is_said_to_be_that():
    with pytest.raises(httpx2.ConnectError) as caught:
        await get("http://nowhere.invalid/", AddressRules())
    assert connection_failed(caught.value, "http://nowhere.invalid/").context["cause"] == "dns"


async def test_what_cannot_be_a_name_is_a_failure_to_connect():
    with pytest.raises(OSError, match="not a host name"):
        await connect(AddressRules(), "\udcff", 80)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_a_host_that_is_no_name_is_a_failure_like_any_other(host: str):
    with pytest.raises((httpx2.ConnectError, httpx2.InvalidURL)):
        await get(f"http://{host}/", AddressRules())


async def test_a_look_up_that_hangs_is_over_with_the_time_for_connecting_and_the_loop_goes_on(monkeypatch):
    release = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        await release.wait()

    monkeypatch.setattr(anyio, "getaddrinfo", hang)
    endpoint = Endpoint(server_id="x", options=HttpOptions(url="http://slow.example/"), connect_timeout=0.05)
    async with http_client(endpoint) as client:
        with pytest.raises(httpx2.ConnectTimeout), anyio.fail_after(5):
            await client.get("http://slow.example/")


async def test_through_a_proxy_literal_addresses_are_refused_and_names_are_the_proxy_s_affair(monkeypatch):
    proxy = RawServer(GET=raw_answer(200, b"from the proxy"))
    async with proxy.listening():
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/mcp"))
        assert (await get("http://inside.example/", AddressRules())).text == "from the proxy"
        for host in ("127.0.0.1", "169.254.169.254", "2130706433", "0x7f.1", "localhost", "[::1]", "[64:ff9b::a00:1]"):
            with pytest.raises(NotSentError, match="blocked address"):
                await get(f"http://{host}/", AddressRules())
        own = AddressRules()
        own.configured("http://127.0.0.1:9/mcp")
        assert (await get("http://127.0.0.1:9/mcp", own)).text == "from the proxy"
    assert len(proxy.requests) == 2


@pytest.mark.parametrize(
    ("configured", "asked", "passes"),
    [
        ("https://10.0.0.1/mcp", "https://10.0.0.1/token", True),
        ("https://10.0.0.1/mcp", "https://10.0.0.1:443/token", True),
        ("https://10.0.0.1/mcp", "http://10.0.0.1/token", False),
        ("https://10.0.0.1:8443/mcp", "https://10.0.0.1/token", False),
        ("http://10.0.0.1/mcp", "http://10.0.0.1/token", True),
        ("http://10.0.0.1:8080/mcp", "http://10.0.0.1/token", False),
    ],
)
async def test_through_a_proxy_the_port_of_an_address_is_that_of_its_scheme(configured: str, asked: str, passes: bool):
    rules = AddressRules()
    rules.configured(configured)
    proxied = GuardedProxy(httpx2.MockTransport(lambda request: httpx2.Response(204)), rules)
    request = httpx2.Request("GET", asked)
    if passes:
        assert (await proxied.handle_async_request(request)).status_code == 204
    else:
        with pytest.raises(NotSentError, match="blocked address"):
            await proxied.handle_async_request(request)
