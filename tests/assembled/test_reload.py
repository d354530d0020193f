"""Another configuration while running: what is different is touched, and nothing else."""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack

import psutil
import pytest
import yaml
from mcp_orchestra import (
    ConfigurationError,
    MCPConfig,
    MCPConnectionError,
    MCPOrchestrator,
    ReloadResult,
    ToolCallError,
)
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
async def orchestrate(serving, tmp_path):
    """Make an orchestrator over a file, and the function that writes the file anew."""
    made = []

    def start(servers, **orchestration):
        path = tmp_path / f"{len(made)}.yaml"

        def write(servers, *, plugins=None, **orchestration):
            tree = {
                "mcp_servers": {key: {"name": key.title(), "timeout": 20, **one} for key, one in servers.items()},
                "orchestration": {"fail_fast": False, "max_retries": 0, **orchestration},
                **({"plugins": plugins} if plugins else {}),
            }
            path.write_text(yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False))

        write(servers, **orchestration)
        made.append(MCPOrchestrator(path))
        return made[-1], write

    yield start
    for orchestrator in made:
        await orchestrator.close()


@pytest.fixture
async def pid(stdio):
    """Return the process that answers for a server over stdio."""

    async def ask(orchestrator, server_id):
        result = await orchestrator.call_tool("pid", server=server_id)
        return int(result.content[0].text)

    return ask


@pytest.fixture
def at_rest(leftovers, until):
    """Wait until nothing is left of what was replaced or given up: there are just these servers' connections."""

    async def wait(server_ids):
        ours = [f"mcp-owner-{server_id}" for server_id in server_ids]
        await until(lambda: [name for name in leftovers()["tasks"] if name.startswith("mcp-o")] == ours)

    return wait


def dead(**fields):
    return {"transport": "streamable-http", "url": f"http://127.0.0.1:{free_port()}/mcp", "timeout": 2, **fields}


def texts(gathered):
    return [one["data"] for one in gathered["A"]["resources"].values()]


async def test_only_what_changed_is_touched(orchestrate, serving, stdio, pid, until):
    a, b = (stdio(name=name, resources=1) for name in "ab")
    async with asyncio.timeout(40):
        c = await serving(ScriptedServer("c", resources=1))
        orchestrator, write = orchestrate({"a": a, "b": b})
        await orchestrator.initialize()
        await orchestrator.gather_all_resources()
        registry, cache = orchestrator.registry, orchestrator.cache
        kept, gone = await pid(orchestrator, "a"), await pid(orchestrator, "b")
        before, connected_at = registry.get_server("a"), registry.get_server("a").last_connected

        write({"c": c, "a": {**a, "priority": 7, "domains": ["products"]}})
        result = await orchestrator.reload()
        assert result == ReloadResult(added=("c",), removed=("b",), updated=("a",))

        assert orchestrator.registry is registry
        assert orchestrator.cache is cache
        assert [info.server_id for info in registry.get_all_servers()] == ["a", "c"]
        assert registry.get_server("a") is before
        assert (before.config.priority, before.position, before.last_connected) == (7, 1, connected_at)
        assert registry.get_servers_by_domain("products") == [before]
        assert registry.get_server("b") is None
        assert await pid(orchestrator, "a") == kept
        assert cache.get("resources:a") is not None
        assert cache.get("resources:b") is None
        gathered = await orchestrator.gather_all_resources()
        assert list(gathered) == ["A", "C"]
        assert gathered["A"]["priority"] == 7
        await until(lambda: not psutil.pid_exists(gone))
        assert [server["id"] for server in orchestrator.get_status()["servers"]] == ["a", "c"]


async def test_a_server_that_is_reached_otherwise_gets_a_new_connection(orchestrate, serving, at_rest):
    async with asyncio.timeout(20):
        old, new = [await serving(ScriptedServer(name, resources=1)) for name in ("old", "new")]
        orchestrator, write = orchestrate({"a": old})
        await orchestrator.initialize()
        assert texts(await orchestrator.gather_all_resources()) == ["old text 0"]
        write({"a": new})
        assert await orchestrator.reload() == ReloadResult(changed=("a",))
        assert orchestrator.registry.get_server("a").connected
        assert texts(await orchestrator.gather_all_resources()) == ["new text 0"]
        # The old connection reports its end to nobody.
        await at_rest("a")
        assert orchestrator.registry.get_server("a").state == "ready"


