"""S20 to S24 and S34: what a gather and a domain query return."""

import asyncio
import base64
import json

import pytest
from mcp_orchestra import MCPServerConfig, NoMCPAvailableError, ResourceFetchError
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


async def test_s20_gathering_and_asking_initialise_first(configure, serving):
    fields = {**await serving(ScriptedServer("a")), "domains": ["d"]}
    assert set(await configure({"a": fields}).gather_all_resources()) == {"A"}
    assert len(await configure({"a": fields}).get_resources_for_domain("d")) == 3


async def test_s21_a_gather_has_the_documented_shape_in_priority_order(configure, serving):
    orchestrator = configure(
        {
            "late": {**await serving(ScriptedServer("late", resources={"res://l": "text"})), "priority": 20},
            "tie_one": {**await serving(ScriptedServer("t1", resources=1)), "priority": 5, "domains": ["products"]},
            "tie_two": {**await serving(ScriptedServer("t2", resources=1)), "priority": 5, "capabilities": ["x"]},
        }
    )
    gathered = await orchestrator.gather_all_resources()
    assert list(gathered) == ["Tie_One", "Tie_Two", "Late"]
    assert gathered["Late"] == {
        "priority": 20,
        "domains": [],
        "capabilities": [],
        "resources": {
            "l": {
                "uri": "res://l",
                "name": "l",
                "mime_type": "text/plain",
                "data": "text",
                "contents": [{"uri": "res://l", "mime_type": "text/plain", "text": "text"}],
            }
        },
    }
    assert gathered["Tie_One"]["domains"] == ["products"]
    assert gathered["Tie_Two"]["capabilities"] == ["x"]


async def test_s21_a_failed_fetch_keeps_its_entry_and_its_reason(configure, serving):
    orchestrator = configure(
        {"good": await serving(ScriptedServer("good")), "bad": {**await serving(failing_lists()), "timeout": 5}}
    )
    gathered = await orchestrator.gather_all_resources()
    assert len(gathered["Good"]["resources"]) == 3
    assert gathered["Bad"]["resources"] == {}
    assert "resources/list failed" in gathered["Bad"]["error"]


async def test_s21_fail_fast_raises_the_first_failure_with_its_server(configure, serving):
    orchestrator = configure(
        {"good": await serving(ScriptedServer("good")), "bad": await serving(failing_lists())}, fail_fast=True
    )
    with pytest.raises(ResourceFetchError) as caught:
        await orchestrator.gather_all_resources()
    assert caught.value.context["server"] == "Bad"


async def test_s22_all_pages_of_two_servers_are_read(configure, serving, stdio):
    orchestrator = configure(
        {
            "a": await serving(ScriptedServer("a", resources=25, page_size=10)),
            "b": stdio(name="b", resources=25, page_size=10),
        }
    )
    gathered = await orchestrator.gather_all_resources()
    everything = [entry for server in gathered.values() for entry in server["resources"].values()]
    assert len(everything) == 50
    assert sorted(entry["data"] for entry in everything) == sorted(f"{s} text {i}" for s in "ab" for i in range(25))


async def test_s22_resources_that_share_a_name_are_kept_under_their_uris(configure, serving):
    server = ScriptedServer("a", resources={"x://one/name": "1", "x://two/name": "2", "x://three/other": "3"})
    orchestrator = configure({"a": await serving(server)})
    resources = (await orchestrator.gather_all_resources())["A"]["resources"]
    assert {key: entry["data"] for key, entry in resources.items()} == {
        "x://one/name": "1",
        "x://two/name": "2",
        "other": "3",
    }


async def test_s22_a_blob_has_no_data_but_contents(configure, serving):
    orchestrator = configure({"a": await serving(ScriptedServer("a", resources={"x://bin": b"\x00\xff"}))})
    entry = (await orchestrator.gather_all_resources())["A"]["resources"]["bin"]
    assert entry["data"] is None
    assert base64.b64decode(entry["contents"][0]["blob"]) == b"\x00\xff"


async def test_s22_a_resource_that_cannot_be_read_is_kept_with_its_error_and_not_cached(configure, serving):
    server = ScriptedServer("a", resources={"x://one": "1", "x://two": "2"})
    orchestrator = configure({"a": await serving(vanishing(server, "x://two"))})
    resources = (await orchestrator.gather_all_resources())["A"]["resources"]
    assert resources["one"]["data"] == "1"
    assert "Unknown resource" in resources["two"]["error"]
    assert "data" not in resources["two"]
    await orchestrator.gather_all_resources()
    assert server.requests["resources/list"] == 2


async def test_s22_a_server_without_resources_has_none(configure, serving):
    orchestrator = configure({"a": await serving(ScriptedServer("a", resources=0))})
    assert (await orchestrator.gather_all_resources())["A"]["resources"] == {}
    assert "error" not in (await orchestrator.gather_all_resources())["A"]


