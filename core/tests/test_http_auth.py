"""When a token is fetched, by whom, and who gets to see it."""

import asyncio
import os
from collections.abc import Callable
from functools import partial

import anyio
import httpx2
import looptime
import pytest
from mcp_orchestra.http import HttpOptions
from mcp_orchestra.http.auth.authorizing import AuthorizingTransport
from mcp_orchestra.http.auth.client_credentials import ClientCredentials
from mcp_orchestra.http.auth.options import ClientCredentialsAuth
from mcp_orchestra.http.auth.secret import Secret
from mcp_orchestra.http.failures import NotSentError
from mcp_orchestra.redaction import Redactor
from pydantic import ValidationError

pytestmark = pytest.mark.anyio

SERVER = "https://mcp.example/mcp"
AUTHORITY = "https://auth.example"


@pytest.fixture
def anyio_backend() -> object:
    return "asyncio", {"loop_factory": looptime.new_event_loop}


class Authority:
    """An authorization server without a network."""

    def __init__(self) -> None:
        self.fetches = 0
        self.expires_in: int | None = 600
        self.seconds = 0.0
        self.status = 200
        self.pages: dict[str, object] = {}
        self.asked: list[str] = []

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        if request.method == "GET":
            page = self.pages.get(str(request.url))
            return httpx2.Response(404 if page is None else 200, json=page)
        self.fetches += 1
        await anyio.sleep(self.seconds)
        token = {"access_token": f"token{self.fetches}", "token_type": "Bearer", "expires_in": self.expires_in}
        return httpx2.Response(self.status, json=token)

    def credentials(self, hide: Callable[[str], None] = lambda _: None, **options: object) -> ClientCredentials:
        fields = {"client_id": "us", "client_secret": "s3cret", "token_url": f"{AUTHORITY}/token", **options}
        given = {name: value for name, value in fields.items() if value is not None}
        auth = ClientCredentialsAuth.model_validate({"type": "oauth-client-credentials", **given})
        return ClientCredentials(auth, SERVER, lambda _: httpx2.MockTransport(self.answer), hide=hide, timeout=10)


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize(("life", "kept"), [(3600, 3539), (600, 539), (100, 89), (10, 8.9)])
async def test_a_token_is_renewed_a_minute_or_a_tenth_of_its_life_before_its_end(authority, life, kept):
    authority.expires_in = life
    credentials = authority.credentials()
    assert await credentials.authorization() == "Bearer token1"
    await anyio.sleep(kept)
    assert await credentials.authorization() == "Bearer token1"
    await anyio.sleep(2)
    assert await credentials.authorization() == "Bearer token2"


async def test_a_token_without_an_end_is_kept(authority):
    authority.expires_in = None
    credentials = authority.credentials()
    await credentials.authorization()
    await anyio.sleep(30 * 86_400)
    assert await credentials.authorization() == "Bearer token1"


@pytest.mark.parametrize("life", [0, -5, 1])
async def test_a_token_of_no_life_is_tried_for_a_few_seconds_instead_of_one_for_each_request(authority, life):
    authority.expires_in = life
    credentials = authority.credentials()
    for _ in range(8):
        await asyncio.gather(*(credentials.authorization() for _ in range(50)))
        await anyio.sleep(1)
    assert authority.fetches == 2


async def test_a_token_for_longer_than_a_number_can_be_is_kept(authority):
    authority.expires_in = 10**400
    credentials = authority.credentials()
    await credentials.authorization()
    await anyio.sleep(30 * 86_400)
    assert await credentials.authorization() == "Bearer token1"


async def test_s6_a_secret_from_a_file_stays_hidden_however_many_tokens_come_and_go(authority, tmp_path):
    (tmp_path / "secret").write_text("canary\n")
    redact = Redactor()
    file = str(tmp_path / "secret")
    credentials = authority.credentials(partial(redact.learn, "a"), client_secret=None, client_secret_file=file)
    for _ in range(20):
        await credentials.authorization()
        await anyio.sleep(600)
    assert authority.fetches == 20
    assert redact("canary and token20") == "*** and ***"


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "too large"])
def test_a_file_that_can_hold_no_token_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "token"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.write_text("x" * 70_000)
    with pytest.raises(NotSentError, match=r"auth.token_file names (is not a regular file|has more than 65536 bytes)"):
        Secret("token", None, str(path), None, lambda _: None).read()