async def test_a_secret_that_changed_is_another_way_to_ask(orchestrate, serving, monkeypatch):
    monkeypatch.setenv("RELOAD_TOKEN", "first-secret")
    async with asyncio.timeout(20):
        fields = {**await serving(ScriptedServer("a")), "headers": {"X-Token": "${RELOAD_TOKEN}"}}
        orchestrator, _ = orchestrate({"a": fields})
        await orchestrator.initialize()
        assert await orchestrator.reload() == ReloadResult(unchanged=("a",))
        monkeypatch.setenv("RELOAD_TOKEN", "second-secret")
        result = await orchestrator.reload()
    assert result == ReloadResult(changed=("a",))
    assert "secret" not in repr(result)


async def test_a_broken_file_changes_nothing_and_says_why(orchestrate, serving):
    server = ScriptedServer("a", resources=1)
    async with asyncio.timeout(20):
        orchestrator, write = orchestrate({"a": await serving(server)})
        await orchestrator.initialize()
        config, status = orchestrator.config, orchestrator.get_status()
        write({"a": {"transport": "carrier-pigeon", "url": "http://x"}})
        with pytest.raises(ConfigurationError, match=r"mcp_servers\.a\.transport"):
            await orchestrator.reload()
        orchestrator.config_path.write_text("mcp_servers: [")
        with pytest.raises(ConfigurationError, match="line 2"):
            await orchestrator.reload()
        assert orchestrator.config is config
        assert orchestrator.get_status()["servers"] == status["servers"]
        assert list(await orchestrator.gather_all_resources()) == ["A"]


async def test_other_plug_ins_need_a_restart(orchestrate, serving):
    async with asyncio.timeout(20):
        fields = await serving(ScriptedServer("a"))
        orchestrator, write = orchestrate({"a": fields})
        await orchestrator.initialize()
        write({"a": fields}, plugins={"disabled": ["disk"]})
        with pytest.raises(ConfigurationError, match=r"plugins\.disabled: .* restart"):
            await orchestrator.reload()
        assert orchestrator.config.plugins.disabled == []


async def test_without_fail_fast_a_new_server_that_is_down_is_reported_and_retried(orchestrate, serving, until):
    port = free_port()
    late = {"transport": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp"}
    async with asyncio.timeout(40):
        good = await serving(ScriptedServer("good"))
        orchestrator, write = orchestrate({"good": good})
        await orchestrator.initialize()
        write({"good": good, "late": late})
        result = await orchestrator.reload()
        assert (result.added, result.unchanged) == (("late",), ("good",))
        assert "refused" in result.failed["late"]
        async with ServerProcess(port=port, name="late", resources=1):
            await until(lambda: orchestrator.registry.get_server("late").connected)
            assert set(await orchestrator.gather_all_resources()) == {"Good", "Late"}


async def test_with_fail_fast_one_that_is_down_leaves_everything_as_it_was(orchestrate, serving, at_rest):
    async with asyncio.timeout(20):
        good, other = [await serving(ScriptedServer(name, resources=1)) for name in ("good", "other")]
        orchestrator, write = orchestrate({"a": good}, fail_fast=True)
        await orchestrator.initialize()
        connected_at = orchestrator.registry.get_server("a").last_connected
        write({"a": other, "bad": dead()}, fail_fast=True)
        with pytest.raises(MCPConnectionError, match="bad") as caught:
            await orchestrator.reload()
        assert set(caught.value.context["failed"]) == {"bad"}
        assert [info.last_connected for info in orchestrator.registry.get_all_servers()] == [connected_at]
        assert texts(await orchestrator.gather_all_resources()) == ["good text 0"]
        await at_rest("a")


async def test_requests_under_way_finish_over_the_connection_they_began_on(orchestrate, serving, at_rest):
    servers = [ScriptedServer(name) for name in "ab"]
    async with asyncio.timeout(20):
        a, b = [await serving(server) for server in servers]
        orchestrator, write = orchestrate({"a": a, "b": b})
        await orchestrator.initialize()
        calls = [
            asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 2}, server=server_id)) for server_id in "ab"
        ]
        while not all(server.requests["tools/call:slow"] for server in servers):
            await asyncio.sleep(0.01)
        write({"a": {**a, "request_timeout": 7}})
        assert await orchestrator.reload() == ReloadResult(changed=("a",), removed=("b",))
        assert not any(call.done() for call in calls)
        results = await asyncio.gather(*calls)
        assert not any(result.is_error for result in results)
        await at_rest("a")
    assert [server.requests["tools/call:slow"] for server in servers] == [1, 1]


