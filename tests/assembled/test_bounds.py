"""S23: whatever a server answers costs that answer at most, and nobody else's time."""

import asyncio
import gc
import gzip
import json
import time
import tracemalloc
from contextlib import asynccontextmanager

import pytest
from mcp_orchestra import MCPConnectionError, MCPOrchestratorException, ToolCallError
from mcp_orchestra.errors import ResourceFetchError
from mcp_orchestra.testing.raw_http import RawServer, event_stream, json_answer, raw_answer
from mcp_orchestra.tool_digest import tool_digest
from rogues import COMMON, Rogue, answer, raw_result

pytestmark = pytest.mark.anyio

TRANSPORTS = ["stdio", "sse", "streamable-http", "events"]
KINDS = {"list": "resources/list", "read": "resources/read", "call": "tools/call"}

everywhere = pytest.mark.parametrize("over", TRANSPORTS)


def state(orchestrator, server_id="rogue"):
    return next(s for s in orchestrator.get_status()["servers"] if s["id"] == server_id)


@pytest.fixture
def facing(configure):
    """Connect to a rogue: ``async with facing(rogue, over) as orchestrator``; the block has 60 seconds."""

    @asynccontextmanager
    async def connected(rogue, over="streamable-http", **fields):
        async with asyncio.timeout(60), rogue.over(over) as reached:
            orchestrator = configure({"rogue": {**reached, "timeout": 50, **fields}})
            await orchestrator.initialize()
            yield orchestrator
            await orchestrator.close()

    return connected


async def ask(orchestrator, kind):
    """Ask for a list, a read or a call, and return the result."""
    match kind:
        case "list":
            return await orchestrator.registry.get_server("rogue").client.list_resources()
        case "read":
            return await orchestrator.read_resource("r:x", server="rogue")
        case _:
            return await orchestrator.call_tool("t")


async def failure(orchestrator, kind):
    with pytest.raises(MCPOrchestratorException) as caught:
        await ask(orchestrator, kind)
    assert isinstance(caught.value, ToolCallError if kind == "call" else ResourceFetchError)
    return caught.value


@asynccontextmanager
async def instead(rogue, scripts):
    """Have other scripts for some methods for the length of the block."""
    honest = {method: rogue.scripts[method] for method in scripts}
    rogue.scripts.update(scripts)
    yield
    rogue.scripts.update(honest)


async def works(orchestrator):
    for kind in KINDS:
        await ask(orchestrator, kind)


# One malformed item


@everywhere
async def test_s23_a_malformed_item_costs_itself_and_not_the_listing(facing, over):
    tools = [{"name": "t", "inputSchema": {"type": "object"}}, {"inputSchema": {}}, {"name": "u"}, 7]
    resources = [
        {"uri": "r:x", "name": "x"},
        {"uri": "r:nameless"},
        {"name": "homeless"},
        {"uri": "r:y", "name": "y", "size": {}},
        {"uri": 1, "name": 2},
        None,
    ]
    rogue = Rogue(**{"tools/list": answer(tools=tools), "resources/list": answer(resources=resources)})
    async with facing(rogue, over) as orchestrator:
        gathered = (await orchestrator.gather_all_resources())["Rogue"]
        assert "error" not in gathered
        found = gathered["resources"]
        assert found["x"]["data"] == "fine"
        assert {key: entry["uri"] for key, entry in found.items() if "error" in entry} == {
            "r:nameless": "r:nameless",
            "homeless": "",
            "y": "r:y",
        }
        assert found["y"]["error"].endswith("(at size)")
        assert [tool.name for tool in await orchestrator.list_tools()] == ["t"]
        assert (await orchestrator.call_tool("t")).content[0].text == "fine"
        assert state(orchestrator)["protocol_errors"] == 8
        assert state(orchestrator)["warning"] == "5 of the 6 items of resources/list are malformed, the first at name"


async def test_a_resource_that_is_listed_in_a_malformed_way_does_not_keep_the_others_from_being_cached(facing):
    asked = []

    def listed(request):
        asked.append(request)
        return answer(resources=[{"uri": "r:x", "name": "x"}, {"uri": "r:nameless"}])(request)

    async with facing(Rogue(**{"resources/list": listed})) as orchestrator:
        first = await orchestrator.gather_all_resources()
        assert await orchestrator.gather_all_resources() == first
        assert len(asked) == 1


