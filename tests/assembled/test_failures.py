"""What servers do to us in the wild, while requests are under way: S16, S42 and I8 of the reliability rules."""

import asyncio
import os
import signal

import psutil
import pytest
from mcp_orchestra import MCPOrchestratorException, ToolCallError
from mcp_orchestra.connection.backoff import Backoff
from mcp_orchestra.testing.faults import FaultProxy
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


def http(process, **fields):
    return {"transport": process.transport, "url": process.url, "timeout": 10, **fields}


def state(orchestrator, server_id):
    return next(s for s in orchestrator.get_status()["servers"] if s["id"] == server_id)


async def becomes(orchestrator, server_id, connected, *, seconds):
    async with asyncio.timeout(seconds):
        while state(orchestrator, server_id)["connected"] is not connected:
            await asyncio.sleep(0.01)


def child_of_ours():
    (child,) = [c for c in psutil.Process().children() if "mcp_orchestra.testing.servers" in " ".join(c.cmdline())]
    return child


@pytest.mark.parametrize("transport", ["stdio", "sse", "streamable-http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_s16_fifty_requests_survive_the_death_of_their_server(configure, stdio, transport, mode):
    """Each ends with a result or one of our errors, and the server comes back without help."""
    process = None if transport == "stdio" else ServerProcess(transport, name="victim", resources=1)
    try:
        if process is not None:
            await process.start()
        fields = http(process) if process is not None else stdio(name="victim", resources=1)
        orchestrator = configure({"victim": {**fields, "mode": mode}})
        await orchestrator.initialize()
        calls = [
            asyncio.create_task(orchestrator.call_tool("slow", {"seconds": 0.02 * i}, timeout=8)) for i in range(50)
        ]
        await calls[3]
        if process is not None:
            await process.kill()
        else:
            os.kill(child_of_ours().pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert failed
        assert len(failed) < 50
        assert [error for error in failed if not isinstance(error, MCPOrchestratorException)] == []
        assert all(error.context["server"] == "Victim" for error in failed)
        assert {type(error) for error in failed} == {ToolCallError}
        # A request that was answering as its server died, one that lost the connection, and one that found it lost.
        assert {error.context["cause"] for error in failed} <= {"lost", "broken", "refused"}
        if process is not None:
            await becomes(orchestrator, "victim", False, seconds=5)
            await process.start()
        await becomes(orchestrator, "victim", True, seconds=20)
        resources = (await orchestrator.gather_all_resources())["Victim"]["resources"]
        assert resources["0"]["data"] == "victim text 0"
    finally:
        if process is not None:
            await process.kill()


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_s42_the_status_of_an_idle_killed_server_is_true_within_a_second(configure, transport, mode):
    async with ServerProcess(transport, name="a") as process:
        orchestrator = configure({"a": http(process, mode=mode)})
        await orchestrator.initialize()
        await process.kill()
        await becomes(orchestrator, "a", False, seconds=1)
        assert state(orchestrator, "a")["error"]
        assert state(orchestrator, "a")["state"] in {"backing_off", "connecting"}
        await process.start()
        await becomes(orchestrator, "a", True, seconds=20)
        assert state(orchestrator, "a")["error"] is None


async def test_s42_a_killed_child_is_noticed_and_replaced(configure, stdio):
    orchestrator = configure({"a": stdio(name="a")})
    await orchestrator.initialize()
    killed = child_of_ours().pid
    os.kill(killed, signal.SIGKILL)
    await becomes(orchestrator, "a", False, seconds=1)
    assert "status -9" in state(orchestrator, "a")["error"]
    await becomes(orchestrator, "a", True, seconds=20)
    assert child_of_ours().pid != killed


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_first_question_after_a_restart_is_answered_whatever_it_is(configure, transport, mode):
    async with ServerProcess(transport, name="a") as process:
        orchestrator = configure({"a": http(process, mode=mode, resource_contents=False)})
        assert not (await orchestrator.call_tool("echo")).is_error
        await process.kill()
        await process.start()
        called, read, listed = await asyncio.gather(  # each of them is the first that finds out
            orchestrator.call_tool("echo"), orchestrator.read_resource("res://a/0"), orchestrator.gather_all_resources()
        )
        assert not called.is_error
        assert read.contents[0].text == "a text 0"
        assert len(listed["A"]["resources"]) == 3


@pytest.mark.parametrize("asked", ["gather_all_resources", "list_tools", "list_prompts"])
async def test_who_asks_everybody_does_not_wait_for_the_back_off_of_the_only_server(
    configure, serving, until, monkeypatch, asked
):
    monkeypatch.setattr(Backoff, "next", lambda self: 30.0)
    only = await serving(ScriptedServer("a", prompts={"greet": "hello"}))
    async with asyncio.timeout(20), FaultProxy(only["url"]) as proxy:
        orchestrator = configure({"a": {**only, "url": proxy.url}})
        await orchestrator.initialize()
        await proxy.refuse()
        proxy.reset()
        await until(lambda: orchestrator.registry.get_server("a").state == "backing_off")
        await proxy.heal()
        assert await getattr(orchestrator, asked)()


async def test_one_sick_server_does_not_end_another_ones_connection(configure, serving, stdio):
    async with ServerProcess(name="sick") as process:
        orchestrator = configure(
            {"sick": http(process), "stdio": stdio(name="well"), "http": await serving(ScriptedServer("well"))}
        )
        await orchestrator.initialize()
        before = [orchestrator.registry.get_server(i).last_connected for i in ("stdio", "http")]
        await process.kill()
        await becomes(orchestrator, "sick", False, seconds=5)
        for _ in range(5):
            assert set(await orchestrator.gather_all_resources()) == {"Stdio", "Http"}
            orchestrator.cache.invalidate()
        assert [orchestrator.registry.get_server(i).last_connected for i in ("stdio", "http")] == before


async def test_a_cancelled_call_ends_alone(configure, serving):
    server = ScriptedServer("a")
    orchestrator = configure({"a": await serving(server)})
    await orchestrator.initialize()
    seconds = [30.0, *[0.3] * 9]  # the first one ends only by being cancelled
    calls = [asyncio.create_task(orchestrator.call_tool("slow", {"seconds": each})) for each in seconds]
    while server.requests["tools/call"] < 10:
        await asyncio.sleep(0.01)
    calls[0].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert all(not outcome.is_error for outcome in outcomes[1:])
    assert state(orchestrator, "a")["connected"]


async def test_a_server_that_fails_every_request_stays_connected_and_harms_nobody(configure, serving):
    async def overloaded(scope, receive, send):
        method = dict(scope.get("headers", ())).get(b"mcp-method")
        if method in (b"resources/list", b"tools/list"):
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"7")]})
            await send({"type": "http.response.body", "body": b"<html>busy</html>"})
        else:
            await app(scope, receive, send)

    app = ScriptedServer("a").app()
    orchestrator = configure({"a": await serving(overloaded)})
    await orchestrator.initialize()
    with pytest.raises(MCPOrchestratorException) as caught:
        await orchestrator.registry.get_server("a").client.list_resources()
    assert caught.value.__cause__ is not None  # S16: the cause is chained
    entry = (await orchestrator.gather_all_resources())["A"]
    assert "503" in entry["error"]
    assert "html" not in entry["error"]
    assert state(orchestrator, "a")["connected"]