async def test_a_gather_under_way_answers_for_the_servers_that_there_were(orchestrate, serving):
    old, new = ScriptedServer("old", resources=1), ScriptedServer("new", resources=1)
    async with asyncio.timeout(20):
        orchestrator, write = orchestrate({"a": await serving(old)}, fail_fast=True)
        await orchestrator.initialize()
        old.gate.clear()
        under_way = asyncio.create_task(orchestrator.gather_all_resources())
        while not old.requests["resources/list"]:
            await asyncio.sleep(0.01)
        write({"a": await serving(new)}, fail_fast=True)
        assert (await orchestrator.reload()).changed == ("a",)
        assert texts(await orchestrator.gather_all_resources()) == ["new text 0"]
        old.gate.set()
        assert texts(await under_way) == ["old text 0"]
        # What the old server said last is not what is cached of the new one.
        assert texts(await orchestrator.gather_all_resources()) == ["new text 0"]


@pytest.mark.parametrize("transport", ["stdio", "streamable-http", "sse"])
async def test_s24_a_call_runs_once_though_its_server_is_killed_while_it_is_replaced(
    orchestrate, serving, stdio, pid, transport
):
    spare = ScriptedServer("spare")
    async with asyncio.timeout(40), AsyncExitStack() as stack:
        victim = stdio(name="victim")
        if transport != "stdio":
            process = await stack.enter_async_context(ServerProcess(transport))
            victim = {"transport": transport, "url": process.url}
        victim |= {"domains": ["d"], "priority": 1}
        others = {"spare": {**await serving(spare), "domains": ["d"], "priority": 2}}
        orchestrator, write = orchestrate({"victim": victim, **others})
        await orchestrator.initialize()
        await orchestrator.list_tools()
        killed, info = await pid(orchestrator, "victim"), orchestrator.registry.get_server("victim")
        calls = [asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 60}, domain="d")) for _ in range(3)]
        while info.in_flight < 3:
            await asyncio.sleep(0.01)
        write({"victim": {**victim, "request_timeout": 11}, **others})
        reloading = asyncio.create_task(orchestrator.reload())
        await asyncio.sleep(0)
        os.kill(killed, signal.SIGKILL)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(one, "context", {}).get("delivered") for one in outcomes] == ["maybe"] * 3
        assert spare.requests["tools/call"] == 0
        assert (await reloading).changed == ("victim",)
        assert not (await orchestrator.call_tool("echo", domain="d")).is_error


async def test_a_question_of_many_requests_finishes_however_long_it_takes(orchestrate, serving, at_rest):
    class Slow(ScriptedServer):
        async def _read_resource(self, ctx, params):
            await asyncio.sleep(0.5)
            return await super()._read_resource(ctx, params)

    slow, other = Slow("slow", resources=32), ScriptedServer("other")  # read eight at a time, that takes two seconds
    async with asyncio.timeout(20):
        a, b = {**await serving(slow), "request_timeout": 1}, await serving(other)
        orchestrator, write = orchestrate({"a": a, "b": b})
        await orchestrator.initialize()
        under_way = asyncio.create_task(orchestrator.gather_all_resources())
        while not slow.requests["resources/list"]:
            await asyncio.sleep(0.01)
        write({"b": b})
        assert (await orchestrator.reload()).removed == ("a",)
        assert sorted(texts(await under_way)) == sorted(f"slow text {number}" for number in range(32))
        await at_rest("b")


async def test_whoever_uses_a_client_that_was_replaced_has_the_time_of_one_request(orchestrate, serving, at_rest):
    a, b = ScriptedServer("a"), ScriptedServer("b")
    async with asyncio.timeout(20):
        fields = {"a": {**await serving(a), "request_timeout": 1}, "b": await serving(b)}
        orchestrator, write = orchestrate(fields)
        await orchestrator.initialize()
        client = orchestrator.registry.get_server("a").client
        call = asyncio.create_task(client.call_tool("slow", {"seconds": 60}, timeout=90))
        while not a.requests["tools/call:slow"]:
            await asyncio.sleep(0.01)
        write({"b": fields["b"]})
        await orchestrator.reload()
        await at_rest("b")
        with pytest.raises(ToolCallError):
            await call


