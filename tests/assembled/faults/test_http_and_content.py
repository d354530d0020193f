"""What servers over HTTP do wrong, and what they send: each fault costs its own question, and nobody else's."""

import asyncio
import json
import random

import psutil
import pytest
from mcp_orchestra import MCPConnectionError, MCPOrchestratorException, ToolCallError
from mcp_orchestra.testing.faults import http, sick_server
from mcp_orchestra.testing.faults.healthy import COMMON, TOOL, URI
from mcp_orchestra.testing.raw_http import RawServer, json_answer, raw_answer
from mcp_orchestra.testing.servers import ScriptedServer

pytestmark = pytest.mark.anyio

LATE, ANSWER = "timeout", "answer"
LIMIT = 1_000_000
GRACE = 1.0
"""Seconds more that a busy machine may take."""

NOTIFICATION = 'data: {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}'

# Fault → what a server answers, what the question ends with, whether the tool may have run. A listing or read that
# fails is a ResourceFetchError and a call a ToolCallError; none of these costs the connection.
FAULTS = {
    # slow loris, accept and hang, headers and hang, endless pings and notifications (table of connections)
    "hang": (http.hang, LATE, "maybe"),
    "headers-then-hang": (http.headers_then_hang, LATE, "maybe"),
    "a-byte-each-0.3-s": (http.drip(0.3), LATE, "maybe"),
    "endless-pings": (http.endless_events(), LATE, "maybe"),
    "endless-notifications": (http.endless_events(NOTIFICATION), LATE, "maybe"),
    "foreign-id": (http.foreign_id, LATE, "maybe"),
    # HTTP statuses, with what they say of delivery
    "401": (http.status(401, www_authenticate="Bearer"), "auth", "no"),
    "403": (http.status(403), "auth", "no"),
    "429": (http.status(429, retry_after="1"), "http", "no"),
    "500": (http.status(500), "http", "maybe"),
    "503": (http.status(503), "http", "maybe"),
    "redirect-off-the-origin": (http.redirect("http://198.51.100.1/mcp"), "http", "maybe"),
    # cut answers
    "cut-body": (http.cut_body, "broken", "maybe"),
    "cut-events": (http.cut_events, "broken", "maybe"),
    # too much: 50 MB resource, gzip bomb
    "huge-body": (http.huge_body(3 * LIMIT), "too_large", "yes"),
    "huge-event": (http.huge_event(3 * LIMIT), "too_large", "yes"),
    "gzip-bomb": (http.gzip_bomb(30 * LIMIT), "too_large", "yes"),
    # malformed shapes, garbage, 100k-deep JSON
    "malformed": (http.malformed, "protocol", "maybe"),
    "garbage": (http.garbage, "protocol", "yes"),
    "deep-JSON": (http.deep_json(), "protocol", None),  # depends on what can be read of it
}
CURSORS = {
    # endless cursor, same cursor: of listings only
    "endless-cursor": (http.endless_cursor, "limit", "None"),
    "repeated-cursor": (http.repeated_cursor, "protocol", "None"),
}
REFUSING = ("401", "403", "429")
"""A server that answers so is left alone for a while: it is not asked again here."""

OPERATIONS = ("list", "read", "call")
CASES = {f"{fault}-{operation}": (*FAULTS[fault], operation) for fault in FAULTS for operation in OPERATIONS}
CASES |= {fault: (*CURSORS[fault], "list") for fault in CURSORS}


def verdict(operation: str, cause: str) -> str:
    return f"{'ToolCallError' if operation == 'call' else 'ResourceFetchError'} {cause}"


async def test_an_http_server_that_misbehaves_costs_its_own_question_in_time(ward, by_http):
    servers = {
        case: await by_http({operation: answer}, max_message_bytes=LIMIT)
        for case, (answer, _, _, operation) in CASES.items()
    }
    sick = await ward(servers)
    since = sick.since()
    found = await sick.ask({case: operation for case, (*_, operation) in CASES.items()})
    assert {case: (one.verdict, one.delivered) for case, one in found.items()} == {
        case: (verdict(operation, cause), found[case].delivered if delivered is None else delivered)
        for case, (_, cause, delivered, operation) in CASES.items()
    }
    assert {case: one.seconds for case, one in found.items() if one.seconds > 1 + GRACE} == {}
    for case in ("huge-body-list", "huge-event-read", "gzip-bomb-call"):
        assert f"max_message_bytes={LIMIT}" in found[case].message
    libraries = ("pydantic", "input_value", "validation error", "httpx", "Traceback", "<html>")
    assert [one.message for one in found.values() if any(word in one.message for word in libraries)] == []
    await asyncio.gather(*(sick.recover(case) for case in CASES if not case.startswith(REFUSING)))
    assert {case for case, at in sick.since().items() if at != since[case]} == set()


