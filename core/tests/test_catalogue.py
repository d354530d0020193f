"""Which tools there are, under which names, and which server a call reaches."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.cache import ResourceCache
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.config.names import check_id
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tool_pins import ToolPins
from mcp_orchestra.connection.listing import Listing
from mcp_orchestra.connection.tools import facts_of
from mcp_orchestra.errors import (
    ConfigurationError,
    MCPConnectionError,
    NoMCPAvailableError,
    ToolCallError,
    ToolNotFoundError,
)
from mcp_orchestra.offers import Offers
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.routing import Router
from mcp_orchestra.tool_digest import tool_digest
from mcp_orchestra.types import Question
from mcp_orchestra_memory import MemoryStore
from mcp_orchestra_routing.priority import ByPriority
from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations

pytestmark = pytest.mark.anyio


class Server:
    """A server's client as the catalogue sees it."""

    request_timeout = 30.0

    def __init__(self, server_id, *tools):
        self.server_id = server_id
        self.tools = list(tools)
        self.fails = None
        """Raised instead of listing."""
        self.refuses = None
        """Raised instead of calling."""
        self.listed = 0
        self.has_listed = True
        self.called = []

    @property
    def client(self):
        return self

    async def revive(self, _seconds):
        return True

    async def collect_tools(self):
        self.listed += 1
        if self.fails is not None:
            raise self.fails
        return Listing([tool if isinstance(tool, Tool) else described(tool) for tool in self.tools])

    async def call_tool(self, name, arguments, *, timeout, approve):
        if approve is not None:
            await approve()
        self.called.append((name, arguments, timeout))
        if self.refuses is not None:
            raise self.refuses
        return CallToolResult(content=[TextContent(text=f"{self.server_id}/{name}")])


class Servers(dict):
    """The connections as the catalogue sees them."""

    closed = False

    def __init__(self, registry, servers):
        super().__init__(servers)
        self.registry = registry

    async def available(self):
        if not (servers := self.registry.get_available_servers()):
            raise NoMCPAvailableError("no server is connected")
        return servers

    async def revive(self, _servers):
        return False

    def states(self):
        return {server_id: {"state": "backing_off", "error": "refused"} for server_id in self}


def described(name):
    return Tool(name=name, input_schema={})


def catalogue(*servers, fail_fast=False, offers=None):
    """Return a catalogue of these servers, in descending priority."""
    registry = MCPRegistry()
    for number, server in enumerate(servers):
        registry.register_server(server.server_id, MCPServerConfig(name=server.server_id.upper(), priority=number + 1))
        registry.mark_connected(server.server_id, server)
    return Catalogue(
        registry=registry,
        connections=Servers(registry, {server.server_id: server for server in servers}),
        cache=ResourceCache(store=MemoryStore()),
        router=Router(ByPriority()),
        fail_fast=fail_fast,
        offers=offers or Offers(),
    )


async def call(tools, name, *, servers=None, question=None):
    """Call a tool by its name and return who answered, as ``server/tool``."""
    infos = [info for info in tools.registry.get_all_servers() if servers is None or info.server_id in servers]
    answer = await tools.call(name, {"x": 1}, infos, question, 5.0)
    return answer.content[0].text


def is_valid_id(server_id):
    problems = Problems()
    check_id(server_id, problems)
    try:
        problems.raise_if_any()
    except ConfigurationError:
        return False
    return True


# Few letters and many underscores, so that ids, names and prefixed names collide as often as possible.
IDS = st.text(alphabet="ab_-.", min_size=1, max_size=4).filter(is_valid_id)
NAMES = st.text(alphabet="ab_", max_size=6) | st.builds("{}__{}".format, IDS, st.text(alphabet="ab_", max_size=3))


