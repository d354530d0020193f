"""S33 and S34 where several orchestrators share a cache: what is one's own, and what need be fetched only once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from mcp_orchestra.testing.servers import ScriptedServer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

pytestmark = pytest.mark.anyio

persistent = pytest.mark.parametrize("backend", ["disk", "redis"], indirect=True)


def by_token(servers):
    """One address under which everybody finds a server of his own: whose token it is decides."""
    apps = {f"Bearer {token}": server.app() for token, server in servers.items()}

    @asynccontextmanager
    async def lifespan(_):
        async with AsyncExitStack() as stack:
            for app in apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    async def answer(scope, receive, send):
        token = dict(scope["headers"]).get(b"authorization", b"").decode()
        await apps.get(token, PlainTextResponse("who are you?", 401))(scope, receive, send)

    return Starlette(routes=[Mount("/", app=answer)], lifespan=lifespan)


def data(gathered):
    return {entry["data"] for part in gathered.values() for entry in part["resources"].values()}


@pytest.mark.parametrize(("scope", "era"), [("private", "auto"), ("public", "auto"), ("absent", "legacy")])
async def test_s33_nobody_is_served_what_another_principal_was_told(deploy, serving, backend, scope, era):
    hints = {} if scope == "absent" else {"scope": scope}  # the legacy era has no hints
    servers = {
        token: ScriptedServer(token, tools=(f"of_{token}",), resources={"res://it": f"for {token}"}, **hints)
        for token in ("alice", "bob")
    }
    reached = await serving(by_token(servers))
    fields = {
        token: {"a": {**reached, "mode": era, "domains": ["d"], "headers": {"Authorization": f"Bearer {token}"}}}
        for token in servers
    }
    for _ in range(2):  # and once more after a restart
        orchestrators = {token: deploy(fields[token]) for token in servers}
        for _ in range(3):
            for token, orchestrator in orchestrators.items():
                assert data(await orchestrator.gather_all_resources()) == {f"for {token}"}
                assert (await orchestrator.get_resources_for_domain("d"))["it"]["data"] == f"for {token}"
                assert orchestrator.cache.get("resources:a")["it"]["data"] == f"for {token}"
                assert [tool.name for tool in await orchestrator.list_tools()] == [f"of_{token}"]
        gathers = [one.gather_all_resources() for one in orchestrators.values() for _ in range(50)]
        assert [data(answer) for answer in await asyncio.gather(*gathers)] == 50 * [{"for alice"}] + 50 * [{"for bob"}]
        for orchestrator in orchestrators.values():
            await orchestrator.close()
    expected = 2 if backend == "memory" else 1
    assert [server.requests["resources/list"] for server in servers.values()] == [expected, expected]


async def test_s33_what_one_principal_drops_another_keeps(deploy, serving):
    servers = {token: ScriptedServer(token, resources={"res://it": f"for {token}"}) for token in ("alice", "bob")}
    reached = await serving(by_token(servers))
    alice, bob = (deploy({"a": {**reached, "headers": {"Authorization": f"Bearer {token}"}}}) for token in servers)
    for orchestrator in (alice, bob):
        await orchestrator.gather_all_resources()
    alice.cache.invalidate("resources:a")
    assert data(await bob.gather_all_resources()) == {"for bob"}
    assert data(await alice.gather_all_resources()) == {"for alice"}
    assert {token: server.requests["resources/list"] for token, server in servers.items()} == {"alice": 2, "bob": 1}


@persistent
async def test_s34_two_orchestrators_that_share_a_cache_fetch_once(deploy, serving, until):
    servers = [ScriptedServer(name, resources=2) for name in ("a", "b")]
    fields = {server.name: await serving(server) for server in servers}
    orchestrators = [deploy(fields), deploy(fields)]
    for orchestrator in orchestrators:
        await orchestrator.initialize()
    for server in servers:
        server.gate.clear()
    gathers = [
        asyncio.create_task(orchestrator.gather_all_resources()) for orchestrator in orchestrators for _ in range(100)
    ]
    await until(lambda: all(server.requests["resources/list"] for server in servers))
    for server in servers:
        server.gate.set()
    answers = await asyncio.gather(*gathers)
    assert all(answer == answers[0] for answer in answers)
    assert len(data(answers[0])) == 4
    assert [server.requests["resources/list"] for server in servers] == [1, 1]
    assert [server.requests["resources/read"] for server in servers] == [2, 2]


@persistent
async def test_s34_when_the_one_that_fetches_is_closed_another_does(deploy, serving, until):
    server = ScriptedServer("a")
    fields = {"a": await serving(server)}
    first, second = deploy(fields), deploy(fields)
    for orchestrator in (first, second):
        await orchestrator.initialize()
    server.gate.clear()
    leading = asyncio.create_task(first.gather_all_resources())
    await until(lambda: server.requests["resources/list"] == 1)
    waiting = asyncio.create_task(second.gather_all_resources())
    closing = asyncio.create_task(first.close())
    await until(lambda: server.requests["resources/list"] == 2)
    server.gate.set()
    assert len(data(await waiting)) == 3
    await closing
    assert "closed" in (await leading)["A"]["error"]


@persistent
async def test_s33_what_one_orchestrator_invalidates_another_fetches_again(deploy, serving, until):
    server = ScriptedServer("a", resources={"res://it": "old"})
    fields = {"a": await serving(server)}
    first, second = deploy(fields), deploy(fields)
    for orchestrator in (first, second):
        assert data(await orchestrator.gather_all_resources()) == {"old"}
    assert server.requests["resources/list"] == 1
    server.resources["res://it"] = "new"
    first.cache.invalidate("resources:a")

    async def new():
        return data(await second.gather_all_resources()) == {"new"}

    await until(new)
    assert data(await first.gather_all_resources()) == {"new"}
    assert server.requests["resources/list"] == 2


@persistent
async def test_s33_what_one_orchestrator_is_told_the_other_learns(deploy, serving, until):
    server = ScriptedServer("a", tools=("put",), resources={"res://it": "old"})
    fields = {"a": await serving(server)}
    first, second = deploy(fields), deploy(fields)
    for orchestrator in (first, second):
        assert data(await orchestrator.gather_all_resources()) == {"old"}
    for text in ("new", "newer"):
        await server.put("res://it", text)
        for orchestrator in (first, second):

            async def told(one=orchestrator, text=text):
                return data(await one.gather_all_resources()) == {text}

            await until(told)