async def test_s23_what_exceeds_max_resources_read_is_listed_and_says_so(configure, serving):
    server = ScriptedServer("a", resources=5)
    orchestrator = configure({"a": {**await serving(server), "max_resources_read": 2}})
    resources = (await orchestrator.gather_all_resources())["A"]["resources"]
    assert [("contents" in entry, entry.get("skipped")) for entry in resources.values()] == [
        (True, None),
        (True, None),
        (False, "max_resources_read"),
        (False, "max_resources_read"),
        (False, "max_resources_read"),
    ]
    assert server.requests["resources/read"] == 2


async def test_s23_contents_can_be_switched_off(configure, serving):
    server = ScriptedServer("a", resources=2)
    orchestrator = configure({"a": await serving(server)}, resource_contents=False)
    resources = (await orchestrator.gather_all_resources())["A"]["resources"]
    assert list(resources["0"]) == ["uri", "name", "mime_type"]
    assert server.requests["resources/read"] == 0


@pytest.mark.parametrize(("limit", "value"), [("max_pages", 2), ("max_items", 20)])
async def test_s23_a_listing_beyond_a_limit_is_an_error_that_names_it(configure, serving, limit, value):
    fields = await serving(ScriptedServer("a", resources=30, page_size=10))
    orchestrator = configure({"a": {**fields, limit: value}})
    assert f"{limit}={value}" in (await orchestrator.gather_all_resources())["A"]["error"]


async def test_s23_a_message_beyond_max_message_bytes_costs_its_own_request(configure, serving, stdio):
    big = {"x://small": "s", "x://big": "b" * 5000}
    for transport in ("streamable-http", "sse"):
        fields = await serving(ScriptedServer("a", resources=big), transport)
        orchestrator = configure({"a": {**fields, "max_message_bytes": 4096, "timeout": 5}})
        resources = (await orchestrator.gather_all_resources())["A"]["resources"]
        assert resources["small"]["data"] == "s", transport
        assert "max_message_bytes" in resources["big"]["error"], transport


async def test_s23_reads_of_one_server_are_bounded(configure, serving):
    server = ScriptedServer("a", resources=20, delay=0.02)
    at_once = most = 0

    async def counting(scope, receive, send):
        nonlocal at_once, most
        reading = scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"resources/read"
        at_once += reading
        most = max(most, at_once)
        try:
            await app(scope, receive, send)
        finally:
            at_once -= reading

    app = server.app()
    orchestrator = configure({"a": {**await serving(counting), "max_concurrent_reads": 3}})
    await orchestrator.gather_all_resources()
    assert most == 3


async def test_s24_a_domain_is_answered_by_the_first_in_order_alone(configure, serving):
    first, second = ScriptedServer("first", resources=1), ScriptedServer("second", resources=2)
    orchestrator = configure(
        {
            "second": {**await serving(second), "priority": 9, "domains": ["products"]},
            "first": {**await serving(first), "priority": 1, "domains": ["products", "metadata"]},
        }
    )
    resources = await orchestrator.get_resources_for_domain("products")
    assert [entry["data"] for entry in resources.values()] == ["first text 0"]
    assert second.requests["resources/list"] == 0


async def test_s24_the_next_candidate_answers_when_the_first_cannot(configure, serving):
    orchestrator = configure(
        {
            "broken": {**await serving(failing_lists()), "priority": 1, "domains": ["d"]},
            "spare": {**await serving(ScriptedServer("spare", resources=1)), "priority": 2, "domains": ["d"]},
        }
    )
    assert [entry["data"] for entry in (await orchestrator.get_resources_for_domain("d")).values()] == ["spare text 0"]


async def test_s24_an_unknown_domain_lists_the_known_ones(configure, serving):
    orchestrator = configure({"a": {**await serving(ScriptedServer("a")), "domains": ["orders"]}})
    with pytest.raises(NoMCPAvailableError) as caught:
        await orchestrator.get_resources_for_domain("products")
    assert caught.value.context["domain"] == "products"
    assert caught.value.context["known_domains"] == ["orders"]


async def test_s24_all_that_were_asked_failed(configure, serving):
    orchestrator = configure(
        {
            "one": {**await serving(failing_lists()), "domains": ["d"], "priority": 1},
            "two": {**await serving(failing_lists()), "domains": ["d"], "priority": 2},
        }
    )
    with pytest.raises(ResourceFetchError) as caught:
        await orchestrator.get_resources_for_domain("d")
    assert caught.value.context["server"] == "Two"
    assert [attempt["server"] for attempt in caught.value.context["attempts"]] == ["One", "Two"]
    assert all(attempt["reason"] for attempt in caught.value.context["attempts"])