@settings(deadline=None)
@given(st.dictionaries(IDS, st.lists(NAMES, max_size=5), min_size=1, max_size=4))
def test_every_tool_has_a_name_of_its_own_which_leads_back_to_it(offered):
    servers = [Server(server_id, *names) for server_id, names in offered.items()]
    tools = catalogue(*servers)

    async def check() -> None:
        listed = await tools.tools()
        assert {(info.server_id, info.tool) for info in listed} == {
            (server_id, name) for server_id, names in offered.items() for name in names
        }
        assert len({info.name for info in listed}) == len(listed)
        for info in listed:
            assert await call(tools, info.name) == f"{info.server_id}/{info.tool}"
            # At its own server it is reached by its own name too, unless that is another's name with the prefix.
            if info.tool not in {f"{info.server_id}__{other}" for other in offered[info.server_id]}:
                assert await call(tools, info.tool, servers=[info.server_id]) == f"{info.server_id}/{info.tool}"

    asyncio.run(check())


async def test_a_tool_keeps_its_name_while_nobody_else_has_one_like_it():
    tools = catalogue(Server("a", "echo", "count"), Server("b", "echo"))
    assert [info.name for info in await tools.tools()] == ["a__echo", "count", "b__echo"]


async def test_a_tool_is_described_as_its_server_describes_it():
    tool = Tool(
        name="t",
        title="T",
        description="d",
        input_schema={"type": "object"},
        output_schema={"type": "object"},
        annotations=ToolAnnotations(read_only_hint=True),
    )
    (info,) = await catalogue(Server("a", tool)).tools()
    assert (info.server, info.server_id, info.title, info.description) == ("A", "a", "T", "d")
    assert (info.input_schema, info.output_schema) == ({"type": "object"}, {"type": "object"})
    assert info.annotations == {"read_only_hint": True}


async def test_what_a_server_lists_twice_is_one_tool():
    assert [info.name for info in await catalogue(Server("a", "echo", "echo")).tools()] == ["echo"]


async def test_a_call_passes_its_arguments_and_its_time_on():
    server = Server("a", "echo")
    await call(catalogue(server), "echo")
    assert server.called == [("echo", {"x": 1}, 5.0)]


async def test_s32_listings_are_kept():
    server = Server("a", "echo")
    tools = catalogue(server)
    for _ in range(3):
        await tools.tools()
        await call(tools, "echo")
    assert server.listed == 1


async def test_a_tool_that_nobody_seems_to_have_is_looked_for_once_more():
    server, other = Server("a", "echo"), Server("b", "other")
    tools = catalogue(server, other)
    await tools.tools()
    server.tools.append("new")
    assert await call(tools, "new") == "a/new"
    with pytest.raises(ToolNotFoundError, match="did you mean 'echo'") as caught:
        await call(tools, "ecko")
    assert caught.value.context == {"tool": "ecko", "delivered": "no", "near": ["echo"]}
    assert (server.listed, other.listed) == (2, 2)  # a name that somebody made up does not keep them busy


async def test_a_server_that_cannot_list_its_tools_is_left_out_and_asked_again():
    good, bad = Server("good", "echo"), Server("bad", "other")
    bad.fails = MCPConnectionError("busy", {"cause": "rejected", "code": -32603})
    tools = catalogue(good, bad)
    assert [info.name for info in await tools.tools()] == ["echo"]
    bad.fails = None
    assert [info.name for info in await tools.tools()] == ["echo", "other"]


async def test_with_fail_fast_a_server_that_cannot_list_its_tools_is_an_error():
    good, bad = Server("good", "echo"), Server("bad", "other")
    bad.fails = MCPConnectionError("busy", {"cause": "timeout"})
    with pytest.raises(MCPConnectionError, match="busy"):
        await catalogue(good, bad, fail_fast=True).tools()


async def test_a_tool_that_may_be_where_nothing_could_be_listed_is_not_said_to_be_unknown():
    good, bad = Server("good", "echo"), Server("bad", "other")
    bad.fails = MCPConnectionError("busy", {"cause": "timeout", "delivered": "maybe"})
    tools = catalogue(good, bad)
    assert await call(tools, "echo") == "good/echo"
    with pytest.raises(ToolCallError, match="busy") as caught:
        await call(tools, "other")
    assert not isinstance(caught.value, ToolNotFoundError)
    assert (caught.value.context["delivered"], caught.value.context["tool"]) == ("no", "other")


