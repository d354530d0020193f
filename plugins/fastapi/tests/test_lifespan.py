"""Starting and ending with the application, also while upstreams are down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from fastapi import FastAPI, Request
from mcp_orchestra import ConfigurationError, MCPConnectionError, MCPOrchestrator, NoMCPAvailableError
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, free_port, serve
from mcp_orchestra_fastapi import create_router, lifespan

pytestmark = pytest.mark.anyio

Serving = Callable[[FastAPI], AbstractAsyncContextManager[httpx2.AsyncClient]]
Orchestrate = Callable[..., MCPOrchestrator]


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running."""
    before = asyncio.all_tasks()
    yield
    # Those that are being cancelled, by the server that ran in this loop for instance, may finish first.
    for _ in range(100):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if "TestRunner" not in str(task.get_coro())]
    assert not left


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try to start again at once."""
    monkeypatch.setattr("mcp_orchestra_fastapi.startup.RETRY_SECONDS", 0.0)


@pytest.fixture
def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave it at the first attempt to start."""
    monkeypatch.setattr("mcp_orchestra_fastapi.startup.RETRY_SECONDS", 3600.0)


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}/mcp"


async def test_the_application_s_own_lifespan_lies_within_the_orchestrator_s(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    seen: list[tuple[str, bool]] = []
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}})

        def connected() -> bool:
            return bool(orchestrator.registry.get_connected_servers())

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            seen.append(("starting", connected()))
            yield {"greeting": "hello"}
            seen.append(("ending", connected()))

        app = FastAPI(lifespan=lifespan(orchestrator, also=own))

        @app.get("/greeting")
        async def greeting(request: Request) -> str:
            return str(request.state.greeting)

        async with serving(app) as client:
            seen.append(((await client.get("/greeting")).json(), connected()))
        seen.append(("ended", connected()))

    assert seen == [("starting", True), ("hello", True), ("ending", True), ("ended", False)]


async def test_it_can_be_entered_from_the_application_s_own_lifespan(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}})

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[None]:
            async with lifespan(orchestrator)(app):
                yield

        app = FastAPI(lifespan=own)
        app.include_router(create_router(orchestrator))
        async with serving(app) as client:
            answer = await client.get("/mcp/resources")

    assert list(answer.json()) == ["A"]
    assert orchestrator.get_status()["initialized"] is False


async def test_the_orchestrator_is_closed_when_the_application_s_own_start_fails(orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}})

        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[None]:
            assert orchestrator.get_status()["initialized"]
            raise RuntimeError("no database")
            yield

        app = FastAPI()
        with pytest.raises(RuntimeError, match="no database"):
            async with lifespan(orchestrator, also=own)(app):
                pytest.fail("the application has not started")

    assert orchestrator.get_status()["initialized"] is False


