"""Listing and calling tools, and reading one resource: beyond the document, with the same promises."""

import asyncio
import os
import signal

import pytest
from mcp_orchestra import (
    NoMCPAvailableError,
    ResourceFetchError,
    ToolCallError,
    ToolNotFoundError,
    UnknownServerError,
)
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


def text(result):
    return result.content[0].text


async def test_tools_that_two_servers_share_are_prefixed_and_others_not(configure, serving):
    orchestrator = configure(
        {
            "a": await serving(ScriptedServer("a", tools=["echo", "count"])),
            "b": await serving(ScriptedServer("b", tools=["echo", "pid"])),
        }
    )
    tools = {tool.name: (tool.server_id, tool.tool) for tool in await orchestrator.list_tools()}
    assert tools == {
        "a__echo": ("a", "echo"),
        "count": ("a", "count"),
        "b__echo": ("b", "echo"),
        "pid": ("b", "pid"),
    }
    assert text(await orchestrator.call_tool("a__echo", {"text": "hi"})) == "a: hi"
    assert text(await orchestrator.call_tool("b__echo", {"text": "hi"})) == "b: hi"
    assert text(await orchestrator.call_tool("b__pid")).isdigit()
    assert text(await orchestrator.call_tool("echo", {"text": "hi"}, server="B")) == "b: hi"


async def test_a_tool_named_like_a_prefixed_one_cannot_take_its_place(configure, serving):
    orchestrator = configure(
        {
            "a": await serving(ScriptedServer("a", tools=["echo"])),
            "b": await serving(ScriptedServer("b", tools=["echo", "a__echo"])),
        }
    )
    names = [tool.name for tool in await orchestrator.list_tools()]
    assert sorted(names) == ["a__echo", "b__a__echo", "b__echo"]
    assert text(await orchestrator.call_tool("a__echo")) == "a: "


async def test_a_name_that_several_servers_have_is_refused_unless_something_decides(configure, serving):
    first, second = ScriptedServer("first", tools=["echo"]), ScriptedServer("second", tools=["echo"])
    orchestrator = configure(
        {
            "second": {**await serving(second), "priority": 2, "domains": ["d"], "capabilities": ["c"]},
            "first": {**await serving(first), "priority": 1, "domains": ["d"]},
        }
    )
    with pytest.raises(ToolNotFoundError, match="first__echo"):
        await orchestrator.call_tool("echo")
    assert text(await orchestrator.call_tool("echo", domain="d")) == "first: "
    assert text(await orchestrator.call_tool("echo", capability="c")) == "second: "


async def test_an_unknown_tool_names_near_ones_and_an_unknown_server_the_known(configure, serving):
    orchestrator = configure({"a": await serving(ScriptedServer("a", tools=["get_weather"]))})
    with pytest.raises(ToolNotFoundError, match="get_weather"):
        await orchestrator.call_tool("get_wether")
    with pytest.raises(UnknownServerError, match="there are: a"):
        await orchestrator.call_tool("get_weather", server="nobody")


async def test_a_tool_that_appeared_after_the_listing_is_found(configure, serving):
    server = ScriptedServer("a", tools=["echo"])
    orchestrator = configure({"a": await serving(server)})
    assert [tool.name for tool in await orchestrator.list_tools()] == ["echo"]
    server.tools.append("count")
    assert text(await orchestrator.call_tool("count")) == "1"


async def test_a_tool_whose_only_server_was_killed_is_called_there_again_although_others_are_connected(
    configure, serving, stdio, until
):
    async with asyncio.timeout(30):
        other = await serving(ScriptedServer("other", tools=["echo"]))
        orchestrator = configure({"killed": stdio(name="killed", tools="pid"), "other": other})
        first = int((await orchestrator.call_tool("pid")).content[0].text)
        os.kill(first, signal.SIGKILL)
        await until(lambda: not orchestrator.registry.get_server("killed").connected)
        explained = await orchestrator.explain(tool="pid")
        assert (explained.answers, "first try to connect" in explained.why) == (None, True)
        assert int((await orchestrator.call_tool("pid")).content[0].text) != first


async def test_what_a_tool_reports_is_a_result_and_asks_nobody_else(configure, serving):
    first, second = ScriptedServer("first", tools=["fail"]), ScriptedServer("second", tools=["fail"])
    orchestrator = configure(
        {
            "first": {**await serving(first), "priority": 1, "domains": ["d"]},
            "second": {**await serving(second), "priority": 2, "domains": ["d"]},
        }
    )
    result = await orchestrator.call_tool("fail", domain="d")
    assert result.is_error
    assert text(result) == "it failed"
    assert second.requests["tools/call"] == 0