async def test_a_name_that_passes_on_during_a_gather_costs_no_server_its_entry(orchestrate, serving):
    first, second = ScriptedServer("first", resources=1), ScriptedServer("second", resources=1)
    async with asyncio.timeout(20):
        a, b = await serving(first), await serving(second)
        orchestrator, write = orchestrate({"a": a, "b": b})
        await orchestrator.initialize()
        first.gate.clear()
        under_way = asyncio.create_task(orchestrator.gather_all_resources())
        while not first.requests["resources/list"]:
            await asyncio.sleep(0.01)
        write({"b": {**b, "name": "A"}})
        await orchestrator.reload()
        first.gate.set()
        gathered = await under_way
    assert {name: [one["data"] for one in part["resources"].values()] for name, part in gathered.items()} == {
        "A": ["first text 0"],
        "B": ["second text 0"],
    }


async def test_what_is_asked_late_of_a_server_that_was_replaced_is_not_cached(orchestrate, serving):
    mute, old, new = (ScriptedServer(name, resources=1) for name in ("mute", "old", "new"))
    async with asyncio.timeout(20):
        first = {**await serving(mute), "priority": 1, "domains": ["d"], "request_timeout": 1}
        orchestrator, write = orchestrate({"mute": first, "a": {**await serving(old), "domains": ["d"]}})
        await orchestrator.initialize()
        mute.gate.clear()
        under_way = asyncio.create_task(orchestrator.get_resources_for_domain("d"))
        while not mute.requests["resources/list"]:
            await asyncio.sleep(0.01)
        write({"mute": first, "a": {**await serving(new), "domains": ["d"]}})
        assert (await orchestrator.reload()).changed == ("a",)
        assert not old.requests["resources/list"]
        assert [one["data"] for one in (await under_way).values()] == ["old text 0"]
        assert orchestrator.cache.get("resources:a") is None
        mute.gate.set()
        assert texts(await orchestrator.gather_all_resources()) == ["new text 0"]


async def test_s14_close_does_not_wait_for_those_who_use_what_was_replaced(orchestrate, serving, stdio, leftovers):
    before = leftovers()["children"]
    async with asyncio.timeout(20):
        a = await serving(ScriptedServer("a"))
        orchestrator, write = orchestrate({"a": a, "b": stdio(name="b")})
        await orchestrator.initialize()
        call = asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 30}, server="b"))
        while not orchestrator.registry.get_server("b").in_flight:
            await asyncio.sleep(0.01)
        write({"a": a})
        await orchestrator.reload()
        assert len(leftovers()["children"]) == len(before) + 1
        async with asyncio.timeout(5):
            await orchestrator.close()
        with pytest.raises(ToolCallError):
            await call
        assert leftovers()["children"] == before
        assert not [name for name in leftovers()["tasks"] if name.startswith("mcp-")]


async def test_limits_times_to_live_and_routing_are_applied_without_reconnecting(orchestrate, serving):
    server = ScriptedServer("a", resources=3)
    async with asyncio.timeout(20):
        fields = await serving(server)
        orchestrator, write = orchestrate({"a": fields})
        await orchestrator.initialize()
        await orchestrator.gather_all_resources()
        connected_at = orchestrator.registry.get_server("a").last_connected
        cache = orchestrator.cache
        rules = {"max_stale": 60, "ttl_policy": "strict"}
        write({"a": fields}, max_resources_read=1, resource_cache_ttl=17, cache=rules, log_level="ERROR")
        assert await orchestrator.reload() == ReloadResult(updated=("a",))
        assert orchestrator.registry.get_server("a").last_connected == connected_at
        assert orchestrator.cache is cache
        assert cache.serves_stale
        resources = (await orchestrator.gather_all_resources())["A"]["resources"]
        assert [one.get("skipped") for one in resources.values()] == [None, "max_resources_read", "max_resources_read"]
        assert cache.get("resources:a") is None  # strict: the server gives no hint
        cache.set("mine", {"is": "here"})
        assert 16 < cache.describe(["mine"])["mine"]["expires_in"] <= 17