async def test_there_is_one_fetch_for_all_who_wait(authority):
    authority.seconds = 3
    credentials = authority.credentials()
    headers = await asyncio.gather(*(credentials.authorization() for _ in range(50)))
    assert set(headers) == {"Bearer token1"}
    assert authority.fetches == 1


async def test_while_one_renews_a_token_the_others_do_not_wait(authority):
    credentials = authority.credentials()
    await credentials.authorization()
    await anyio.sleep(545)
    authority.seconds = 9
    renewing = asyncio.create_task(credentials.authorization())
    await anyio.sleep(1)
    started = anyio.current_time()
    assert await credentials.authorization() == "Bearer token1"
    assert anyio.current_time() == started
    assert await renewing == "Bearer token2"


async def test_a_token_that_cannot_be_renewed_serves_to_its_end_and_renewing_is_tried_every_few_seconds(authority):
    credentials = authority.credentials()
    await credentials.authorization()
    await anyio.sleep(541)
    authority.status = 503
    for _ in range(50):
        assert await credentials.authorization() == "Bearer token1"
        await anyio.sleep(1)
    assert 10 <= authority.fetches - 1 <= 11
    await anyio.sleep(20)
    with pytest.raises(NotSentError, match="HTTP 503") as caught:
        await credentials.authorization()
    assert caught.value.retryable
    authority.status = 200
    await anyio.sleep(6)
    assert (await credentials.authorization() or "").startswith("Bearer token")