async def test_a_content_whose_members_have_other_names_than_the_protocols_is_malformed(facing):
    read = answer(contents=[{"uri": "r:x", "blob": "aa==", "mimeType": "a/b", "mime_type": "c/d"}])
    call = answer(content=[{"type": "image", "data": "aa==", "mime_type": "a/b"}])
    async with facing(Rogue(**{"resources/read": read, "tools/call": call})) as orchestrator:
        assert (await ask(orchestrator, "read")).contents[0].mime_type == "a/b"
        assert (await failure(orchestrator, "call")).context["cause"] == "protocol"


def as_listed(tool):
    """Return a tool of a server's answer as `list_tools` describes it."""
    return {
        "name": tool["name"],
        "title": None,
        "description": tool["description"],
        "input_schema": tool["inputSchema"],
        "output_schema": tool.get("outputSchema"),
        "annotations": None,
    }


async def test_the_first_of_a_servers_tools_with_one_name_counts(facing, caplog):
    schema = {"type": "object"}
    twins = [
        {"name": "t", "description": "first", "inputSchema": schema},
        {"name": "t", "description": "evil", "inputSchema": schema, "outputSchema": {"type": "object"}},
    ]
    async with facing(Rogue(**{"tools/list": answer(tools=twins)})) as orchestrator:
        assert [tool.description for tool in await orchestrator.list_tools()] == ["first"]
        # With the second's schema, the result would have to be structured.
        assert (await orchestrator.call_tool("t")).content[0].text == "fine"
        warning = state(orchestrator)["warning"]
    kept, dropped = (tool_digest(as_listed(one))[:19] for one in twins)
    assert warning == f"tools/list names 't' twice: the first counts, {kept}; dropped is {dropped}"
    assert f"server rogue does not follow the protocol: {warning}" in caplog.text


async def test_tools_with_one_name_that_are_the_same_are_called_so(facing):
    twin = {"name": "t", "description": "d", "inputSchema": {"type": "object", "title": "T"}}
    again = {"inputSchema": {"title": "T", "type": "object"}, "description": "d", "name": "t"}
    async with facing(Rogue(**{"tools/list": answer(tools=[twin, again])})) as orchestrator:
        assert [tool.name for tool in await orchestrator.list_tools()] == ["t"]
        digest = tool_digest(as_listed(twin))[:19]
        assert state(orchestrator)["warning"] == f"tools/list names 't' twice: both are identical, {digest}"


async def test_a_call_of_a_tool_that_is_not_listed_keeps_its_result_whatever_else_is_listed(facing):
    tools = [{"name": "t", "inputSchema": {"type": "object"}}, {"name": "hidden"}]
    async with facing(Rogue(**{"tools/list": answer(tools=tools)})) as orchestrator:
        client = orchestrator.registry.get_server("rogue").client
        assert (await client.call_tool("hidden")).content[0].text == "fine"


async def test_what_calls_need_of_a_listing_is_still_learnt_from_it(facing):
    schema = {"type": "object", "properties": {"where": {"type": "string", "x-mcp-header": "Region"}}}
    tool = {"name": "t", "inputSchema": schema, "outputSchema": {"type": "object", "required": ["n"]}}
    bad = {"name": "bad", "inputSchema": {"type": "object", "x-mcp-header": "Root"}}
    rogue = Rogue(**{"tools/list": answer(tools=[tool, bad]), "tools/call": answer(content=[], structuredContent={})})
    async with facing(rogue) as orchestrator:
        assert [tool.name for tool in await orchestrator.list_tools()] == ["t"]
        with pytest.raises(ToolCallError, match="does not match its schema"):
            await orchestrator.call_tool("t", {"where": "eu"})
        assert rogue.http.requests[-1].headers["mcp-param-region"] == "eu"


# Endless and repeated pages


def endless(request):
    page = int(request["params"].get("cursor", 0))
    return answer(resources=[{"uri": f"r:{page}", "name": str(page)}], nextCursor=str(page + 1))(request)


REPEATED = answer(resources=[{"uri": "r:x", "name": "x"}], nextCursor="again")


@pytest.mark.parametrize(
    ("script", "items", "message"),
    [
        (endless, 100, "resources/list exceeds max_pages=100 (100 items so far); raise max_pages"),
        (REPEATED, 2, "resources/list repeats a page cursor and would never end (2 items so far)"),
    ],
)
async def test_s23_a_listing_without_end_is_an_error_and_its_beginning_is_not_passed_off_as_the_whole(
    facing, configure, script, items, message
):
    async with Rogue(**{"resources/list": script}).over("streamable-http") as sick, Rogue().over("sse") as well:
        orchestrator = configure({"rogue": {**sick, "timeout": 50}, "well": {**well, "timeout": 50}})
        async with asyncio.timeout(60):
            gathered = await orchestrator.gather_all_resources()
            assert gathered["Rogue"]["resources"] == {}
            assert message in gathered["Rogue"]["error"]
            assert "error" not in gathered["Well"]
            error = await failure(orchestrator, "list")
            assert error.context["items"] == items
            assert error.context["server"] == "Rogue"
            await orchestrator.close()