async def test_a_forgotten_session_is_made_anew_for_whatever_is_asked(ward, by_http):
    """A restart of a legacy server: refused before anything ran, so the question is asked again, a call as well."""
    forgotten = set()

    def forget(request):
        method = request.message["method"]
        if method in forgotten:
            return http.healthy(request)
        forgotten.add(method)
        return http.forgotten_session(request)

    servers = {one: await by_http({one: forget}, legacy=True, request_timeout=5) for one in OPERATIONS}
    sick = await ward(servers)
    found = await sick.ask({one: one for one in OPERATIONS})
    assert {one.verdict for one in found.values()} == {"answer"}
    assert forgotten == {"resources/list", "resources/read", "tools/call"}


@pytest.mark.parametrize("status", [200, 400])
async def test_a_capability_that_a_server_requires_of_us_is_named_and_no_call_is_made_again_for_that(
    configure, stack, status
):
    """Another server may list or read, but a server's own word never moves a call: a tool that has begun may say so."""
    data = {"requiredCapabilities": {"elicitation": {"form": {}}, "sampling": {}}}
    lacking = json_answer(status, error={"code": -32021, "message": "Missing capability", "data": data})
    faults = dict.fromkeys(["resources/list", "resources/read", "tools/call"], lacking)
    first = await stack.enter_async_context(sick_server(faults).listening())
    spare = await stack.enter_async_context(sick_server().listening())
    fields = {"transport": "streamable-http", "domains": ["d"], "timeout": 10}
    orchestrator = configure(
        {"first": {**fields, "url": first.url, "priority": 1}, "spare": {**fields, "url": spare.url, "priority": 2}}
    )
    async with asyncio.timeout(20):
        assert (await orchestrator.get_resources_for_domain("d"))["0"]["data"] == "well"
        orchestrator.cache.invalidate()
        assert (await orchestrator.read_resource(URI)).contents[0].text == "well"
        client = orchestrator.registry.get_server("first").client
        questions = {
            "resources/list": client.list_resources(),
            "resources/read": orchestrator.read_resource(URI, server="first"),
            "tools/call": orchestrator.call_tool(TOOL, domain="d"),
        }
        for method, question in questions.items():
            with pytest.raises(MCPOrchestratorException, match="not offered: elicitation, sampling") as caught:
                await question
            facts = [caught.value.context[key] for key in ("server_id", "operation", "cause", "code", "delivered")]
            assert facts == ["first", method, "rejected", -32021, "no"]
    called = [sum(one.message.get("method") == "tools/call" for one in server.requests) for server in (first, spare)]
    assert called == [1, 0]
    assert {server["connected"] for server in orchestrator.get_status()["servers"]} == {True}
    await orchestrator.close()


FIFTY = 50_000_000


async def of_fifty_megabytes(_request):
    """Answer with so much that is not kept anywhere here."""
    yield raw_answer(200, content_type="application/json", content_length=str(FIFTY))
    yield b'{"jsonrpc": "2.0", "result": {"x": "'
    while True:
        yield b"x" * 65_536


async def test_s23_a_message_of_fifty_megabytes_costs_neither_memory_nor_time_of_others(ward, by_stdio, by_http):
    servers = {f"line-{one}": by_stdio("huge-line", on=one, size=FIFTY) for one in OPERATIONS}
    servers |= {f"body-{one}": await by_http({one: of_fifty_megabytes}) for one in OPERATIONS}
    servers |= {f"bomb-{one}": await by_http({one: http.gzip_bomb(4 * FIFTY)}) for one in OPERATIONS}
    sick = await ward({name: {**fields, "request_timeout": 10} for name, fields in servers.items()})
    process = psutil.Process()
    before = process.memory_info().rss
    found = await sick.ask({name: name.partition("-")[2] for name in sick.sick})
    grown = process.memory_info().rss - before
    assert {name: one.verdict for name, one in found.items()} == {
        name: verdict(name.partition("-")[2], "too_large") for name in sick.sick
    }
    assert [one.message for one in found.values() if "max_message_bytes=10485760" not in one.message] == []
    assert grown < len(servers) * 3 * 10_485_760  # all of them at once


async def test_s22_an_empty_text_is_a_cursor(configure):
    def page(request):
        cursor = request.message["params"].get("cursor")
        item = {"uri": f"a://{cursor}", "name": str(cursor)}
        end = {} if cursor == "" else {"nextCursor": ""}
        return json_answer(result={**COMMON, "resources": [item], **end})(request)

    async with RawServer(**{"resources/list": page}).listening() as server:
        orchestrator = configure({"a": {"transport": "streamable-http", "url": server.url, "resource_contents": False}})
        async with asyncio.timeout(10):
            assert list((await orchestrator.gather_all_resources())["A"]["resources"]) == ["None", ""]
        await orchestrator.close()


async def test_nothing_is_fetched_that_a_schema_refers_to(configure):
    async with RawServer().listening() as stranger:
        schema = {"type": "object", "properties": {"x": {"$ref": f"{stranger.url}/schema.json"}}, "$ref": stranger.url}
        tool = {"name": TOOL, "inputSchema": schema, "outputSchema": schema}
        answers = {
            "tools/list": json_answer(result={**COMMON, "tools": [tool]}),
            "tools/call": json_answer(result={**COMMON, "content": [], "structuredContent": {"x": 1}}),
        }
        async with RawServer(**answers).listening() as server:
            orchestrator = configure({"a": {"transport": "streamable-http", "url": server.url, "timeout": 5}})
            async with asyncio.timeout(20):
                assert [tool.name for tool in await orchestrator.list_tools()] == [TOOL]
                with pytest.raises(MCPOrchestratorException):
                    await orchestrator.call_tool(TOOL, {"x": 1})
            await orchestrator.close()
        assert stranger.requests == []


