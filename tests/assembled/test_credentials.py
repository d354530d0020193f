"""What a server over HTTP is shown to let us in: who gets it, where it comes from, and what if it is refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from mcp_orchestra import MCPConnectionError, MCPOrchestrator, MCPOrchestratorException, NoMCPAvailableError
from mcp_orchestra.testing.authorization import AuthorizationServer, GuardedApp
from mcp_orchestra.testing.raw_http import RawServer, raw_answer
from mcp_orchestra.testing.servers import ScriptedServer, serve
from starlette.responses import JSONResponse, Response

pytestmark = pytest.mark.anyio

CLIENT = ("orchestra", "s3cret/with+signs")


@dataclass
class World:
    """A protected MCP server and the authorization server whose tokens it accepts."""

    door: GuardedApp
    authority: AuthorizationServer

    def server(self, **auth: object) -> dict[str, Any]:
        return {"transport": "streamable-http", "url": self.door.resource, "timeout": 10, "auth": auth}

    def client_credentials(self, **auth: object) -> dict[str, Any]:
        own = {"client_id": CLIENT[0], "client_secret": CLIENT[1], "issuer": self.authority.issuer}
        fields = {"type": "oauth-client-credentials", **own, **auth}
        return self.server(**{name: value for name, value in fields.items() if value is not None})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    authority = AuthorizationServer(*CLIENT)
    door = GuardedApp(ScriptedServer("a").app())
    door.accepted = authority.tokens
    async with AsyncExitStack() as stack:
        authority.issuer = (await stack.enter_async_context(serve(authority.app()))).removesuffix("/mcp")
        door.resource = await stack.enter_async_context(serve(door))  # type: ignore[arg-type]
        door.authorization_servers = [authority.issuer]
        yield World(door, authority)


@pytest.fixture
async def refused(configure, serving) -> Callable[..., Any]:
    """Connect a server that is refused beside a healthy one, wait a while, and return its status."""
    healthy = await serving(ScriptedServer("b"))

    async def connect(fields: dict[str, Any]) -> dict[str, Any]:
        orchestrator = configure({"a": fields, "b": healthy}, max_retries=3)
        async with asyncio.timeout(20):
            await orchestrator.initialize()
        await asyncio.sleep(1)
        return next(server for server in orchestrator.get_status()["servers"] if server["id"] == "a")

    return connect


async def names(orchestrator: MCPOrchestrator) -> list[str]:
    async with asyncio.timeout(30):
        return sorted((await orchestrator.gather_all_resources())["A"]["resources"])


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
async def test_a_bearer_token_comes_with_every_request(serving, configure, transport):
    door = GuardedApp(ScriptedServer("a").app(transport))
    door.accepted = ["t0ken"]
    fields = await serving(door, transport)
    orchestrator = configure({"a": {**fields, "auth": {"type": "bearer", "token": "t0ken"}}})
    assert len(await names(orchestrator)) == 3
    assert set(door.presented) == {"Bearer t0ken"}


async def test_a_token_file_is_read_again_when_it_changes(world, configure, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    world.door.accepted = ["first"]
    orchestrator = configure({"a": world.server(type="bearer", token_file=str(file))})
    await names(orchestrator)
    world.door.accepted = ["second"]
    file.write_text("second\n")
    client = orchestrator.registry.get_server("a").client
    async with asyncio.timeout(20):
        await client.list_resources()
    assert world.door.presented[-1] == "Bearer second"
    assert "Bearer second" not in world.door.presented[:-1]


async def test_a_token_in_the_environment_is_looked_at_for_each_request(world, configure, monkeypatch):
    monkeypatch.setenv("UPSTREAM_TOKEN", "first")
    world.door.accepted = ["first", "second"]
    orchestrator = configure({"a": world.server(type="bearer", token_env="UPSTREAM_TOKEN")})
    await names(orchestrator)
    monkeypatch.setitem(os.environ, "UPSTREAM_TOKEN", "second")
    async with asyncio.timeout(20):
        await orchestrator.registry.get_server("a").client.list_resources()
    assert world.door.presented[-1] == "Bearer second"


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"token_file": "{tmp}/missing"}, "the file that auth.token_file names does not exist"),
        ({"token_file": "{tmp}/empty"}, "the file that auth.token_file names is empty"),
        ({"token_file": "{tmp}/binary"}, "the file that auth.token_file names cannot be read as text"),
        ({"token_file": "{tmp}/lines"}, "the file that auth.token_file names must hold printable ASCII without spaces"),
        ({"token_file": "{tmp}"}, "the file that auth.token_file names is not a regular file"),
        ({"token_env": "NO_SUCH_VARIABLE"}, "the variable that auth.token_env names is not set"),
    ],
)
async def test_a_token_that_is_not_there_needs_somebody_to_act(world, configure, tmp_path, auth, said):
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "lines").write_text("a\nb")
    auth = {name: value.format(tmp=tmp_path) for name, value in auth.items()}
    orchestrator = configure({"a": world.server(type="bearer", **auth)})
    async with asyncio.timeout(20):
        with pytest.raises(NoMCPAvailableError) as caught:
            await orchestrator.initialize()
    assert said in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.context["states"]["a"]["state"] == "auth_required"
    assert world.door.presented == []


async def test_a_token_that_vanishes_costs_its_calls_and_not_the_connection(world, configure, tmp_path):
    file = tmp_path / "token"
    file.write_text("first")
    world.door.accepted = ["first"]
    orchestrator = configure({"a": world.server(type="bearer", token_file=str(file))})
    await names(orchestrator)
    client = orchestrator.registry.get_server("a").client
    file.unlink()
    async with asyncio.timeout(20):
        with pytest.raises(MCPOrchestratorException, match=r"auth\.token_file names does not exist") as caught:
            await client.list_resources()
        assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("auth", "no")
        file.write_text("first")
        await client.list_resources()


async def test_a_refused_token_is_not_offered_over_and_over(world, refused):
    status = await refused(world.server(type="bearer", token="wrong"))
    assert (status["state"], "401" in status["error"]) == ("auth_required", True)
    assert world.door.presented == ["Bearer wrong"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_token_is_fetched_from_the_authorization_server_that_the_server_names(world, configure, method):
    orchestrator = configure({"a": world.client_credentials(token_endpoint_auth_method=method)})
    assert len(await names(orchestrator)) == 3
    assert world.authority.asked == {"metadata": 1, "token": 1}
    (form,) = world.authority.forms
    assert (form["grant_type"], form["resource"]) == ("client_credentials", world.door.resource)
    assert form["scope"] == "mcp", "what the server says that it needs"
    assert world.door.presented[0] == "", "the server says first who its authorization server is"
    assert set(world.door.presented[1:]) == {f"Bearer {world.authority.tokens[0]}"}


async def test_the_configured_scopes_are_asked_for(world, configure):
    orchestrator = configure({"a": world.client_credentials(scopes=["read", "write"])})
    await names(orchestrator)
    assert world.authority.forms[0]["scope"] == "read write"


async def test_a_token_endpoint_may_be_given_and_nothing_is_discovered_then(world, configure):
    fields = world.client_credentials(issuer=None, token_url=f"{world.authority.issuer}/token", scopes=["read"])
    orchestrator = configure({"a": fields})
    await names(orchestrator)
    assert world.authority.asked == {"token": 1}
    (form,) = world.authority.forms
    assert (form["grant_type"], form["resource"], form["scope"]) == ("client_credentials", world.door.resource, "read")
    assert "" not in world.door.presented


async def test_the_client_secret_may_be_in_a_file(world, configure, tmp_path):
    (tmp_path / "secret").write_text(CLIENT[1] + "\n")
    fields = world.client_credentials(client_secret=None, client_secret_file=str(tmp_path / "secret"))
    assert len(await names(configure({"a": fields}))) == 3


async def test_over_sse_a_token_is_fetched_too(configure, serving, world):
    door = GuardedApp(ScriptedServer("a").app("sse"))
    door.accepted = world.authority.tokens
    door.authorization_servers = [world.authority.issuer]
    fields = await serving(door, "sse")
    door.resource = fields["url"]
    auth = world.client_credentials()["auth"]
    assert len(await names(configure({"a": {**fields, "auth": auth}}))) == 3


async def test_calls_at_once_fetch_one_token_when_theirs_has_been_revoked(world, configure):
    orchestrator = configure({"a": world.client_credentials()})
    await names(orchestrator)
    world.authority.tokens[:] = []
    client = orchestrator.registry.get_server("a").client
    async with asyncio.timeout(20):
        await asyncio.gather(*(client.list_resources() for _ in range(20)))
    assert world.authority.asked["token"] == 2


async def test_an_authorization_server_that_refuses_us_needs_somebody_to_act(world, refused):
    status = await refused(world.client_credentials(client_secret="wr0ng"))
    assert status["state"] == "auth_required"
    assert "gave no token: HTTP 401, invalid_client" in status["error"]
    assert world.authority.asked["token"] == 1


async def test_a_server_that_refuses_a_new_token_is_not_offered_another(world, refused):
    world.door.accepted = []
    status = await refused(world.client_credentials())
    assert (status["state"], "401" in status["error"]) == ("auth_required", True)
    assert world.authority.asked["token"] == 1
    assert len(world.door.presented) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("no", 503), "answered HTTP 503"),
        (JSONResponse({"access_token": "a b"}), "something else than a bearer token"),
        (JSONResponse({"token_type": "bearer"}), "something else than a bearer token"),
        (JSONResponse({"access_token": "x", "token_type": "mac"}), "something else than a bearer token"),
        (Response("<html>"), "something else than a bearer token"),
        (Response("x" * 300_000), "too large"),
    ],
)
async def test_an_authorization_server_out_of_order_may_heal(world, configure, answer, said):
    world.authority.answer = answer
    orchestrator = configure({"a": world.client_credentials()}, max_retries=0)
    async with asyncio.timeout(20):
        with pytest.raises(NoMCPAvailableError) as caught:
            await orchestrator.initialize()
    assert said in caught.value.message
    assert caught.value.context["states"]["a"]["state"] == "backing_off"


async def test_a_server_cannot_send_the_client_secret_to_another_authorization_server(world, configure, serving):
    evil = AuthorizationServer(*CLIENT)
    evil.issuer = (await serving(evil.app()))["url"].removesuffix("/mcp")
    world.door.authorization_servers = [evil.issuer]
    networks = {"allowed_networks": ["127.0.0.0/8"]}
    orchestrator = configure({"a": world.client_credentials()}, security=networks)
    async with asyncio.timeout(20):
        with pytest.raises(NoMCPAvailableError, match=r"check auth\.issuer"):
            await orchestrator.initialize()
    assert evil.asked["token"] == 0
    assert world.authority.asked["token"] == 0


@pytest.mark.parametrize("lure", ["resource_metadata", "authorization_servers"])
async def test_a_server_cannot_lead_discovery_inside_the_network(world, configure, lure):
    inner = RawServer(GET=raw_answer(200, b"{}", content_type="application/json"))
    async with inner.listening():
        if lure == "resource_metadata":
            world.door.metadata_url = inner.url
        else:
            world.door.authorization_servers = [inner.url.removesuffix("/mcp")]
        orchestrator = configure({"a": world.client_credentials()})
        async with asyncio.timeout(20):
            with pytest.raises(NoMCPAvailableError, match=r"blocked address: 127\.0\.0\.1 is at 127\.0\.0\.1"):
                await orchestrator.initialize()
        assert inner.connections == 0
        networks = {"allowed_networks": ["127.0.0.0/8"]}
        orchestrator = configure({"a": world.client_credentials()}, security=networks)
        async with asyncio.timeout(20):
            with suppress(NoMCPAvailableError):  # what it answers there is no metadata
                await orchestrator.initialize()
        assert inner.connections > 0, "where it is allowed, it is asked"


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
async def test_a_redirect_to_another_origin_is_named_and_gets_no_token(configure, transport):
    inner = RawServer(POST=raw_answer(200), GET=raw_answer(200))
    async with inner.listening():
        redirect = raw_answer(307, location=inner.url)
        server = RawServer(**{"GET": redirect, "server/discover": redirect, "initialize": redirect})
        async with server.listening():
            auth = {"type": "bearer", "token": "t0ken"}
            orchestrator = configure({"a": {"transport": transport, "url": server.url, "auth": auth}}, fail_fast=True)
            async with asyncio.timeout(20):
                with pytest.raises(MCPConnectionError, match="it redirects to") as caught:
                    await orchestrator.initialize()
            assert inner.url in caught.value.message
            assert server.requests[0].headers["authorization"] == "Bearer t0ken"
    assert inner.requests == []
