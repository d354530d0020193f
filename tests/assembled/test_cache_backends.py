"""S30 to S34 over real servers, on memory, disk and Redis: configuration files that differ in one line do the same."""

import asyncio
import copy
import json
import pickle
import re
import uuid
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path

import pytest
from fastapi.encoders import jsonable_encoder
from mcp_orchestra import MCPOrchestrator
from mcp_orchestra.testing.servers import ScriptedServer

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "orchestrator-api.md"
TOTALS = ["hits", "misses", "evictions", "total_requests", "hit_rate", "cached_items"]


def listings(*servers):
    return [server.requests["resources/list"] for server in servers]


def reads(*servers):
    return [server.requests["resources/read"] for server in servers]


def hint(server, ttl_ms):
    """Have a server say from now on for how long its answers are fresh."""
    server._hints["ttl_ms"] = ttl_ms


def stats(orchestrator):
    return orchestrator.get_status()["cache_stats"]


async def expired(orchestrator, *keys):
    described = orchestrator.cache.describe(keys)
    return all(key not in described or described[key]["stale"] for key in keys)


@pytest.fixture
async def two(serving):
    """Two servers and what a configuration says of them."""
    a, b = ScriptedServer("a"), ScriptedServer("b", resources=2)
    return a, b, {"a": {**await serving(a), "domains": ["d"]}, "b": await serving(b)}


async def test_s33_what_was_gathered_is_not_fetched_again_until_it_is_invalidated(deploy, two):
    a, b, fields = two
    orchestrator = deploy(fields)
    first = await orchestrator.gather_all_resources()
    assert {name: len(part["resources"]) for name, part in first.items()} == {"A": 3, "B": 2}
    assert await orchestrator.gather_all_resources() == first
    assert await orchestrator.get_resources_for_domain("d") == first["A"]["resources"]
    assert (listings(a, b), reads(a, b)) == ([1, 1], [3, 2])
    orchestrator.cache.invalidate("resources:a")
    assert await orchestrator.gather_all_resources() == first
    assert (listings(a, b), reads(a, b)) == ([2, 1], [6, 2])
    orchestrator.cache.invalidate()
    assert await orchestrator.gather_all_resources() == first
    assert (listings(a, b), reads(a, b)) == ([3, 2], [9, 4])


async def test_s33_what_a_server_changed_without_a_word_is_seen_after_an_invalidation(deploy, two):
    a, _, fields = two
    orchestrator = deploy(fields)
    before = await orchestrator.gather_all_resources()
    a.resources["res://a/1"] = "new text"
    assert await orchestrator.gather_all_resources() == before
    orchestrator.cache.invalidate()
    assert (await orchestrator.gather_all_resources())["A"]["resources"]["1"]["data"] == "new text"


async def test_s32_the_cache_has_under_the_key_of_a_server_what_a_gather_returns_of_it(deploy, two):
    _, _, fields = two
    orchestrator = deploy(fields)
    gathered = await orchestrator.gather_all_resources()
    for server_id, name in (("a", "A"), ("b", "B")):
        assert orchestrator.cache.get(f"resources:{server_id}") == gathered[name]["resources"]
    orchestrator.cache.set("resources:b", {})
    assert (await orchestrator.gather_all_resources())["B"]["resources"] == {}  # S30: {} is data


async def test_s30_the_statistics_are_the_documents_and_those_of_each_server(deploy, two):
    _, _, fields = two
    orchestrator = deploy(fields)
    await orchestrator.initialize()
    for _ in range(4):
        await orchestrator.gather_all_resources()
    await orchestrator.get_resources_for_domain("d")
    found = stats(orchestrator)
    assert {key: found[key] for key in TOTALS} == {
        "hits": 7,
        "misses": 2,
        "evictions": 0,
        "total_requests": 9,
        "hit_rate": "77.78%",
        "cached_items": 2,
    }
    counted = {
        server_id: {key: tally[key] for key in ("hits", "misses", "hit_rate", "fetches", "stale")}
        for server_id, tally in found["servers"].items()
    }
    assert counted == {
        "a": {"hits": 4, "misses": 1, "hit_rate": "80.00%", "fetches": 1, "stale": 0},
        "b": {"hits": 3, "misses": 1, "hit_rate": "75.00%", "fetches": 1, "stale": 0},
    }
    assert (found["fetches"], found["errors"], found["available"], list(found["notices"])) == (2, 0, True, [])
    orchestrator.cache.invalidate("resources:a")
    assert (stats(orchestrator)["cached_items"], stats(orchestrator)["evictions"]) == (1, 0)