async def test_a_silent_server_costs_its_own_timeout_and_nobody_elses(configure, serving):
    silent = ScriptedServer("silent")
    silent.gate.clear()
    orchestrator = configure(
        {
            "silent": {**await serving(silent), "request_timeout": 0.5, "domains": ["d"], "priority": 1},
            "good": {**await serving(ScriptedServer("good")), "domains": ["d"], "priority": 2},
        }
    )
    await orchestrator.initialize()
    loop = asyncio.get_running_loop()
    started = loop.time()
    gathered = await orchestrator.gather_all_resources()
    assert 0.5 <= loop.time() - started < 5  # without a limit of its own, it would be 30 s
    assert "no answer within 0.5 s" in gathered["Silent"]["error"]
    assert len(gathered["Good"]["resources"]) == 3
    assert len(await orchestrator.get_resources_for_domain("d")) == 3
    silent.gate.set()


async def test_a_server_that_stops_reading_does_not_hold_its_callers(configure, stdio):
    orchestrator = configure({"a": {**stdio(name="a"), "request_timeout": 1}})
    await orchestrator.initialize()
    child = child_of_ours()
    child.suspend()
    try:
        async with asyncio.timeout(15):
            calls = [orchestrator.call_tool("echo", {"text": "x" * 100_000}) for _ in range(5)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, MCPOrchestratorException) for outcome in outcomes)
    finally:
        child.resume()
