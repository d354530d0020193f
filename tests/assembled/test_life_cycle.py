"""S10 to S16: connecting, failing, retrying and closing, with real servers."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest
from mcp_orchestra import (
    CacheBackendSpec,
    MCPConfig,
    MCPConnectionError,
    MCPOrchestrator,
    NoMCPAvailableError,
    PluginError,
    PluginManager,
    RoutingPolicySpec,
    hookimpl,
)
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
async def silent_url():
    """A server that accepts connections and never answers."""

    async def hold(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


@pytest.fixture
async def processes():
    """HTTP servers in processes of their own: what is left in this one is the client's."""
    async with ServerProcess(name="http") as http, ServerProcess("sse", name="sse") as sse:
        yield SimpleNamespace(http=http, sse=sse)


def dead(transport="streamable-http"):
    return {"transport": transport, "url": f"http://127.0.0.1:{free_port()}/mcp", "timeout": 2}


async def test_s10_healthy_servers_do_not_wait_for_sick_ones(configure, serving, stdio, silent_url):
    async with asyncio.timeout(30):
        good = await serving(ScriptedServer("good", resources=2))
        orchestrator = configure(
            {
                "good": good,
                "also_good": await serving(ScriptedServer("other", resources=1), "sse"),
                "dead": dead(),
                "missing": {"transport": "stdio", "command": "no-such-command-anywhere", "timeout": 2},
                "exiting": {
                    "transport": "stdio",
                    "command": sys.executable,
                    "args": ["-c", "import sys; sys.exit('config file not found')"],
                    "timeout": 2,
                },
                "silent": {"transport": "streamable-http", "url": silent_url, "timeout": 2},
            }
        )
        loop = asyncio.get_running_loop()
        started = loop.time()
        await orchestrator.initialize()
        assert loop.time() - started < 5  # one after another, three of the sick take six seconds
        gathered = await orchestrator.gather_all_resources()
    assert {name: len(entry["resources"]) for name, entry in gathered.items()} == {"Good": 2, "Also_Good": 1}
    servers = {server["id"]: server for server in orchestrator.get_status()["servers"]}
    assert "refused" in servers["dead"]["error"]
    assert "no-such-command-anywhere" in servers["missing"]["error"]
    assert "config file not found" in servers["exiting"]["error"]
    assert "no answer within 2 s" in servers["silent"]["error"]
    assert servers["missing"]["state"] == "failed"
    assert {servers[key]["state"] for key in ("dead", "exiting", "silent")} <= {"backing_off", "connecting"}


async def test_s11_fail_fast_names_the_failed_and_closes_the_rest(configure, serving, leftovers):
    async with asyncio.timeout(20):
        fields = await serving(ScriptedServer("good"))
        before = leftovers()
        orchestrator = configure({"good": fields, "bad": dead()}, fail_fast=True, max_retries=0)
        with pytest.raises(MCPConnectionError) as caught:
            await orchestrator.initialize()
        assert set(caught.value.context["failed"]) == {"bad"}
        assert "refused" in caught.value.context["failed"]["bad"]
        assert set(caught.value.context["connected"]) <= {"good"}
        assert leftovers()["tasks"] == before["tasks"]
    assert not orchestrator.get_status()["initialized"]
    assert [server["state"] for server in orchestrator.get_status()["servers"]] == ["closed", "closed"]


async def test_s11_nobody_connected_is_an_error_with_every_reason(configure):
    orchestrator = configure({"a": dead(), "b": {"transport": "stdio", "command": "nowhere"}}, max_retries=0)
    async with asyncio.timeout(20):
        with pytest.raises(NoMCPAvailableError) as caught:
            await orchestrator.initialize()
    assert set(caught.value.context["failed"]) == {"a", "b"}


async def test_s11_nobody_configured_is_an_error(configure):
    with pytest.raises(NoMCPAvailableError):
        await configure({}).initialize()


async def test_s11_a_failed_server_is_retried_in_the_background(configure, serving):
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    late = {"transport": "streamable-http", "url": url, "timeout": 5}
    async with asyncio.timeout(30):
        orchestrator = configure({"good": await serving(ScriptedServer("good")), "late": late}, max_retries=0)
        await orchestrator.initialize()
        assert not orchestrator.registry.get_server("late").connected
        async with ServerProcess(port=port, name="late", resources=1):
            await until(lambda: orchestrator.registry.get_server("late").connected)
            assert set(await orchestrator.gather_all_resources()) == {"Good", "Late"}