async def test_s33_the_hint_of_a_server_wins_over_the_configured_time(deploy, two, until):
    a, b, fields = two
    hint(a, 50)
    orchestrator = deploy(fields)
    first = await orchestrator.gather_all_resources()
    await until(lambda: expired(orchestrator, "resources:a"))
    hint(a, 60_000)
    assert await orchestrator.gather_all_resources() == first
    assert await orchestrator.gather_all_resources() == first
    assert listings(a, b) == [2, 1]
    described = orchestrator.cache.describe(["resources:a", "resources:b"])
    assert {key: it["ttl_ms"] for key, it in described.items()} == {"resources:a": 60_000, "resources:b": None}
    assert 50 < described["resources:a"]["expires_in"] <= 60 < 290 < described["resources:b"]["expires_in"] <= 300


async def test_s33_an_answer_without_a_hint_is_not_kept_if_the_policy_is_strict(deploy, two):
    a, b, fields = two
    hint(b, 60_000)
    orchestrator = deploy(fields, ttl_policy="strict")
    for _ in range(3):
        assert len((await orchestrator.gather_all_resources())["A"]["resources"]) == 3
    assert listings(a, b) == [3, 1]
    assert orchestrator.cache.get("resources:a") is None


async def test_s33_the_smallest_hint_of_all_parts_counts(deploy, serving):
    server = ScriptedServer("a", resources={"res://one": "1", "res://two": "2"}, ttl_ms=60_000)

    async def hasty(scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-name") == b"res://two":
            hint(server, 5_000)
        await app(scope, receive, send)
        hint(server, 60_000)

    app = server.app()
    orchestrator = deploy({"a": {**await serving(hasty), "max_concurrent_reads": 1}})
    await orchestrator.gather_all_resources()
    assert orchestrator.cache.describe(["resources:a"])["resources:a"]["ttl_ms"] == 5_000


@pytest.mark.parametrize("scope", ["public", "private"])
async def test_s33_the_scope_that_a_server_states_is_kept(deploy, serving, scope):
    server = ScriptedServer("a", scope=scope)
    orchestrator = deploy({"a": await serving(server)})
    await orchestrator.gather_all_resources()
    assert orchestrator.cache.describe(["resources:a"])["resources:a"]["scope"] == scope


async def test_s31_what_a_gather_returned_is_the_callers_to_change(deploy, two):
    a, _, fields = two
    orchestrator = deploy(fields)
    for _ in range(4):
        gathered = await orchestrator.gather_all_resources()
        resource = gathered["A"]["resources"]["1"]
        assert resource["data"] == "a text 1"
        assert resource["contents"] == [{"uri": "res://a/1", "mime_type": "text/plain", "text": "a text 1"}]
        assert gathered["A"]["domains"] == ["d"]
        assert list(gathered) == ["A", "B"]
        resource["data"] = "spoilt"
        resource["contents"][0]["text"] = "spoilt"
        resource["contents"].append("spoilt")
        gathered["A"]["domains"].append("spoilt")
        del gathered["A"]["resources"]["0"]
        del gathered["B"]
        kept = orchestrator.cache.get("resources:b")
        assert kept["0"]["data"] == "b text 0"
        kept["0"]["data"] = "spoilt"
        of_domain = await orchestrator.get_resources_for_domain("d")
        assert of_domain["0"]["data"] == "a text 0"
        of_domain["0"].clear()
    assert listings(a) == [1]


async def test_s31_what_a_gather_returned_can_be_copied_encoded_and_sent_to_another_process(deploy, two):
    _, _, fields = two
    orchestrator = deploy(fields)
    fetched = await orchestrator.gather_all_resources()
    plain = json.loads(json.dumps(fetched))
    assert plain["A"]["resources"]["2"]["data"] == "a text 2"
    ways = {
        "json": lambda it: json.loads(json.dumps(it)),
        "indented json": lambda it: json.loads(json.dumps(it, indent=1, sort_keys=True)),
        "fastapi": jsonable_encoder,
        "deepcopy": copy.deepcopy,
        "copy": copy.copy,
        "dict": dict,
        "unpacked": lambda it: {**it},
        "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    }
    for name, way in ways.items():
        for _ in range(2):
            other = way(await orchestrator.gather_all_resources())
            assert other == plain, name
            other["A"]["resources"]["2"]["contents"][0]["text"] = "spoilt"
            other["B"].clear()
    assert await orchestrator.gather_all_resources() == plain


async def test_s34_a_thousand_gathers_of_what_has_expired_cause_one_fetch_of_each_server(deploy, serving, until):
    servers = [ScriptedServer(name, resources=2, ttl_ms=50) for name in ("a", "b", "c", "d")]
    orchestrator = deploy({server.name: await serving(server) for server in servers})
    first = await orchestrator.gather_all_resources()
    await until(lambda: expired(orchestrator, *(f"resources:{server.name}" for server in servers)))
    for server in servers:
        hint(server, 60_000)
        server.gate.clear()
    gathers = [asyncio.create_task(orchestrator.gather_all_resources()) for _ in range(1000)]
    await until(lambda: listings(*servers) == [2, 2, 2, 2])
    for server in servers:
        server.gate.set()
    answers = await asyncio.gather(*gathers)
    assert listings(*servers) == [2, 2, 2, 2]
    assert reads(*servers) == [4, 4, 4, 4]
    assert all(answer == first for answer in answers)
    answers[0]["A"]["resources"].clear()  # S31
    assert all(len(answer["A"]["resources"]) == 2 for answer in answers[1:])


async def test_s33_tools_are_listed_once_and_again_when_they_change(deploy, serving, until):
    server = ScriptedServer("a", tools=("echo", "count"))
    orchestrator = deploy({"a": await serving(server)})
    await orchestrator.initialize()
    await until(lambda: server.notifier.open_streams)
    for _ in range(3):
        assert [tool.name for tool in await orchestrator.list_tools()] == ["echo", "count"]
        await orchestrator.call_tool("echo")
    assert server.requests["tools/list"] == 1
    await server.offer("pid")

    async def names():
        return [tool.name for tool in await orchestrator.list_tools()] == ["echo", "count", "pid"]

    await until(names)
    assert not (await orchestrator.call_tool("pid")).is_error
    assert server.requests["tools/list"] == 2


@pytest.fixture
def fresh_cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


async def test_the_backend_is_switched_by_replacing_one_line_of_yaml(serving, tmp_path, valkey, fresh_cache_home):
    server = ScriptedServer("products")
    path = tmp_path / "mcp_config.yaml"
    on_memory = "  cache: {backend: memory}"
    path.write_text(
        f"""\
mcp_servers:
  products:
    name: Products
    transport: streamable-http
    url: {(await serving(server))["url"]}
    domains: [products]

orchestration:
  resource_cache_ttl: 300
  fail_fast: false
{on_memory}
"""
    )
    text, namespace, gathered = path.read_text(), f"test-{uuid.uuid4().hex}", []
    for line in (
        on_memory,
        "  cache: {backend: disk}",
        f"  cache: {{backend: redis, options: {{url: '{valkey.url}', namespace: {namespace}}}}}",
    ):
        path.write_text(text.replace(on_memory, line))
        server.requests.clear()
        for _ in range(2):
            async with MCPOrchestrator(path).managed_session() as orchestrator:
                gathered += [await orchestrator.gather_all_resources() for _ in range(3)]
                await orchestrator.get_resources_for_domain("products")
                assert stats(orchestrator)["cached_items"] == 1, line
        assert server.requests["resources/list"] == (2 if line == on_memory else 1), line
    assert (tmp_path / "home" / "mcp-orchestra" / "cache.db").exists()
    assert valkey.ask("KEYS", f"{namespace}:entry:*") == "*1"
    assert len(gathered) == 18
    assert all(one == gathered[0] for one in gathered)


@pytest.mark.parametrize("clears", [False, True], ids=["of use", "of no use"])
async def test_the_documents_example_of_cache_management(deploy, two, tmp_path, monkeypatch, capsys, clears):
    _, _, fields = two
    deployed = deploy(fields, ttl_policy="strict" if clears else "hint-or-default")
    (tmp_path / "fastapi_server").mkdir()
    deployed._source.path.rename(tmp_path / "fastapi_server" / "mcp_config.yaml")
    monkeypatch.chdir(tmp_path)
    example = re.search(r"### Cache Management\n+```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
    names = {"MCPOrchestrator": MCPOrchestrator}
    try:
        await eval(compile(example, "<the document>", "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    finally:
        await names["orchestrator"].close()
    rate, items = ("0.00%", 0) if clears else ("90.00%", 2)
    assert capsys.readouterr().out.splitlines() == [
        "Cache Performance:",
        f"  Hit Rate: {rate}",
        "  Total Requests: 20",
        f"  Cached Items: {items}",
        *(["Cache cleared due to low hit rate"] if clears else []),
    ]