async def test_a_fetch_that_fails_is_the_answer_for_all_who_come_soon_after(authority):
    authority.status = 500
    authority.seconds = 1
    credentials = authority.credentials()
    outcomes = await asyncio.gather(*(credentials.authorization() for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {NotSentError}
    assert authority.fetches == 1


async def test_an_authorization_server_that_hangs_costs_the_time_for_connecting(authority):
    authority.seconds = 1000
    started = anyio.current_time()
    with pytest.raises(NotSentError, match="in time") as caught:
        await authority.credentials().authorization()
    assert anyio.current_time() - started == 10
    assert caught.value.cause == "timeout"


async def test_a_fetch_whose_caller_is_cancelled_is_taken_over_by_the_next(authority):
    authority.seconds = 3
    credentials = authority.credentials()
    first = asyncio.create_task(credentials.authorization())
    await anyio.sleep(1)
    second = asyncio.create_task(credentials.authorization())
    await anyio.sleep(1)
    first.cancel()
    assert await second == "Bearer token2"


async def test_a_refused_token_is_replaced_once_and_again_after_a_minute(authority):
    credentials = authority.credentials()
    header = await credentials.authorization()
    assert await credentials.renewed(header, None) is None, "it was new"
    credentials.accepted(header)
    assert await credentials.renewed(header, None) == "Bearer token2", "it was good and has been revoked"
    assert await credentials.renewed(header, None) == "Bearer token2", "somebody else has replaced it"
    assert await credentials.renewed("Bearer token2", None) is None
    await anyio.sleep(61)
    assert await credentials.renewed("Bearer token2", None) == "Bearer token3"


async def test_what_is_fetched_and_sent_is_hidden(authority):
    hidden: list[str] = []
    await authority.credentials(hide=hidden.append).authorization()
    assert {"token1", httpx2.BasicAuth("us", "s3cret")._auth_header.split()[1]} <= set(hidden)


async def test_the_secret_does_not_go_over_plain_http_unless_the_configuration_says_so(authority):
    metadata = {
        "issuer": AUTHORITY,
        "authorization_endpoint": f"{AUTHORITY}/authorize",
        "token_endpoint": "http://auth.example/token",
    }
    authority.pages = {
        "https://mcp.example/.well-known/oauth-protected-resource/mcp": {
            "resource": SERVER,
            "authorization_servers": [AUTHORITY],
        },
        f"{AUTHORITY}/.well-known/oauth-authorization-server": metadata,
    }
    credentials = authority.credentials(token_url=None, issuer=AUTHORITY)
    assert await credentials.authorization() is None, "the server has not asked yet"
    with pytest.raises(NotSentError, match="over plain http"):
        await credentials.renewed(None, None)
    assert authority.fetches == 0
    metadata["token_endpoint"] = f"{AUTHORITY}/token"
    await anyio.sleep(6)
    assert await credentials.renewed(None, None) == "Bearer token1"


async def test_discovery_ends_however_much_a_server_has_to_say(authority):
    endless = "https://mcp.example/.well-known/" + "x" * 50
    credentials = authority.credentials(token_url=None, issuer=AUTHORITY)
    with pytest.raises(NotSentError, match=r"check auth\.issuer"):
        await credentials.renewed(None, f'Bearer resource_metadata="{endless}"')
    assert authority.asked[0] == endless
    assert len(authority.asked) <= 12


@pytest.mark.parametrize("challenge", ['Bearer resource_metadata="http://["', 'Bearer resource_metadata="file:///etc"'])
async def test_what_is_no_address_leads_nowhere(authority, challenge):
    credentials = authority.credentials(token_url=None, issuer=AUTHORITY)
    with pytest.raises(NotSentError):
        await credentials.renewed(None, challenge)


class Fixed:
    """Credentials that never change."""

    async def authorization(self) -> str | None:
        return "Bearer t0ken"

    async def renewed(self, refused: str | None, challenge: str | None) -> str | None:
        return None

    def accepted(self, authorization: str | None) -> None:
        pass


@pytest.mark.parametrize(
    ("configured", "asked", "told"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", True),
        ("https://a.example/mcp", "https://a.example:443/other", True),
        ("http://a.example/mcp", "https://a.example/mcp", True),
        ("https://a.example/mcp", "http://a.example/mcp", False),
        ("https://a.example/mcp", "https://a.example:8443/mcp", False),
        ("https://a.example/mcp", "https://b.example/mcp", False),
        ("https://a.example/mcp", "https://a.example.b.example/mcp", False),
        ("https://a.example/mcp", "https://a.example@b.example/mcp", False),
    ],
)
async def test_only_the_configured_origin_gets_the_token(configured, asked, told):
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=request.headers.get("authorization", ""))

    transport = AuthorizingTransport(httpx2.MockTransport(answer), configured, Fixed())
    async with transport:
        response = await transport.handle_async_request(httpx2.Request("POST", asked, content=b"{}"))
    assert (await response.aread() == b"Bearer t0ken") == told


URL = "https://a.example/mcp"
OAUTH = {
    "type": "oauth-client-credentials",
    "client_id": "us",
    "client_secret": "s",
    "token_url": "https://b.example/t",
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"auth": {"type": "bearer"}}, "exactly one of token, token_file, token_env"),
        ({"auth": {"type": "bearer", "token": "canary", "token_env": "A"}}, "exactly one of"),
        ({"auth": {"type": "bearer", "token": "canary canary"}}, "printable ASCII"),
        ({"auth": {"type": "bearer", "token_env": "canary-canary"}}, "name of an environment variable"),
        ({"auth": {"type": "basic", "token": "canary"}}, "bearer"),
        ({"auth": {**OAUTH, "client_secret": None}}, "exactly one of client_secret"),
        ({"auth": {**OAUTH, "issuer": "https://b.example"}}, "exactly one of issuer, token_url"),
        ({"auth": {**OAUTH, "token_url": None}}, "exactly one of issuer, token_url"),
        ({"auth": {**OAUTH, "token_url": "b.example/canary"}}, "http:// or https://"),
        ({"auth": {**OAUTH, "token_url": "https://u:canary@b.example/"}}, "without user info"),
        ({"auth": {**OAUTH, "scopes": ["a b"]}}, "scopes"),
        ({"auth": OAUTH, "headers": {"authorization": "canary"}}, "give either auth"),
        ({"auth": OAUTH, "url": "https://u:canary@a.example/"}, "give either auth"),
    ],
)
def test_s6_what_contradicts_itself_is_refused_without_showing_it(fields, expected):
    with pytest.raises(ValidationError, match=expected) as caught:
        HttpOptions.model_validate({"url": URL, **fields})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "token": "canary1"},
        {"type": "bearer", "token_file": "canary2"},
        {**OAUTH, "client_secret": "canary3", "token_url": "https://b.example/canary4"},
    ],
)
def test_s6_the_representation_of_credentials_holds_no_secret(auth):
    options = HttpOptions.model_validate({"url": URL, "auth": auth})
    assert "canary" not in repr(options) + str(options)
