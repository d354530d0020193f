"""S33 and S35 across a restart of the orchestrator: what a cache on disk or in Redis answers, and what it must not."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from mcp_orchestra import NoMCPAvailableError
from mcp_orchestra.testing.servers import ScriptedServer, free_port, serve

pytestmark = pytest.mark.anyio

persistent = pytest.mark.parametrize("backend", ["disk", "redis"], indirect=True)


def stats(orchestrator):
    return orchestrator.get_status()["cache_stats"]


def at(port, **fields):
    return {"transport": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp", **fields}


@pytest.fixture
def ports():
    return {"a": free_port(), "b": free_port()}


@pytest.fixture
def filled(deploy, ports):
    """Gather once from servers that are gone afterwards: ``fields, gathered = await filled()``."""

    async def fill(*names, ttl_ms=0, **rules):
        fields = {name: at(port) for name, port in ports.items()}
        names = names or tuple(fields)
        async with asyncio.timeout(20), AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(serve(ScriptedServer(name, ttl_ms=ttl_ms), port=ports[name]))
            first = deploy({name: fields[name] for name in names}, **rules)
            gathered = await first.gather_all_resources()
            await first.close()
        return fields, gathered

    return fill


async def test_s33_what_was_gathered_before_a_restart_is_a_hit_after_it_where_it_outlives_the_process(
    deploy, serving, backend
):
    server = ScriptedServer("a")
    fields = {"a": {**await serving(server), "domains": ["d"]}}
    first = deploy(fields)
    gathered = await first.gather_all_resources()
    await first.close()
    second = deploy(fields)
    await second.initialize()
    assert await second.gather_all_resources() == gathered
    assert await second.get_resources_for_domain("d") == gathered["A"]["resources"]
    assert second.cache.get("resources:a") == gathered["A"]["resources"]
    outlives = backend != "memory"
    assert server.requests["resources/list"] == (1 if outlives else 2)
    assert stats(second)["misses"] == (0 if outlives else 1)
    assert stats(second)["servers"]["a"]["fetches"] == (0 if outlives else 1)


async def test_s33_the_tools_of_before_a_restart_are_known_after_it_and_can_be_called(deploy, serving, backend, until):
    server = ScriptedServer("a", tools=("echo", "count"))
    fields = {"a": await serving(server)}
    first = deploy(fields)
    tools = await first.list_tools()
    await first.close()
    second = deploy(fields)
    assert await second.list_tools() == tools
    assert server.requests["tools/list"] == (2 if backend == "memory" else 1)
    for _ in range(3):
        assert (await second.call_tool("echo", {"text": "hello"})).content[0].text == "a: hello"
    assert server.requests["tools/list"] == 2  # a result is checked against a schema that came over its connection
    await until(lambda: server.notifier.open_streams)
    await server.offer("pid")

    async def known():
        return [tool.name for tool in await second.list_tools()] == ["echo", "count", "pid"]

    await until(known)
    assert not (await second.call_tool("pid")).is_error


@pytest.mark.parametrize(
    ("uri", "texts"),
    [
        ("res://a/new", {"0": "a text 0", "1": "a text 1", "2": "a text 2", "new": "put"}),
        ("res://a/1", {"0": "a text 0", "1": "put", "2": "a text 2"}),
    ],
    ids=["added", "changed"],
)
@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_s33_what_is_put_after_a_restart_is_noticed(deploy, serving, until, era, uri, texts):
    server = ScriptedServer("a", tools=("put",))
    fields = {"a": {**await serving(server), "mode": era}}
    first = deploy(fields)
    await first.gather_all_resources()
    await first.close()
    second = deploy(fields)
    await second.initialize()
    assert len((await second.gather_all_resources())["A"]["resources"]) == 3
    if era == "auto":
        await until(lambda: server.notifier.open_streams)
    await second.call_tool("put", {"uri": uri, "text": "put"})

    async def noticed():
        resources = (await second.gather_all_resources())["A"]["resources"]
        return {name: one["data"] for name, one in resources.items()} == texts

    await until(noticed)


@persistent
@pytest.mark.parametrize("fail_fast", [False, True])
async def test_a_restarted_orchestrator_answers_before_any_server_is_connected(
    deploy, ports, filled, silent, until, fail_fast
):
    fields, gathered = await filled(fail_fast=fail_fast)
    sockets = [silent(port) for port in ports.values()]
    second = deploy(fields, fail_fast=fail_fast, timeout=60)
    assert await second.gather_all_resources() == gathered
    assert not second.get_status()["initialized"]
    assert [server["connected"] for server in second.get_status()["servers"]] == [False, False]
    assert all("stale" not in part for part in (await second.gather_all_resources()).values())
    assert stats(second)["hits"] == 4
    for listener in sockets:
        listener.close()
    a, b = ScriptedServer("a", resources={"res://a/new": "new"}), ScriptedServer("b")
    async with serve(a, port=ports["a"]), serve(b, port=ports["b"]):

        def connected():
            return all(server["connected"] for server in second.get_status()["servers"])

        # A start that failed meanwhile is made once more by the next question.
        async def up():
            await second.gather_all_resources()
            return connected()

        await until(up, seconds=30)
        assert await second.gather_all_resources() == gathered  # it is fresh for another five minutes
        second.cache.invalidate()
        assert list((await second.gather_all_resources())["A"]["resources"]) == ["new"]
        await second.close()


@persistent
async def test_s35_what_is_older_than_its_time_is_marked_when_a_restarted_orchestrator_answers(
    deploy, ports, filled, silent, until
):
    fields, gathered = await filled(ttl_ms=50, max_stale=600)
    for port in ports.values():
        silent(port)
    second = deploy(fields, max_stale=600, timeout=60)
    await until(lambda: all(it["stale"] for it in second.cache.describe(["resources:a", "resources:b"]).values()))
    answer = await second.gather_all_resources()
    assert answer == {name: {**part, "stale": True} for name, part in gathered.items()}
    assert stats(second)["stale"] == 2
    assert not second.get_status()["initialized"]


@persistent
async def test_s33_what_is_older_than_its_time_is_not_served_by_a_restarted_orchestrator_without_max_stale(
    deploy, ports, filled, silent, until
):
    fields, _ = await filled(ttl_ms=50)
    for port in ports.values():
        silent(port)
    second = deploy(fields, timeout=0.5)
    await until(lambda: all(it["stale"] for it in second.cache.describe(["resources:a", "resources:b"]).values()))
    with pytest.raises(NoMCPAvailableError):
        await second.gather_all_resources()


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_s20_a_restarted_orchestrator_without_a_cache_that_outlives_it_waits_for_its_servers(
    deploy, ports, filled, silent
):
    fields, _ = await filled(max_stale=600)
    for port in ports.values():
        silent(port)
    with pytest.raises(NoMCPAvailableError, match="no answer within"):
        await deploy(fields, max_stale=600, timeout=0.5).gather_all_resources()


@persistent
async def test_s20_a_restarted_orchestrator_waits_if_one_of_its_servers_is_not_cached(deploy, ports, filled, silent):
    fields, gathered = await filled("a", max_stale=600)
    silent(ports["a"])
    async with serve(ScriptedServer("b"), port=ports["b"]):
        second = deploy(fields, max_stale=600, timeout=1)
        answer = await second.gather_all_resources()
        assert second.get_status()["initialized"]
        assert set(answer) == {"A", "B"}
        assert answer["A"] == {**gathered["A"], "stale": True}  # S35: it is down now
        assert answer["B"]["resources"]["0"]["data"] == "b text 0"
        await second.close()


@persistent
async def test_s14_nothing_is_left_of_an_orchestrator_that_answered_before_it_was_connected(
    deploy, ports, filled, silent, until, leftovers
):
    fields, gathered = await filled()
    for port in ports.values():
        silent(port)
    before = leftovers()
    for _ in range(3):
        second = deploy(fields, timeout=60)
        assert await second.gather_all_resources() == gathered
        await second.close()
        assert not second.get_status()["initialized"]
    await until(lambda: leftovers() == before)