# Depth


@everywhere
async def test_s23_json_of_any_depth_is_the_error_of_its_request_at_once(facing, over):
    members = {
        "list": b'"resources":[{"uri":"r:x","name":"x","_meta":{"a":%s}}]',
        "read": b'"contents":[{"uri":"r:x","text":"","_meta":{"a":%s}}]',
        "call": b'"content":[],"structuredContent":{"a":%s}',
    }
    rogue = Rogue()
    async with facing(rogue, over) as orchestrator:
        await works(orchestrator)
        for depth in (150, 900, 100_000):
            nested = b"[" * depth + b"]" * depth
            for kind, text in members.items():
                deep = raw_result(b"{" + text % nested + b"," + json.dumps(COMMON).encode()[1:])
                async with instead(rogue, {KINDS[kind]: deep}), asyncio.timeout(20):  # and not its own 50 s
                    error = await failure(orchestrator, kind)
                    assert error.context["cause"] == "protocol"
        await works(orchestrator)


# Numbers that JSON does not have


@everywhere
@pytest.mark.parametrize("size", [0, 200_000], ids=["small", "large"])
async def test_s23_a_number_that_json_does_not_have_never_reaches_a_caller(facing, over, size):
    strange = b'{"structuredContent":{"n":NaN,"i":[-Infinity,1e999,{"x":Infinity}],"ok":1.5,"s":"NaN %s"},"content":[],'
    text = strange % (b"x" * size) + json.dumps(COMMON).encode()[1:]
    async with facing(Rogue(**{"tools/call": raw_result(text)}), over) as orchestrator:
        result = await orchestrator.call_tool("t")
        assert result.structured_content == {
            "n": None,
            "i": [None, None, {"x": None}],
            "ok": 1.5,
            "s": "NaN " + "x" * size,
        }


@everywhere
async def test_s23_bytes_that_are_not_utf_8_are_replaced_and_the_next_request_works(facing, over):
    text = raw_result(b'{"contents":[{"uri":"r:x","text":"caf\xe9"}],' + json.dumps(COMMON).encode()[1:])
    async with facing(Rogue(**{"resources/read": text}), over) as orchestrator:
        for _ in range(2):
            result = await orchestrator.read_resource("r:x", server="rogue")
            assert result.contents[0].text == "caf\N{REPLACEMENT CHARACTER}"


# What is no answer


@pytest.mark.parametrize("over", ["stdio", "sse", "streamable-http"])  # on its event stream, any id is the right one
async def test_s23_an_answer_with_a_foreign_id_is_counted_and_its_request_ends_in_time(facing, over):
    rogue = Rogue()
    async with facing(rogue, over, request_timeout=1) as orchestrator:
        await works(orchestrator)

        def foreign(script):
            return lambda request: script({**request, "id": 987_654})

        async with instead(rogue, {method: foreign(rogue.scripts[method]) for method in KINDS.values()}):
            errors = await asyncio.gather(*(failure(orchestrator, kind) for kind in KINDS))
        assert [error.context["cause"] for error in errors] == ["timeout"] * 3
        assert state(orchestrator)["protocol_errors"] == 3
        assert state(orchestrator)["warning"] == "an answer to no request of ours"
        await works(orchestrator)


NOTICES = {
    "notifications": b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"r:x"}}',
    "progress": b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"1","progress":1}}',
    "pings": b'{"jsonrpc":"2.0","id":"p","method":"ping"}',
}


@pytest.mark.parametrize("over", ["stdio", "sse", "events"])
@pytest.mark.parametrize("notice", NOTICES)
async def test_a_server_that_says_other_things_for_ever_does_not_put_the_deadline_off(facing, over, notice):
    stop = asyncio.Event()

    async def chatter(_request):
        while not stop.is_set():
            yield NOTICES[notice]
            await asyncio.sleep(0.001)

    rogue = Rogue()
    async with facing(rogue, over, request_timeout=1) as orchestrator:
        honest, rogue.scripts["resources/read"] = rogue.scripts["resources/read"], chatter
        async with asyncio.timeout(10):
            error = await failure(orchestrator, "read")
        assert error.context["cause"] == "timeout"
        stop.set()
        rogue.scripts["resources/read"] = honest
        await ask(orchestrator, "read")