async def test_a_server_that_is_down_keeps_the_names_of_its_tools():
    """Else a name would pass to whoever else has one like it, at the moment its owner goes away."""
    tools = catalogue(Server("a", "echo", "count"), Server("b", "echo"))
    await tools.tools()
    tools.registry.mark_disconnected("a", "refused")
    assert [info.name for info in await tools.tools()] == ["b__echo"]
    with pytest.raises(ToolNotFoundError, match="several servers"):
        await call(tools, "echo")
    with pytest.raises(ToolCallError, match="is connected"):
        await call(tools, "a__echo")
    assert await call(tools, "b__echo") == "b/echo"


async def test_a_server_that_is_down_is_connected_again_for_a_tool_that_only_it_has():
    class Reviving(Servers):
        async def revive(self, servers):
            for info in servers:
                tools.registry.mark_connected(info.server_id, self[info.server_id])
            return True

    a, b = Server("a", "echo"), Server("b", "count")
    tools = catalogue(a, b)
    await tools.tools()
    tools.registry.mark_disconnected("a", "refused")
    with pytest.raises(ToolCallError, match="is connected") as caught:
        await call(tools, "echo")
    assert not isinstance(caught.value, ToolNotFoundError)
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("lost", "no")
    tools.connections = Reviving(tools.registry, tools.connections)
    assert await call(tools, "echo") == "a/echo"
    assert (a.listed, b.listed) == (1, 1)


async def test_a_server_that_does_not_list_its_tools_soon_holds_up_no_call_of_what_another_one_has(monkeypatch):
    monkeypatch.setattr("mcp_orchestra.catalogue._PATIENCE_SECONDS", 0.05)
    good, slow = Server("good", "echo"), Server("slow", "count")
    gate, collect = asyncio.Event(), slow.collect_tools
    asked = 0

    async def collect_tools():
        nonlocal asked
        asked += 1
        await gate.wait()
        return await collect()

    slow.collect_tools = collect_tools
    tools = catalogue(good, slow)
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await call(tools, "echo") == "good/echo"
        assert asked == 1  # it was waited for once
        calling = asyncio.create_task(call(tools, "count"))  # this may be where only the slow one can say
        while asked == 1:
            await asyncio.sleep(0)
        gate.set()
        assert await calling == "slow/count"


async def test_a_server_that_lists_its_tools_late_is_still_called_for_those_it_had(monkeypatch):
    monkeypatch.setattr("mcp_orchestra.catalogue._PATIENCE_SECONDS", 0.05)
    first, second = Server("first", "echo"), Server("second", "echo")
    tools = catalogue(first, second)
    await tools.tools()
    tools.cache.invalidate("tools:first")

    async def collect_tools():
        await asyncio.Event().wait()

    first.collect_tools = collect_tools
    async with asyncio.timeout(10):
        with pytest.raises(ToolNotFoundError, match="several servers"):
            await call(tools, "echo")
        assert await call(tools, "echo", question=Question(kind="domain", value="d")) == "first/echo"


async def test_a_server_that_lists_its_tools_late_is_called_for_none_while_it_is_not_known_what_they_are(monkeypatch):
    monkeypatch.setattr("mcp_orchestra.catalogue._PATIENCE_SECONDS", 0.05)
    first, second = Server("first", "echo"), Server("second", "echo", "count")
    tools = catalogue(first, second, offers=Offers(pins(first, second)))
    await tools.tools()
    tools.cache.invalidate("tools:first")
    first.tools = [Tool(name="echo", description="another one", input_schema={})]
    gate, collect = asyncio.Event(), first.collect_tools

    async def collect_tools():
        await gate.wait()
        return await collect()

    first.collect_tools = collect_tools
    async with asyncio.timeout(10):
        assert await call(tools, "echo", question=Question(kind="domain", value="d")) == "second/echo"
        gate.set()
        with pytest.raises(ToolCallError, match="server first is not the one that was approved"):
            await call(tools, "first__echo")
    assert first.called == []