async def test_a_hundred_listings_over_servers_that_race_are_the_same_to_the_byte(configure, serving):
    servers = [ScriptedServer(f"s{number}", resources=2) for number in range(3)]
    fields = {server.name: {**await serving(server), "priority": 1} for server in servers}
    orchestrator = configure(fields, resource_contents=False)
    chance = random.Random(4)
    seen = set()
    async with asyncio.timeout(30):
        for _ in range(100):
            for server in servers:
                server.delay = chance.choice([0, 0, 0.002])
            orchestrator.cache.invalidate()
            found = await orchestrator.gather_all_resources(), await orchestrator.list_tools()
            seen.add(json.dumps([found[0], [vars(tool) for tool in found[1]]], default=str))
    assert len(seen) == 1


async def test_an_address_of_another_origin_for_the_messages_of_sse_is_refused(configure):
    async with RawServer().listening() as stranger:
        event = f"event: endpoint\ndata: {stranger.url}"
        async with RawServer(GET=http.endless_events(event)).listening() as server:
            orchestrator = configure({"a": {"transport": "sse", "url": server.url, "timeout": 5}}, fail_fast=True)
            with pytest.raises(MCPConnectionError) as caught:
                await orchestrator.initialize()
        reason = caught.value.context["failed"]["a"]
        assert stranger.url.removesuffix("/mcp") in reason
        assert server.url.removesuffix("/mcp") in reason
        assert stranger.requests == []


async def test_off_the_origin_no_request_and_no_credentials_arrive(ward, by_http):
    async with RawServer().listening() as stranger:
        redirect, headers = http.redirect(stranger.url), {"Authorization": "Bearer canary-4711"}
        sick = await ward({one: await by_http({one: redirect}, headers=headers) for one in OPERATIONS})
        found = await sick.ask({one: one for one in OPERATIONS})
        assert {one: found[one].verdict for one in OPERATIONS} == {one: verdict(one, "http") for one in OPERATIONS}
        assert stranger.connections == 0


async def test_a_resource_that_is_asked_for_by_uri_is_named_in_the_error(ward, by_http):
    sick = await ward({"a": await by_http({"read": http.hang})})
    with pytest.raises(MCPOrchestratorException) as caught:
        await sick.orchestrator.read_resource(URI, server="a")
    assert {key: caught.value.context[key] for key in ("server", "server_id", "operation", "uri", "cause")} == {
        "server": "A",
        "server_id": "a",
        "operation": "resources/read",
        "uri": URI,
        "cause": "timeout",
    }


async def test_a_tool_that_calls_itself_harmless_is_not_repeated_for_that(configure, stack):
    """What a server says of its tools is not to be trusted: a call that may have run goes nowhere else."""
    harmless = {"readOnlyHint": True, "idempotentHint": True, "destructiveHint": False}
    tool = {"name": TOOL, "inputSchema": {"type": "object"}, "annotations": harmless}
    listing = json_answer(result={**COMMON, "tools": [tool]})
    first = await stack.enter_async_context(
        sick_server({"tools/list": listing, "tools/call": http.cut_body}).listening()
    )
    spare = await stack.enter_async_context(sick_server({"tools/list": listing}).listening())
    fields = {"transport": "streamable-http", "domains": ["d"], "timeout": 10}
    orchestrator = configure(
        {"first": {**fields, "url": first.url, "priority": 1}, "spare": {**fields, "url": spare.url, "priority": 2}}
    )
    with pytest.raises(ToolCallError) as caught:
        await orchestrator.call_tool(TOOL, domain="d")
    assert caught.value.context["delivered"] == "maybe"
    called = [sum(one.message.get("method") == "tools/call" for one in server.requests) for server in (first, spare)]
    assert called == [1, 0]
    await orchestrator.close()


async def test_names_that_look_like_others_are_other_names_and_do_no_harm_in_messages(ward, by_http):
    names = ["read", "re\N{CYRILLIC SMALL LETTER A}d", "re\N{RIGHT-TO-LEFT OVERRIDE}da", "re\N{ZERO WIDTH SPACE}ad"]
    names += ["read" * 33, ""]  # longer than the protocol's 128 characters, and none at all
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    faults = {"tools/list": json_answer(result={**COMMON, "tools": tools}), "call": http.cut_body}
    sick = await ward({"a": await by_http(faults)})
    found = [tool.tool for tool in await sick.orchestrator.list_tools() if tool.server_id == "a"]
    assert found == names
    for name in names:
        with pytest.raises(ToolCallError) as caught:
            await sick.orchestrator.call_tool(name, server="a")
        assert caught.value.message.isprintable()