@pytest.mark.usefixtures("soon")
async def test_an_application_starts_without_its_upstreams_tells_why_and_finds_them_later(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    server = ServerProcess(name="a")
    orchestrator = orchestrate({"a": {"url": server.url, "domains": ["products"]}})
    app = FastAPI(lifespan=lifespan(orchestrator))
    app.include_router(create_router(orchestrator))
    async with serving(app) as client:
        status = (await client.get("/mcp/status")).json()
        refused = await client.get("/mcp/resources/products")
        unknown = await client.get("/mcp/resources/weather")
        async with server:
            healed = status
            while not healed["initialized"]:  # nobody asks for anything else meanwhile
                healed = (await client.get("/mcp/status")).json()

    assert status["initialized"] is False
    (shown,) = status["servers"]
    assert shown["connected"] is False
    assert "refused" in shown["error"]
    assert refused.status_code == 503
    assert refused.json()["error"]["type"] == "NoMCPAvailableError"
    assert refused.headers["retry-after"] == "5"
    assert unknown.status_code == 404
    assert healed["servers"][0]["error"] is None
    assert [record.levelname for record in log.records if "serving without" in record.getMessage()] == ["ERROR"]
    assert "MCP servers are available now" in log.text


async def test_s11_failing_fast_closes_all_and_the_status_tells_why(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url:
        servers = {"good": {"url": url, "priority": 1}, "bad": {"url": nobody(), "priority": 2}}
        orchestrator = orchestrate(servers, fail_fast=True)
        app = FastAPI(lifespan=lifespan(orchestrator))
        app.include_router(create_router(orchestrator))
        async with serving(app) as client:
            refused = await client.get("/mcp/resources")
            status = (await client.get("/mcp/status")).json()

    assert refused.status_code == 503
    assert refused.json()["error"]["type"] == "MCPConnectionError"
    errors = {server["name"]: server["error"] for server in status["servers"]}
    assert errors["Good"] is None
    assert "refused" in errors["Bad"]


@pytest.mark.usefixtures("never_again")
async def test_s20_a_question_does_not_wait_for_the_next_attempt_but_makes_one(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    server = ServerProcess(name="a")
    orchestrator = orchestrate({"a": {"url": server.url, "domains": ["products"]}})
    app = FastAPI(lifespan=lifespan(orchestrator))
    app.include_router(create_router(orchestrator))
    async with serving(app) as client, server:
        answer = await client.get("/mcp/resources/products")
        status = (await client.get("/mcp/status")).json()

    assert answer.status_code == 200
    assert status["initialized"] is True


@pytest.mark.usefixtures("soon")
async def test_an_application_ends_while_an_attempt_to_start_is_under_way(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    silent, asked, let_go = False, asyncio.Event(), asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if silent:
            asked.set()
            await let_go.wait()
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
        orchestrator = orchestrate({"a": {"url": url, "timeout": 600}})
        async with serving(FastAPI(lifespan=lifespan(orchestrator))):
            silent = True
            await asked.wait()
        let_go.set()

    assert orchestrator.get_status()["initialized"] is False


@pytest.mark.usefixtures("never_again")
async def test_a_mounted_application_answers_as_the_one_that_started(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    server = ServerProcess(name="a")
    orchestrator = orchestrate({"a": {"url": server.url}}, fail_fast=True)
    main, mounted = FastAPI(lifespan=lifespan(orchestrator)), FastAPI()
    main.include_router(create_router(orchestrator))
    mounted.include_router(create_router(orchestrator))
    main.mount("/api", mounted)
    async with serving(main) as client:
        statuses = [(await client.get(f"{path}/mcp/status")).json() for path in ("", "/api")]
        refused = [await client.get(f"{path}/mcp/resources") for path in ("", "/api")]
        async with server:
            answers = [await client.get(f"{path}/mcp/resources") for path in ("", "/api")]

    assert statuses[0] == statuses[1]
    assert "refused" in statuses[0]["servers"][0]["error"]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in refused] == [(503, "5")] * 2
    assert [list(answer.json()) for answer in answers] == [["A"], ["A"]]


async def test_a_request_after_the_end_is_refused_and_starts_nothing(orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        app = FastAPI(lifespan=lifespan(orchestrator))
        app.include_router(create_router(orchestrator))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://late") as client:
            with anyio.fail_after(30):
                async with lifespan(orchestrator)(app):
                    before = await client.get("/mcp/resources/products")
                late = await client.get("/mcp/resources/products")

    assert (before.status_code, late.status_code) == (200, 503)
    assert late.json()["error"]["type"] == "MCPConnectionError"
    assert orchestrator.get_status()["initialized"] is False


@pytest.mark.parametrize(("fail_fast", "error"), [(False, NoMCPAvailableError), (True, MCPConnectionError)])
async def test_a_start_that_requires_servers_fails_without_them(
    orchestrate: Orchestrate, fail_fast: bool, error: type[Exception]
) -> None:
    orchestrator = orchestrate({"a": {"url": nobody()}}, fail_fast=fail_fast)
    with anyio.fail_after(30), pytest.raises(error):
        async with lifespan(orchestrator, required=True)(FastAPI()):
            pytest.fail("the application has not started")


async def test_a_configuration_that_cannot_be_used_fails_every_start(tmp_path: Path) -> None:
    orchestrator = MCPOrchestrator(tmp_path / "nowhere.yaml")
    with anyio.fail_after(30), pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        async with lifespan(orchestrator)(FastAPI()):
            pytest.fail("the application has not started")


async def test_an_application_can_be_started_again(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}})
        app = FastAPI(lifespan=lifespan(orchestrator))
        app.include_router(create_router(orchestrator))
        for _ in range(2):
            async with serving(app) as client:
                assert (await client.get("/mcp/resources")).status_code == 200


async def test_with_reload_a_changed_configuration_is_picked_up_while_serving(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_orchestra.watching._LOOK_SECONDS", 0.02)
    path = tmp_path / "mcp_config.yaml"

    def write(*names: str) -> None:
        lines = [f"  {name}: {{name: {name}, url: '{url}', transport: http}}\n" for name in names]
        path.write_text("mcp_servers:\n" + "".join(lines))

    async with serve(ScriptedServer("a")) as url:
        write("a")
        orchestrator = MCPOrchestrator(path)
        app = FastAPI(lifespan=lifespan(orchestrator, reload=True))
        app.include_router(create_router(orchestrator))
        async with serving(app) as client:
            write("a", "b")
            while list((await client.get("/mcp/resources")).json()) != ["a", "b"]:
                await asyncio.sleep(0.01)
            path.write_text("not a configuration")
            await asyncio.sleep(0.2)
            assert list((await client.get("/mcp/resources")).json()) == ["a", "b"]


async def test_without_reload_a_changed_configuration_waits_for_the_next_start(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_orchestra.watching._LOOK_SECONDS", 0.02)
    path = tmp_path / "mcp_config.yaml"
    async with serve(ScriptedServer("a")) as url:
        path.write_text(f"mcp_servers: {{a: {{name: A, url: '{url}', transport: http}}}}")
        orchestrator = MCPOrchestrator(path)
        app = FastAPI(lifespan=lifespan(orchestrator))
        app.include_router(create_router(orchestrator))
        async with serving(app) as client:
            path.write_text("mcp_servers: {}")
            await asyncio.sleep(0.2)
            assert list((await client.get("/mcp/resources")).json()) == ["A"]
