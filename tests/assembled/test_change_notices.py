"""S33: what a server tells of its changes is in the next answer, over every transport, in both eras, on every backend.

The time to live is five minutes throughout, so nothing here is noticed because it expired.
"""

import asyncio

import pytest
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio

TOOLS = ("echo", "put", "offer")


@pytest.fixture(params=["auto", "legacy"])
def era(request):
    return request.param


@pytest.fixture
async def telling(configure, serving, stdio, transport, era, cache):
    """An orchestrator over one server that changes when its tools are called."""
    if transport == "stdio":
        fields = stdio(name="a", tools=",".join(TOOLS))
    else:
        fields = await serving(ScriptedServer("a", tools=TOOLS), transport)
    orchestrator = configure({"a": {**fields, "mode": era, "timeout": 20}}, cache=cache)
    await orchestrator.initialize()
    return orchestrator


async def texts(orchestrator):
    resources = (await orchestrator.gather_all_resources())["A"]["resources"]
    return {entry["uri"]: entry["data"] for entry in resources.values()}


async def names(orchestrator):
    return {tool.name for tool in await orchestrator.list_tools()}


async def becomes(ask, expected):
    """Ask until the answer is the expected one: over HTTP a notice and an answer come by different ways."""
    try:
        async with asyncio.timeout(20):
            while await ask() != expected:
                await asyncio.sleep(0.01)
    except TimeoutError:
        assert await ask() == expected


async def streams(server, count):
    """Wait until the server has so many streams open to tell of changes."""
    async with asyncio.timeout(10):
        while server.notifier.open_streams != count:
            await asyncio.sleep(0.01)


async def test_s33_a_resource_that_is_added_is_in_the_next_gather(telling):
    before = await texts(telling)
    assert len(before) == 3
    for i in range(3):
        await telling.call_tool("put", {"uri": f"res://a/new{i}", "text": "new"})
        before[f"res://a/new{i}"] = "new"
        await becomes(lambda: texts(telling), before)


async def test_s33_a_resource_whose_contents_change_is_new_in_the_next_gather(telling):
    before = await texts(telling)
    for i in range(3):
        await telling.call_tool("put", {"uri": "res://a/1", "text": f"version {i}"})
        await becomes(lambda version=i: texts(telling), {**before, "res://a/1": f"version {i}"})


async def test_s33_a_tool_that_is_added_is_in_the_next_listing(telling):
    assert await names(telling) == {"echo", "put", "offer"}
    await telling.call_tool("offer", {"name": "count"})
    await becomes(lambda: names(telling), {"echo", "put", "offer", "count"})


async def test_s33_what_has_not_changed_is_not_fetched_again(configure, serving, era, cache):
    server = ScriptedServer("a", tools=TOOLS)
    orchestrator = configure({"a": {**await serving(server), "mode": era}}, cache=cache)
    await texts(orchestrator)
    await streams(server, 2 if era == "auto" else 0)
    before = await texts(orchestrator)
    await names(orchestrator)
    asked = server.requests.copy()
    await server.offer("count")
    await becomes(lambda: names(orchestrator), {"echo", "put", "offer", "count"})
    assert await texts(orchestrator) == before
    await server.put("res://a/1", "new text")
    await becomes(lambda: texts(orchestrator), {**before, "res://a/1": "new text"})
    await names(orchestrator)
    listings = {method: server.requests[method] - asked[method] for method in ("resources/list", "tools/list")}
    assert listings == {"resources/list": 1, "tools/list": 1}


@pytest.mark.parametrize("ending", ["end_streams", "break_streams"])
@pytest.mark.parametrize("http", ["sse", "streamable-http"])
async def test_s33_streams_that_end_are_opened_again_and_what_went_unheard_is_found(
    configure, serving, cache, http, ending
):
    server = ScriptedServer("a", tools=TOOLS)
    orchestrator = configure({"a": await serving(server, http)}, cache=cache)
    before = await texts(orchestrator)
    await streams(server, 2)
    getattr(server.notifier, ending)()
    server.resources["res://a/unheard"] = "of"
    await becomes(lambda: texts(orchestrator), {**before, "res://a/unheard": "of"})
    await streams(server, 2)
    await server.put("res://a/1", "heard")
    await becomes(lambda: texts(orchestrator), {**before, "res://a/unheard": "of", "res://a/1": "heard"})


@pytest.mark.parametrize("http", ["sse", "streamable-http"])
async def test_s33_a_server_that_was_restarted_is_asked_anew_and_tells_anew(configure, era, caches, http):
    assert list(caches) == ["memory", "disk", "redis"]

    async def all_read(expected):
        for orchestrator in orchestrators:
            await becomes(lambda one=orchestrator: texts(one), expected)

    async def all_are(connected):
        async with asyncio.timeout(20):
            while any(one.registry.get_server("a").connected != connected for one in orchestrators):
                await asyncio.sleep(0.01)

    async with ServerProcess(http, name="a", tools=",".join(TOOLS)) as process:
        fields = {"transport": http, "url": process.url, "mode": era, "timeout": 20}
        orchestrators = [configure({"a": fields}, cache=cache) for cache in caches.values()]
        for orchestrator in orchestrators:
            await orchestrator.initialize()
        before = await texts(orchestrators[0])
        await all_read(before)
        await orchestrators[0].call_tool("put", {"uri": "res://a/new", "text": "new"})
        await all_read({**before, "res://a/new": "new"})
        await process.kill()
        await all_are(connected=False)
        await process.start()
        await all_are(connected=True)
        await all_read(before)
        await orchestrators[0].call_tool("put", {"uri": "res://a/1", "text": "newer"})
        await all_read({**before, "res://a/1": "newer"})