@pytest.mark.parametrize(
    ("over", "secret"),
    [("stdio", {"env": {"TOKEN": "s3cret-token"}}), ("sse", {"headers": {"X-Token": "s3cret-token"}})],
)
async def test_s42_what_is_no_message_is_counted_and_the_first_of_it_is_shown_redacted(facing, over, secret):
    rogue = Rogue()

    def garbled(request):
        return [b"booting with s3cret-token " + b"x" * 1000, b'{"level":"info"}', honest(request)]

    honest, rogue.scripts["resources/read"] = rogue.scripts["resources/read"], garbled
    async with facing(rogue, over, **secret) as orchestrator:
        await ask(orchestrator, "read")
        found = state(orchestrator)
        assert found["protocol_errors"] == 2
        assert found["warning"].startswith("what it sends is not a message: booting with *** x")
        assert len(found["warning"]) == 300
        assert found["connected"]


async def test_a_server_that_writes_nothing_but_garbage_is_let_go_of(facing):
    rogue = Rogue()
    async with facing(rogue, "stdio") as orchestrator:
        honest = rogue.scripts["resources/read"]
        rogue.scripts["resources/read"] = lambda _request: [b"garbage\n" * 10_000]
        async with asyncio.timeout(30):  # and not its own 50 s
            with pytest.raises(MCPConnectionError) as caught:
                await ask(orchestrator, "read")
        assert caught.value.context["cause"] == "lost"
        assert "10000 lines or events in a row that are not messages" in state(orchestrator)["error"]
        rogue.scripts["resources/read"] = honest
        async with asyncio.timeout(30):
            while not state(orchestrator)["connected"]:
                await asyncio.sleep(0.01)
        await ask(orchestrator, "read")


async def test_the_stream_of_a_call_that_was_given_up_is_not_resumed_for_ever(configure):
    def stream(request):
        return event_stream(f"id: {len(server.requests)}\nretry: 5\ndata: ")

    info = {"name": "rogue", "version": "1"}
    initialized = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    server = RawServer(
        **{
            "server/discover": raw_answer(404),
            "initialize": json_answer(result=initialized),
            **dict.fromkeys(["notifications/initialized", "notifications/cancelled"], raw_answer(202)),
            "tools/list": json_answer(result={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}),
            "tools/call": stream,
            "GET": lambda request: stream(request) if "last-event-id" in request.headers else raw_answer(405),
        }
    )

    def resumed():
        return sum(request.method == "GET" for request in server.requests)

    async with asyncio.timeout(30), server.listening():
        orchestrator = configure({"rogue": {"transport": "streamable-http", "url": server.url, "request_timeout": 0.5}})
        with pytest.raises(ToolCallError, match="no answer within"):
            await orchestrator.call_tool("t")
        while not any(request.message.get("method") == "notifications/cancelled" for request in server.requests):
            await asyncio.sleep(0.01)
        before = resumed()
        assert before > 5  # while somebody waited
        await asyncio.sleep(0.3)  # in which there would be dozens
        assert resumed() <= before + 1
        await orchestrator.close()


# Sizes


@everywhere
async def test_s23_an_answer_that_is_too_large_costs_its_own_request_only(facing, over):
    large = json.dumps("x" * 3_000_000).encode()
    members = {
        "list": b'"resources":[{"uri":"r:x","name":%s}]',
        "read": b'"contents":[{"uri":"r:x","text":%s}]',
        "call": b'"content":[{"type":"text","text":%s}]',
    }
    rogue = Rogue()
    async with facing(rogue, over, max_message_bytes=1_000_000) as orchestrator:
        await works(orchestrator)
        for kind, text in members.items():
            huge = raw_result(b"{" + text % large + b"," + json.dumps(COMMON).encode()[1:])
            async with instead(rogue, {KINDS[kind]: huge}):
                other = "read" if kind != "read" else "list"
                error, _ = await asyncio.gather(failure(orchestrator, kind), ask(orchestrator, other))
                assert "exceeds max_message_bytes=1000000" in error.message
                assert error.context["cause"] == "too_large"
        await works(orchestrator)


@everywhere
async def test_an_answer_of_one_and_a_half_megabytes_is_an_ordinary_answer(facing, over):
    text = "é\n" * 500_000
    async with facing(Rogue(**{"resources/read": answer(contents=[{"uri": "r:x", "text": text}])}), over) as found:
        assert (await ask(found, "read")).contents[0].text == text


@asynccontextmanager
async def answering(rogue, reply):
    """Have a rogue over HTTP answer every kind of request with these bytes for the length of the block."""
    honest = dict(rogue.http.answers)
    rogue.http.answers.update(dict.fromkeys(KINDS.values(), reply))
    yield
    rogue.http.answers.update(honest)