async def test_a_call_that_was_not_delivered_goes_to_the_next_server(configure, serving):
    spare = ScriptedServer("spare", tools=["echo"])
    async with ServerProcess(name="gone") as process:
        orchestrator = configure(
            {
                "gone": {
                    "transport": "streamable-http",
                    "url": process.url,
                    "priority": 1,
                    "domains": ["d"],
                    "timeout": 9,
                },
                "spare": {**await serving(spare), "priority": 2, "domains": ["d"]},
            }
        )
        assert text(await orchestrator.call_tool("echo", {"text": "1"}, domain="d")) == "gone: 1"
        await process.kill()
        assert text(await orchestrator.call_tool("echo", {"text": "2"}, domain="d")) == "spare: 2"


async def test_a_call_that_may_have_run_is_not_repeated_anywhere(configure, serving):
    spare = ScriptedServer("spare", tools=["crash"])
    async with ServerProcess(name="fragile") as process:
        orchestrator = configure(
            {
                "fragile": {"transport": "streamable-http", "url": process.url, "priority": 1, "domains": ["d"]},
                "spare": {**await serving(spare), "priority": 2, "domains": ["d"]},
            }
        )
        with pytest.raises(ToolCallError) as caught:
            await orchestrator.call_tool("crash", domain="d")
    assert caught.value.context["delivered"] == "maybe"
    assert [attempt["server_id"] for attempt in caught.value.context["attempts"]] == ["fragile"]
    assert spare.requests["tools/call"] == 0


async def test_a_call_has_a_deadline_and_is_not_repeated_after_it(configure, serving):
    server = ScriptedServer("a", tools=["slow"])
    orchestrator = configure({"a": await serving(server)})
    with pytest.raises(ToolCallError, match=r"no answer within 0\.2 s") as caught:
        await orchestrator.call_tool("slow", {"seconds": 30}, timeout=0.2)
    assert caught.value.context["cause"] == "timeout"
    assert server.requests["tools/call"] == 1


async def test_the_tools_of_a_modern_server_are_listed_before_its_first_call(configure, serving):
    server = ScriptedServer("a", tools=["echo"])
    orchestrator = configure({"a": await serving(server)})
    await orchestrator.initialize()
    client = orchestrator.registry.get_server("a").client
    await client.call_tool("echo", {"text": "x"})
    await client.call_tool("echo", {"text": "x"})
    assert server.requests["tools/list"] == 1


async def test_s41_the_client_of_a_server_works_from_any_task(configure, serving, stdio):
    orchestrator = configure(
        {
            "http": await serving(ScriptedServer("http", resources=25, page_size=10)),
            "stdio": stdio(name="stdio", resources=2),
        }
    )
    await orchestrator.initialize()

    async def use(server_id):
        client = orchestrator.registry.get_server(server_id).client
        tools = await client.list_tools()
        resources = await client.list_resources()
        read = await client.read_resource(resources.resources[0].uri)
        called = await client.call_tool("echo", {"text": "x"})
        return len(tools.tools), len(resources.resources), read.contents[0].text, text(called)

    answers = await asyncio.gather(*(asyncio.create_task(use(i)) for i in ("http", "stdio") * 5))
    assert set(answers) == {(6, 25, "http text 0", "http: x"), (6, 2, "stdio text 0", "stdio: x")}


async def test_a_resource_is_read_from_its_owner(configure, serving):
    orchestrator = configure(
        {
            "a": {**await serving(ScriptedServer("a", resources={"x://1": "a1", "x://both": "a"})), "priority": 1},
            "b": {**await serving(ScriptedServer("b", resources={"x://2": "b2", "x://both": "b"})), "priority": 2},
        }
    )
    assert (await orchestrator.read_resource("x://2")).contents[0].text == "b2"
    assert (await orchestrator.read_resource("x://both")).contents[0].text == "a"
    assert (await orchestrator.read_resource("x://both", server="b")).contents[0].text == "b"
    await orchestrator.gather_all_resources()
    assert (await orchestrator.read_resource("x://2")).contents[0].text == "b2"


async def test_a_resource_that_nobody_has_is_an_error_with_every_attempt(configure, serving):
    orchestrator = configure({"a": await serving(ScriptedServer("a")), "b": await serving(ScriptedServer("b"))})
    with pytest.raises(ResourceFetchError) as caught:
        await orchestrator.read_resource("x://nowhere")
    assert len(caught.value.context["attempts"]) == 2


async def test_without_any_server_there_is_nothing_to_list_or_read(configure):
    async with ServerProcess(name="gone") as process:
        orchestrator = configure({"gone": {"transport": "streamable-http", "url": process.url, "timeout": 9}})
        await orchestrator.initialize()
        await process.kill()
    while orchestrator.registry.get_server("gone").connected:
        await asyncio.sleep(0.02)
    with pytest.raises(NoMCPAvailableError):
        await orchestrator.list_tools()
    with pytest.raises(NoMCPAvailableError):
        await orchestrator.read_resource("x://1")
    with pytest.raises(ToolCallError) as caught:
        await orchestrator.call_tool("echo")
    assert caught.value.context["delivered"] == "no"