async def test_a_tool_that_is_gone_when_it_is_looked_at_again_is_not_called():
    server = Server("a", "echo")
    tools = catalogue(server, offers=Offers(pins(server)))
    called = server.call_tool

    async def call_tool(name, arguments, *, timeout, approve):
        tools.cache.invalidate("tools:a")  # as when it was connected anew in between
        server.tools.clear()
        return await called(name, arguments, timeout=timeout, approve=approve)

    server.call_tool = call_tool
    with pytest.raises(ToolNotFoundError, match="does not list the tool 'echo' any more") as caught:
        await call(tools, "echo")
    assert (caught.value.context["delivered"], server.called) == ("no", [])


async def test_a_call_goes_by_no_listing_that_others_cached_before_the_server_was_connected():
    server = Server("a", "echo")
    tools = catalogue(server, offers=Offers(pins(server)))
    tools.cache.set("tools:a", {"tools": [facts_of(described("echo"))]})
    server.tools = [Tool(name="echo", description="another one", input_schema={})]
    assert await call(tools, "echo") == "a/echo"
    server.has_listed = False
    with pytest.raises(ToolCallError, match="is not the one that was approved"):
        await call(tools, "echo")
    assert len(server.called) == 1


async def test_what_others_cached_besides_the_fields_of_a_tool_is_not_looked_at():
    server = Server("a", "echo")
    tools = catalogue(server, offers=Offers(pins(server)))
    tools.cache.set("tools:a", {"tools": [{**facts_of(described("echo")), "icons": []}]})
    assert [tool.name for tool in await tools.tools()] == ["echo"]


async def test_a_second_look_finds_the_tool_as_it_was_approved():
    server = Server("a", Tool(name="echo", description="another one", input_schema={}))
    tools = catalogue(server, offers=Offers(pins(Server("a", "echo"))))
    assert await tools.tools() == []
    server.tools = ["echo"]
    assert await call(tools, "echo") == "a/echo"


async def test_a_listing_is_looked_at_once_however_often_it_is_used(monkeypatch):
    server, digested = Server("a", "echo", "count"), []
    approved = pins(server)
    monkeypatch.setattr("mcp_orchestra.offers.tool_digest", lambda tool: digested.append(tool) or tool_digest(tool))
    for offers, expected in ((Offers(), 0), (Offers(approved), 2)):
        tools = catalogue(server, offers=offers)
        tools.cache.set("tools:a", {"tools": [facts_of(described(name)) for name in server.tools]})
        for _ in range(3):
            assert len(await tools.tools()) == 2
            assert await call(tools, "echo") == "a/echo"
        assert len(digested) == expected


@pytest.mark.parametrize("junk", [[], [7], [{"name": "echo"}], [{**facts_of(described("echo")), "name": ["echo"]}]])
async def test_whatever_is_cached_as_a_listing_is_no_tool_that_was_approved(junk):
    server = Server("a", "echo")
    tools = catalogue(server, offers=Offers(pins(server)))
    not_json = {**facts_of(described("echo")), "title": float("nan")}
    tools.cache.set("tools:a", {"tools": [*junk, not_json]})
    assert await tools.tools() == []
    assert tools.offers.last("a").not_as_pinned == {"echo": "changed"}


def pins(*servers):
    """Return pins for these servers' tools as they are."""
    digests = {
        server.server_id: {name: tool_digest(facts_of(described(name))) for name in server.tools} for server in servers
    }
    return ToolPins(file=Path("pins.json"), policy="block", servers=digests)


async def test_looking_for_a_tool_takes_no_longer_than_the_call_may():
    server = Server("a", "echo")

    async def collect_tools():
        await asyncio.sleep(1e6)

    server.collect_tools = collect_tools
    tools = catalogue(server)
    with pytest.raises(ToolCallError, match=r"was not found within 0\.01 s") as caught:
        await tools.call("echo", None, tools.registry.get_all_servers(), None, 0.01)
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("timeout", "no")
    await tools.cache.aclose()


