"""Sick servers and servers that are started on first use, through the whole orchestrator: S10, S11, S20, S42."""

import asyncio
from contextlib import suppress
from itertools import chain, repeat

import psutil
import pytest
from mcp_orchestra import NoMCPAvailableError, ResourceFetchError, ToolCallError
from mcp_orchestra.testing.servers import ScriptedServer, serve
from starlette.responses import PlainTextResponse

pytestmark = pytest.mark.anyio


def state(orchestrator, server_id):
    return next(s for s in orchestrator.get_status()["servers"] if s["id"] == server_id)


def children():
    alive = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may end just now
            alive += [child.pid] if "mcp_orchestra.testing.servers" in " ".join(child.cmdline()) else []
    return alive


class Moody:
    """A streamable HTTP server in front of which somebody may answer with an HTTP status."""

    def __init__(self, server):
        self.app = server.app()
        self.statuses = repeat(None)
        self.headers = {}
        self.turned_away = 0

    async def __call__(self, scope, receive, send):
        status = next(self.statuses) if scope["type"] == "http" and scope["method"] == "POST" else None
        if status is None:
            await self.app(scope, receive, send)
        else:
            self.turned_away += 1
            await PlainTextResponse("no", status, self.headers)(scope, receive, send)


@pytest.fixture
async def moody(configure):
    """An orchestrator that is connected to a moody server and to a steady one, which share a domain."""
    first, second = ScriptedServer("moody"), ScriptedServer("steady", tools=["count"])
    app = Moody(first)
    async with serve(app) as url, serve(second) as other:
        common = {"transport": "streamable-http", "domains": ["d"], "timeout": 5}
        orchestrator = configure(
            {"moody": {"url": url, **common, "priority": 1}, "steady": {"url": other, **common, "priority": 2}},
            resource_cache_ttl=1,
        )
        await orchestrator.initialize()
        yield orchestrator, app
        await orchestrator.close()


async def test_s42_a_server_that_answers_with_errors_is_left_alone_and_comes_back_by_itself(moody, until):
    orchestrator, app = moody
    app.statuses = repeat(500)
    for _ in range(5):
        assert "res" in str(await orchestrator.get_resources_for_domain("d"))
        orchestrator.cache.invalidate()
    sick = state(orchestrator, "moody")
    assert (sick["connected"], sick["state"]) == (True, "circuit_open")
    assert "500" in sick["error"]
    assert 0 <= sick["retry_in"] <= 1
    turned_away = app.turned_away
    with pytest.raises(ToolCallError) as caught:
        await orchestrator.call_tool("echo", server="moody")
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("circuit_open", "no")
    assert app.turned_away == turned_away
    app.statuses = repeat(None)
    well = await until(lambda: (now := state(orchestrator, "moody"))["state"] == "ready" and now, seconds=5)
    assert (well["error"], well["retry_in"]) == (None, None)
    assert 0.1 <= well["share"] < 1


async def test_s42_a_server_that_has_had_too_much_is_left_alone_and_another_answers(moody, until):
    orchestrator, app = moody
    app.headers = {"Retry-After": "1"}
    app.statuses = chain([429], repeat(None))
    for _ in range(20):
        found = await orchestrator.get_resources_for_domain("d")
        assert all("steady" in resource["uri"] for resource in found.values())
        orchestrator.cache.invalidate()
    assert app.turned_away == 1
    assert 0 < state(orchestrator, "moody")["retry_in"] <= 1
    await until(lambda: state(orchestrator, "moody")["state"] == "ready", seconds=5)
    found = await orchestrator.get_resources_for_domain("d")
    assert all("moody" in resource["uri"] for resource in found.values())


async def test_s42_credentials_that_are_refused_later_on_are_shown_and_initialize_tries_again(moody, until):
    orchestrator, app = moody
    app.statuses = repeat(401)
    with pytest.raises(ToolCallError):
        await orchestrator.call_tool("echo", server="moody")
    refused = await until(lambda: (now := state(orchestrator, "moody"))["state"] == "auth_required" and now, seconds=1)
    assert not refused["connected"]
    await asyncio.sleep(0.5)
    turned_away = app.turned_away
    for _ in range(10):
        await orchestrator.get_resources_for_domain("d")
        orchestrator.cache.invalidate()
    assert app.turned_away == turned_away
    app.statuses = repeat(None)
    await orchestrator.initialize()
    assert state(orchestrator, "moody")["state"] == "ready"


@pytest.fixture
def lazy(configure, stdio):
    """Make an orchestrator with servers over stdio that are started on first use."""

    def make(*names, **fields):
        common = {"start": "on_first_use", "timeout": 20, **fields}
        servers = {name: {**stdio(name=name, resources=2, tools=name), "domains": [name], **common} for name in names}
        return configure(servers, fail_fast=True)

    return make


@pytest.mark.parametrize("question", ["gather", "tools", "domain", "read", "call"])
async def test_s20_a_question_starts_what_is_started_on_first_use(lazy, question):
    orchestrator = lazy("echo", "pid")
    await orchestrator.initialize()
    assert children() == []
    assert {state(orchestrator, name)["state"] for name in ("echo", "pid")} == {"pending"}
    match question:
        case "gather":
            assert list(await orchestrator.gather_all_resources()) == ["Echo", "Pid"]
        case "tools":
            assert [tool.name for tool in await orchestrator.list_tools()] == ["echo", "pid"]
        case "domain":
            assert len(await orchestrator.get_resources_for_domain("pid")) == 2
            assert state(orchestrator, "echo")["state"] == "pending"
        case "read":
            assert (await orchestrator.read_resource("res://pid/0")).contents[0].text == "pid text 0"
        case _:
            assert not (await orchestrator.call_tool("pid")).is_error
    assert state(orchestrator, "pid")["state"] == "ready"


async def test_what_nobody_needs_is_let_go_of_and_started_again_for_a_call_without_starting_the_others(lazy, until):
    orchestrator = lazy("echo", "pid", idle_stop=1)
    await orchestrator.list_tools()
    assert len(children()) == 2
    await until(lambda: not children(), seconds=10)
    assert {state(orchestrator, name)["state"] for name in ("echo", "pid")} == {"pending"}
    assert not (await orchestrator.call_tool("pid")).is_error
    assert len(children()) == 1
    assert state(orchestrator, "echo")["state"] == "pending"


async def test_what_is_cached_of_a_server_that_was_let_go_of_is_served_without_starting_it(lazy, until):
    orchestrator = lazy("echo", idle_stop=0.5)
    assert "stale" not in (await orchestrator.gather_all_resources())["Echo"]
    await until(lambda: not children(), seconds=10)
    gathered = await orchestrator.gather_all_resources()
    assert (len(gathered["Echo"]["resources"]), gathered["Echo"]["stale"]) == (2, True)
    assert len(await orchestrator.get_resources_for_domain("echo")) == 2
    assert (children(), state(orchestrator, "echo")["state"]) == ([], "pending")


async def test_s11_what_cannot_be_started_on_first_use_fails_the_question_and_not_the_start(configure):
    missing = {"transport": "stdio", "command": "no-such-command-at-all", "start": "on_first_use", "domains": ["d"]}
    orchestrator = configure({"missing": missing}, fail_fast=True)
    await orchestrator.initialize()
    assert state(orchestrator, "missing")["state"] == "pending"
    with pytest.raises((ResourceFetchError, NoMCPAvailableError)):
        await orchestrator.get_resources_for_domain("d")
    assert state(orchestrator, "missing")["state"] == "failed"