@pytest.mark.parametrize("header", [b"x: " + b"y" * 1_000_000, b"x: y\r\n" * 100_000 + b"x: y"], ids=["long", "many"])
async def test_huge_headers_are_the_error_of_their_request(facing, header):
    rogue = Rogue()
    async with facing(rogue) as orchestrator:
        await works(orchestrator)
        reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + header + b"\r\n\r\n"
        async with answering(rogue, reply), asyncio.timeout(20):  # and not their own 50 s
            for kind in KINDS:
                await failure(orchestrator, kind)
        await works(orchestrator)


async def trickle():
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n"
    while True:
        yield b" "
        await asyncio.sleep(0.05)


async def test_an_answer_that_trickles_in_for_ever_ends_with_the_time_of_its_request(facing):
    rogue = Rogue()
    async with facing(rogue, request_timeout=1) as orchestrator:
        await works(orchestrator)
        async with answering(rogue, lambda _request: trickle()), asyncio.timeout(10):
            errors = await asyncio.gather(*(failure(orchestrator, kind) for kind in KINDS))
        assert [error.context["cause"] for error in errors] == ["timeout"] * 3
        await works(orchestrator)


async def test_s23_a_bomb_costs_no_more_memory_than_an_answer_may_have(facing):
    rogue, bomb = Rogue(), gzip.compress(b'{"jsonrpc":"2.0","id":1,"result":{"x":"' + b"0" * 100_000_000)
    async with facing(rogue, max_message_bytes=1_000_000) as orchestrator:
        await works(orchestrator)
        reply = raw_answer(200, bomb, content_type="application/json", content_encoding="gzip")
        tracemalloc.start()
        try:
            async with answering(rogue, reply):
                for kind in KINDS:
                    error = await failure(orchestrator, kind)
                    assert error.context["cause"] == "too_large"
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()
        await works(orchestrator)


# Nobody else waits


TOO_LONG = 0.75
"""Seconds of CPU: a whole page at once holds the loop for more than a second, in slices it is a tenth of one."""


@asynccontextmanager
async def held_up():
    """Measure for how long the event loop serves nobody: ``async with held_up() as longest``, in seconds in a list.

    In seconds of this process's own work: what other processes of a busy machine do is no fault of ours.
    """
    longest = [0.0]
    gc.collect()

    async def tick():
        last = time.process_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.process_time()
            longest[0] = max(longest[0], now - last)
            last = now

    task = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    longest[0] = 0.0
    yield longest
    task.cancel()


def many_tools(number):
    """As text: were they kept as objects, the garbage collector would have to look at them each time."""
    tools = b",".join(b'{"name":"t%d","inputSchema":{"type":"object"}}' % n for n in range(number))
    return raw_result(b'{"tools":[' + tools + b"]," + json.dumps(COMMON).encode()[1:])


@everywhere
async def test_s23_a_hundred_thousand_tools_on_one_page_hold_nobody_up(facing, over):
    rogue = Rogue(**{"tools/list": many_tools(100_000)})
    async with facing(rogue, over) as orchestrator:
        client = orchestrator.registry.get_server("rogue").client
        async with held_up() as longest:
            with pytest.raises(ResourceFetchError, match=r"exceeds max_items=10000 \(100000 items so far\)"):
                await client.list_tools()
        assert longest[0] < TOO_LONG


async def test_s23_as_many_tools_as_somebody_wants_hold_nobody_up(facing):
    rogue = Rogue(**{"tools/list": many_tools(50_000)})
    async with facing(rogue, max_items=50_000) as orchestrator:
        client = orchestrator.registry.get_server("rogue").client
        async with held_up() as longest:
            assert len((await client.list_tools()).tools) == 50_000
        assert longest[0] < TOO_LONG


@pytest.mark.parametrize("kind", ["read", "call"])
async def test_s23_a_hundred_thousand_contents_hold_nobody_up(facing, kind):
    part = {"read": {"uri": "r:x", "text": "a"}, "call": {"type": "text", "text": "a"}}[kind]
    rogue = Rogue()
    async with facing(rogue) as orchestrator:
        await orchestrator.list_tools()
        rogue.scripts[KINDS[kind]] = answer(**{"contents" if kind == "read" else "content": [part] * 100_000})
        async with held_up() as longest:
            result = await ask(orchestrator, kind)
        assert len(result.contents if kind == "read" else result.content) == 100_000
        assert longest[0] < TOO_LONG