async def test_a_server_that_has_no_tools_is_not_asked_again():
    server = Server("a")
    server.fails = MCPConnectionError("Method not found", {"cause": "rejected", "code": -32601})
    tools = catalogue(server)
    assert await tools.tools() == []
    assert await tools.tools() == []
    assert server.listed == 1


async def test_a_name_that_several_have_is_refused_with_the_names_to_use():
    servers = [Server("a", "echo"), Server("b", "echo")]
    with pytest.raises(ToolNotFoundError, match="a__echo, b__echo") as caught:
        await call(catalogue(*servers), "echo")
    assert caught.value.context["candidates"] == ["a", "b"]
    assert [server.called for server in servers] == [[], []]


QUESTION = Question(kind="domain", value="d")


async def test_a_question_decides_between_several():
    tools = catalogue(Server("a", "other"), Server("b", "echo"), Server("c", "echo"))
    assert await call(tools, "echo", question=QUESTION) == "b/echo"


async def test_a_call_that_was_not_delivered_goes_to_the_next():
    first, second = Server("a", "echo"), Server("b", "echo")
    first.refuses = ToolCallError("refused", {"delivered": "no", "cause": "refused"})
    assert await call(catalogue(first, second), "echo", question=QUESTION) == "b/echo"


@pytest.mark.parametrize(
    "context", [{"delivered": "maybe", "cause": "lost"}, {"delivered": "no", "cause": "rejected"}, {}]
)
async def test_a_call_that_may_have_been_delivered_goes_nowhere_else(context):
    first, second = Server("a", "echo"), Server("b", "echo")
    first.refuses = ToolCallError("cut", context)
    with pytest.raises(ToolCallError, match="cut") as caught:
        await call(catalogue(first, second), "echo", question=QUESTION)
    assert [attempt["server_id"] for attempt in caught.value.context["attempts"]] == ["a"]
    assert second.called == []


async def test_when_nobody_could_be_reached_every_attempt_is_told():
    servers = [Server(server_id, "echo") for server_id in "abc"]
    for server in servers:
        server.refuses = ToolCallError(f"{server.server_id} refused", {"delivered": "no", "cause": "refused"})
    with pytest.raises(ToolCallError, match="c refused") as caught:
        await call(catalogue(*servers), "echo", question=QUESTION)
    reasons = [attempt["reason"] for attempt in caught.value.context["attempts"]]
    assert reasons == ["a refused", "b refused", "c refused"]


async def test_with_nobody_connected_there_is_nothing_to_list_and_nothing_was_delivered():
    tools = catalogue(Server("a", "echo"))
    tools.registry.mark_disconnected("a", "refused")
    with pytest.raises(NoMCPAvailableError):
        await tools.tools()
    with pytest.raises(ToolCallError, match="is connected") as caught:
        await call(tools, "echo")
    assert (caught.value.context["delivered"], caught.value.context["cause"]) == ("no", "lost")


async def test_a_name_with_the_id_of_a_server_that_may_not_be_asked_is_not_found_elsewhere():
    tools = catalogue(Server("a", "echo"), Server("b", "echo"))
    with pytest.raises(ToolNotFoundError):
        await call(tools, "a__echo", servers=["b"])


async def test_a_tool_that_carries_the_id_of_its_server_is_found_by_its_own_name_there_and_nowhere_else():
    server = Server("a", "a__find", "b__find")
    tools = catalogue(server, Server("b", "echo"))
    assert [info.name for info in await tools.tools()] == ["a__a__find", "a__b__find", "echo"]
    assert await call(tools, "a__find") == "a/a__find"
    assert server.listed == 1
    with pytest.raises(ToolNotFoundError):  # a name with the prefix of b must never reach a
        await call(tools, "b__find")
    assert await call(tools, "b__find", servers=["a"]) == "a/b__find"


async def test_a_question_does_not_lead_to_a_namesake_at_another_server():
    tools = catalogue(Server("a", "echo"), Server("b", "a__echo"), Server("c", "a__echo"))
    with pytest.raises(ToolNotFoundError):
        await call(tools, "a__echo", servers=["b", "c"], question=QUESTION)