async def test_s12_ten_concurrent_calls_connect_once(configure, serving):
    server = ScriptedServer("once")
    connects = 0

    async def counting(scope, receive, send):
        nonlocal connects
        connects += scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"server/discover"
        await server_app(scope, receive, send)

    server_app = server.app()
    async with asyncio.timeout(20):
        orchestrator = configure({"once": await serving(counting)})
        await asyncio.gather(*(orchestrator.initialize() for _ in range(10)))
        await orchestrator.initialize()
    assert connects == 1


async def test_s12_initialize_works_again_after_an_error_and_after_close(configure):
    port = free_port()
    fields = {"transport": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp", "timeout": 5}
    orchestrator = configure({"a": fields}, max_retries=0)
    async with asyncio.timeout(40):
        with pytest.raises(NoMCPAvailableError):
            await orchestrator.initialize()
        async with ServerProcess(port=port, name="a", resources=2):
            await orchestrator.initialize()
            assert len((await orchestrator.gather_all_resources())["A"]["resources"]) == 2
            await orchestrator.close()
            await orchestrator.initialize()
            assert len((await orchestrator.gather_all_resources())["A"]["resources"]) == 2


async def test_s13_max_retries_bounds_the_attempts_while_initialising(configure):
    attempts = 0

    def refuse(reader, writer):
        nonlocal attempts
        attempts += 1
        writer.transport.abort()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/sse"
    orchestrator = configure({"a": {"transport": "sse", "url": url, "timeout": 20}}, max_retries=2)
    async with asyncio.timeout(20), listener:
        with pytest.raises(NoMCPAvailableError):
            await orchestrator.initialize()
    assert attempts == 3


async def test_s13_what_cannot_succeed_is_not_retried(configure, serving):
    requests = 0

    async def refuse(scope, receive, send):
        nonlocal requests
        if scope["type"] == "http":
            requests += 1
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

    async with asyncio.timeout(20):
        orchestrator = configure(
            {"good": await serving(ScriptedServer("good")), "locked": await serving(refuse)}, max_retries=5
        )
        await orchestrator.initialize()
        assert requests == 1
    assert orchestrator.registry.get_server("locked").state == "auth_required"


async def test_s14_close_from_another_task_leaves_nothing(configure, processes, stdio, leftovers):
    async with asyncio.timeout(60):
        http = {"transport": "streamable-http", "url": processes.http.url}
        sse = {"transport": "sse", "url": processes.sse.url}
        before = leftovers()
        orchestrator = configure({"http": http, "sse": sse, "stdio": stdio(name="child")})
        await asyncio.create_task(orchestrator.initialize())
        await asyncio.create_task(orchestrator.gather_all_resources())
        assert len(leftovers()["children"]) == len(before["children"]) + 1
        await asyncio.gather(*(asyncio.create_task(orchestrator.close()) for _ in range(3)))
        await orchestrator.close()
        await until(lambda: leftovers() == before, say=leftovers)


async def test_s14_close_while_initialising_ends_both(configure, silent_url, leftovers):
    before = leftovers()
    orchestrator = configure({"silent": {"transport": "streamable-http", "url": silent_url, "timeout": 60}})
    async with asyncio.timeout(10):
        starting = asyncio.create_task(orchestrator.initialize())
        await until(lambda: bool(orchestrator.registry.get_all_servers()))
        await orchestrator.close()
        with pytest.raises(MCPConnectionError, match="closed"):
            await starting
    assert leftovers()["tasks"] == before["tasks"]


async def test_s15_a_managed_session_closes_on_error_and_on_cancellation(configure, serving, leftovers):
    async with asyncio.timeout(20):
        fields = await serving(ScriptedServer("a"))
        before = leftovers()
        orchestrator = configure({"a": fields})

        async def failing_session():
            async with orchestrator.managed_session() as session:
                assert session is orchestrator
                assert await session.gather_all_resources()
                raise LookupError

        with pytest.raises(LookupError):
            await failing_session()
        assert not orchestrator.get_status()["initialized"]

        entered = asyncio.Event()

        async def session_for_ever():
            async with orchestrator.managed_session():
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(session_for_ever())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not orchestrator.get_status()["initialized"]
        assert leftovers()["tasks"] == before["tasks"]


async def test_s15_cancelling_the_entry_of_a_session_leaves_nothing(configure, silent_url, leftovers):
    before = leftovers()
    orchestrator = configure({"silent": {"transport": "streamable-http", "url": silent_url, "timeout": 60}})

    async def enter():
        async with orchestrator.managed_session():
            pass

    async with asyncio.timeout(10):
        task = asyncio.create_task(enter())
        await until(lambda: bool(orchestrator.registry.get_all_servers()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: leftovers()["tasks"] == before["tasks"])


async def test_s14_thirty_cycles_leave_no_task_descriptor_or_child(configure, processes, leftovers):
    async with asyncio.timeout(240):
        http = {"transport": "streamable-http", "url": processes.http.url}
        sse = {"transport": "sse", "url": processes.sse.url}
        small = {
            "transport": "stdio",
            "command": sys.executable,
            # A server of the legacy era without any import: a cycle then costs milliseconds, not a second.
            "args": ["-c", TINY_SERVER],
        }
        orchestrator = configure({"http": http, "sse": sse, "stdio": small})
        await cycle(orchestrator)
        await asyncio.sleep(0)
        before = leftovers()
        for _ in range(30):
            await cycle(orchestrator)
        await until(lambda: leftovers() == before, say=leftovers)


async def test_s20_what_was_closed_is_started_by_initialize_alone(configure, serving):
    async with asyncio.timeout(20):
        orchestrator = configure({"a": {**await serving(ScriptedServer("a")), "domains": ["d"]}})
        await orchestrator.gather_all_resources()
        await orchestrator.close()
        for late in (orchestrator.gather_all_resources(), orchestrator.get_resources_for_domain("d")):
            with pytest.raises(MCPConnectionError, match="initialize"):
                await late
        assert not orchestrator.get_status()["initialized"]
        await orchestrator.initialize()
        assert await orchestrator.get_resources_for_domain("d")


@pytest.mark.parametrize("broken", ["policy", "backend"])
async def test_s16_a_plug_in_whose_factory_fails_is_our_error_and_opens_nothing(serving, leftovers, broken):
    def fail(options):
        raise OSError("/secret/path")

    class Plugin:
        @hookimpl
        def mcp_orchestra_cache_backends(self):
            yield CacheBackendSpec(name="broken", open=fail)

        @hookimpl
        def mcp_orchestra_routing_policies(self):
            yield RoutingPolicySpec(name="broken", create=fail)

    plugins = PluginManager()
    plugins.discover()
    plugins.register(Plugin(), "broken")
    chosen = {"policy": {"routing": {"policy": "broken"}}, "backend": {"cache": {"backend": "broken"}}}[broken]
    async with asyncio.timeout(20):
        server = {"a": {"name": "A", **await serving(ScriptedServer("a"))}}
        config = MCPConfig.model_validate({"mcp_servers": server, "orchestration": chosen})
        before = leftovers()
        orchestrator = MCPOrchestrator(config=config, plugins=plugins)
        with pytest.raises(PluginError, match="broken") as caught:
            await orchestrator.initialize()
        assert "/secret/path" not in str(caught.value)
        await orchestrator.close()
        assert leftovers()["tasks"] == before["tasks"]


def test_an_orchestrator_can_be_used_on_one_event_loop_after_another(tmp_path):
    port = free_port()
    server = {"a": {"name": "A", "transport": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp", "timeout": 10}}
    orchestrator = MCPOrchestrator(config=MCPConfig.model_validate({"mcp_servers": server}))

    async def gather():
        async with asyncio.timeout(30), ServerProcess(port=port, name="a", resources=1):
            return await orchestrator.gather_all_resources()

    first = asyncio.run(gather())
    assert not orchestrator.get_status()["initialized"]
    assert [server["state"] for server in orchestrator.get_status()["servers"]] == ["closed"]
    orchestrator.cache.invalidate()
    assert asyncio.run(gather()) == first
    asyncio.run(orchestrator.close())


async def cycle(orchestrator: MCPOrchestrator) -> None:
    async with orchestrator.managed_session():
        assert len(await orchestrator.gather_all_resources()) == 3


TINY_SERVER = """
import json, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a grandchild in our process group
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"resources": {}},
                            "serverInfo": {"name": "tiny", "version": "1"}}
    elif message["method"] == "resources/list":
        answer["result"] = {"resources": []}
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), flush=True)
"""


async def until(condition, *, say=None, seconds=20.0):
    """Wait until the condition holds; a test's own deadline ends it too."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen: {say() if say else condition}")
        await asyncio.sleep(0.02)