async def test_another_cache_backend_takes_the_place_of_the_one_before(orchestrate, serving, tmp_path):
    server = ScriptedServer("a", resources=1)
    async with asyncio.timeout(30):
        fields = await serving(server)
        orchestrator, write = orchestrate({"a": fields})
        await orchestrator.initialize()
        await orchestrator.gather_all_resources()
        before = orchestrator.cache
        server.gate.clear()
        before.invalidate()
        under_way = asyncio.create_task(orchestrator.gather_all_resources())
        await asyncio.sleep(0.1)
        disk = {"backend": "disk", "options": {"directory": str(tmp_path / "cache")}}
        write({"a": fields}, cache=disk)
        assert await orchestrator.reload() == ReloadResult(unchanged=("a",))
        assert orchestrator.cache is not before
        assert not before.closed
        server.gate.set()
        assert list(await under_way) == ["A"]
        while not before.closed:
            await asyncio.sleep(0.01)
        await orchestrator.gather_all_resources()
        assert orchestrator.cache.get("resources:a") is not None


async def test_a_name_that_was_ambiguous_becomes_free_with_the_server_that_had_it(orchestrate, serving):
    async with asyncio.timeout(20):
        a, b = await serving(ScriptedServer("a", tools=["echo"])), await serving(ScriptedServer("b", tools=["echo"]))
        orchestrator, write = orchestrate({"a": a, "b": b})
        assert {tool.name for tool in await orchestrator.list_tools()} == {"a__echo", "b__echo"}
        write({"a": a})
        await orchestrator.reload()
        assert {tool.name for tool in await orchestrator.list_tools()} == {"echo"}


async def test_a_server_can_be_switched_off_and_on(orchestrate, serving):
    async with asyncio.timeout(20):
        a, b = await serving(ScriptedServer("a")), await serving(ScriptedServer("b"))
        orchestrator, write = orchestrate({"a": a, "b": b})
        await orchestrator.initialize()
        write({"a": a, "b": {**b, "enabled": False}})
        assert await orchestrator.reload() == ReloadResult(changed=("b",), unchanged=("a",))
        assert orchestrator.registry.get_server("b").state == "disabled"
        assert list(await orchestrator.gather_all_resources()) == ["A"]
        write({"a": a, "b": b})
        assert await orchestrator.reload() == ReloadResult(changed=("b",), unchanged=("a",))
        assert list(await orchestrator.gather_all_resources()) == ["A", "B"]


async def test_before_initialising_the_configuration_is_only_loaded(orchestrate, serving):
    server = ScriptedServer("a")
    async with asyncio.timeout(20):
        a = await serving(server)
        orchestrator, write = orchestrate({"a": a})
        registry = orchestrator.registry
        assert await orchestrator.reload() == ReloadResult(added=("a",))
        write({"b": a})
        assert await orchestrator.reload() == ReloadResult(added=("b",), removed=("a",))
        assert not server.requests
        assert orchestrator.registry is registry
        assert list(await orchestrator.gather_all_resources()) == ["B"]


async def test_another_source_is_what_is_reloaded_from_then_on(orchestrate, serving, tmp_path):
    async with asyncio.timeout(20):
        orchestrator, _ = orchestrate({"a": await serving(ScriptedServer("a"))})
        await orchestrator.initialize()
        config = MCPConfig.model_validate({"mcp_servers": {"b": {"name": "B", **await serving(ScriptedServer("b"))}}})
        assert await orchestrator.reload(config) == ReloadResult(added=("b",), removed=("a",))
        config.mcp_servers["b"].priority = 3
        assert await orchestrator.reload() == ReloadResult(updated=("b",))
        assert orchestrator.registry.get_server("b").config.priority == 3
        with pytest.raises(ConfigurationError):
            await orchestrator.reload(tmp_path / "nowhere.yaml")
        assert await orchestrator.reload() == ReloadResult(unchanged=("b",))


async def test_what_is_closed_is_not_reloaded(orchestrate, serving):
    async with asyncio.timeout(20):
        orchestrator, _ = orchestrate({"a": await serving(ScriptedServer("a"))})
        await orchestrator.initialize()
        await orchestrator.close()
        with pytest.raises(MCPConnectionError) as caught:
            await orchestrator.reload()
    assert caught.value.context["cause"] == "closed"