async def test_s24_none_of_the_candidates_is_connected(configure, serving):
    async with ServerProcess(name="gone") as process:
        orchestrator = configure(
            {
                "other": await serving(ScriptedServer("other")),
                "gone": {"transport": "streamable-http", "url": process.url, "domains": ["d"], "timeout": 10},
            }
        )
        await orchestrator.initialize()
        await process.kill()
    while orchestrator.registry.get_server("gone").connected:
        await asyncio.sleep(0.02)
    with pytest.raises(NoMCPAvailableError) as caught:
        await orchestrator.get_resources_for_domain("d")
    assert caught.value.context["candidates"]["gone"]["state"] in {"backing_off", "connecting"}


async def test_s24_a_fresh_copy_answers_for_a_server_that_is_down(configure, serving):
    async with ServerProcess(name="gone", resources=2) as process:
        orchestrator = configure(
            {
                "gone": {"transport": "streamable-http", "url": process.url, "domains": ["d"], "timeout": 10},
                "spare": {**await serving(ScriptedServer("spare")), "priority": 500, "domains": ["d"]},
            }
        )
        before = await orchestrator.get_resources_for_domain("d")
        await process.kill()
    assert await orchestrator.get_resources_for_domain("d") == before
    orchestrator.cache.invalidate()
    failed_over = await orchestrator.get_resources_for_domain("d")
    assert {entry["data"] for entry in failed_over.values()} == {f"spare text {i}" for i in range(3)}


async def test_s34_twenty_concurrent_gathers_cause_one_fetch_per_server(configure, serving):
    servers = [ScriptedServer("a", resources=2, delay=0.05), ScriptedServer("b", resources=2, delay=0.05)]
    orchestrator = configure({server.name: await serving(server) for server in servers})
    await orchestrator.initialize()
    answers = await asyncio.gather(*(orchestrator.gather_all_resources() for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert [server.requests["resources/list"] for server in servers] == [1, 1]
    assert [server.requests["resources/read"] for server in servers] == [2, 2]
    # S31: what one caller does to its answer is nobody else's business.
    answers[0]["A"]["resources"]["0"]["data"] = "spoilt"
    assert (await orchestrator.gather_all_resources()) == answers[1]


async def test_s34_a_cancelled_caller_does_not_take_the_others_along(configure, serving):
    server = ScriptedServer("a", resources=1)
    orchestrator = configure({"a": await serving(server)})
    await orchestrator.initialize()
    server.gate.clear()
    first, second = (asyncio.create_task(orchestrator.gather_all_resources()) for _ in range(2))
    while not server.requests["resources/list"]:
        await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.gate.set()
    assert len((await second)["A"]["resources"]) == 1
    assert server.requests["resources/list"] == 1


async def test_s33_a_new_connection_makes_what_was_cached_stale(configure, serving):
    async with ServerProcess(name="a", resources=1) as process:
        orchestrator = configure({"a": {"transport": "streamable-http", "url": process.url, "timeout": 10}})
        await orchestrator.gather_all_resources()
        misses = orchestrator.cache.get_stats()["misses"]
        await process.kill()
        while orchestrator.registry.get_server("a").connected:
            await asyncio.sleep(0.02)
        await process.start()
        while not orchestrator.registry.get_server("a").connected:
            await asyncio.sleep(0.02)
        await orchestrator.gather_all_resources()
        assert orchestrator.cache.get_stats()["misses"] == misses + 1


def failing_lists():
    """A server whose resources/list always fails."""
    server = ScriptedServer("failing")
    app = server.app()

    async def answer(scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"resources/list":
            body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "database is down"}}
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(body).encode()})
        else:
            await app(scope, receive, send)

    return answer


def vanishing(server, uri):
    """A server that lists a resource which is gone when it is read."""
    app = server.app()

    async def answer(scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-name") == uri.encode():
            server.resources.pop(uri, None)
            await app(scope, receive, send)
            server.resources[uri] = "back"
        else:
            await app(scope, receive, send)

    return answer


async def test_s16_a_server_registered_by_hand_is_no_reason_to_fail(configure, serving):
    orchestrator = configure({"a": await serving(ScriptedServer("a"))})
    await orchestrator.initialize()
    orchestrator.registry.register_server("extra", MCPServerConfig(name="Extra", domains=["d"]))
    orchestrator.registry.mark_connected("extra", object())
    gathered = await orchestrator.gather_all_resources()
    assert len(gathered["A"]["resources"]) == 3
    assert "not in the configuration" in gathered["Extra"]["error"]
    with pytest.raises(ResourceFetchError):
        await orchestrator.get_resources_for_domain("d")
    assert [server["id"] for server in orchestrator.get_status()["servers"]] == ["a", "extra"]