@pytest.fixture
async def reloading(orchestrate, serving, silent, leftovers, until):
    """Return an orchestrator with one server, and the task of a reload that waits for another one, which is silent."""
    port = free_port()
    silent(port)
    hanging = {"transport": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp", "timeout": 60}
    async with asyncio.timeout(20):
        fields = await serving(ScriptedServer("a"))
        orchestrator, write = orchestrate({"a": fields})
        await orchestrator.initialize()
        write({"a": fields, "hanging": hanging})
        task = asyncio.create_task(orchestrator.reload())
        await until(lambda: "mcp-owner-hanging" in leftovers()["tasks"])
    return orchestrator, task


async def test_s14_close_while_reloading_ends_both(reloading, at_rest):
    orchestrator, task = reloading
    async with asyncio.timeout(10):
        async with asyncio.timeout(5):
            await orchestrator.close()
        with pytest.raises(MCPConnectionError) as caught:
            await task
        assert caught.value.context["cause"] == "closed"
        await at_rest("")


async def test_a_reload_that_is_cancelled_leaves_everything_as_it_was(reloading, at_rest):
    orchestrator, task = reloading
    async with asyncio.timeout(20):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await at_rest("a")
        assert [info.server_id for info in orchestrator.registry.get_all_servers()] == ["a"]
        assert list(await orchestrator.gather_all_resources()) == ["A"]


async def test_a_reload_waits_for_a_start_that_is_under_way(orchestrate, serving):
    async with asyncio.timeout(20):
        a, b = await serving(ScriptedServer("a")), await serving(ScriptedServer("b"))
        orchestrator, write = orchestrate({"a": a})
        starting = asyncio.create_task(orchestrator.initialize())
        while not orchestrator.registry.get_all_servers():
            await asyncio.sleep(0.01)
        write({"a": a, "b": b})
        assert await orchestrator.reload() == ReloadResult(added=("b",), unchanged=("a",))
        await starting
        assert list(await orchestrator.gather_all_resources()) == ["A", "B"]


async def test_a_thousand_gathers_notice_nothing_of_twenty_reloads(orchestrate, serving, stdio, pid, leftovers, until):
    stays = stdio(name="stays", resources=2)
    async with asyncio.timeout(60):
        comes = await serving(ScriptedServer("comes", resources=2))
        moves = [await serving(ScriptedServer(f"place {number}", resources=2)) for number in range(2)]
        first = {"stays": stays, "moves": moves[0]}
        second = {"comes": comes, "moves": moves[1], "stays": stays}
        orchestrator, write = orchestrate(first, fail_fast=True)
        await orchestrator.initialize()
        await orchestrator.gather_all_resources()
        process, before = await pid(orchestrator, "stays"), None
        connected_at = orchestrator.registry.get_server("stays").last_connected
        asked = 0
        seen = set()
        reloaded = asyncio.Event()

        async def ask():
            nonlocal asked
            while asked < 1000 or not reloaded.is_set():
                asked += 1
                if asked % 5 == 0:
                    orchestrator.cache.invalidate()
                gathered = await orchestrator.gather_all_resources()
                assert all(len(one["resources"]) == 2 and "error" not in one for one in gathered.values())
                seen.add(tuple(gathered))
                await asyncio.sleep(0)

        asking = [asyncio.create_task(ask()) for _ in range(20)]
        for number in range(20):
            write(first if number % 2 else second, fail_fast=True)
            result = await orchestrator.reload()
            assert result.changed == ("moves",)
            assert result.unchanged == ("stays",)
            # What was asked before answers late, and that must not be what those hear who ask now.
            for _ in range(3):
                gathered = await orchestrator.gather_all_resources()
                texts = {one["data"][:7] for one in gathered["Moves"]["resources"].values()}
                assert texts == {"place 0" if number % 2 else "place 1"}
            if number == 1:
                await until(lambda: "mcp-orchestra-retiring" not in leftovers()["tasks"])
        reloaded.set()
        await asyncio.gather(*asking)
        assert asked >= 1000
        assert seen == {("Stays", "Moves"), ("Comes", "Moves", "Stays")}
        assert await pid(orchestrator, "stays") == process
        assert orchestrator.registry.get_server("stays").last_connected == connected_at
        await until(lambda: "mcp-orchestra-retiring" not in leftovers()["tasks"])
        before = leftovers()
        for number in range(2):
            write(second if number % 2 == 0 else first, fail_fast=True)
            await orchestrator.reload()
            await until(lambda: "mcp-orchestra-retiring" not in leftovers()["tasks"])
        await until(lambda: leftovers()["descriptors"] <= before["descriptors"])
        assert leftovers()["children"] == before["children"]
