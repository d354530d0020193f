"""The routes, asked by a real client of a real application over real upstreams."""

import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx2
import mcp_types as types
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp_orchestra import (
    CacheBackendSpec,
    MCPConfig,
    MCPOrchestrator,
    PluginManager,
    hookimpl,
)
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess, serve
from mcp_orchestra_fastapi import create_router, lifespan
from mcp_orchestra_fastapi.answers import json_response
from mcp_orchestra_fastapi.models import ErrorBody, Invalidated, Resource, ServerResources, Status
from mcp_orchestra_memory import MemoryStore
from pydantic import BaseModel, TypeAdapter

pytestmark = pytest.mark.anyio

Serving = Callable[[FastAPI], AbstractAsyncContextManager[httpx2.AsyncClient]]
Orchestrate = Callable[..., MCPOrchestrator]

CANARY = "password=hunter2 at 10.1.2.3"
JSON = {"content-type": "application/json"}


def application(orchestrator: MCPOrchestrator) -> FastAPI:
    app = FastAPI(lifespan=lifespan(orchestrator))
    app.include_router(create_router(orchestrator))
    return app


def failing_server(name: str) -> Any:
    """A server that connects, and fails to list its resources (``unlistable``) or to read them."""

    async def list_resources(_ctx: Any, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        if name == "unlistable":
            raise MCPError(types.INTERNAL_ERROR, CANARY)
        return types.ListResourcesResult(resources=[types.Resource(uri="res://secret", name="secret")])

    async def read_resource(_ctx: Any, _params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        raise MCPError(types.INTERNAL_ERROR, CANARY)

    server: Server[Any] = Server(name, version="1.0", on_list_resources=list_resources, on_read_resource=read_resource)
    return server.streamable_http_app()


def check_error(answer: httpx2.Response, status: int, type_: str, log: pytest.LogCaptureFixture) -> str:
    """Check an error's shape, and return what the log says about it."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"type", "message", "id"}
    assert error["type"] == type_
    return logged(error["id"], log)


def logged(error_id: str, log: pytest.LogCaptureFixture) -> str:
    records = [record for record in log.records if error_id in record.getMessage()]
    assert [record.name for record in records] == ["mcp_orchestra.fastapi"]
    return log.text


async def test_s42_the_status_is_the_orchestrator_s_without_what_may_hold_undeclared_secrets(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": f"{url}?token=s3cret", "priority": 7, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get("/mcp/status")
            full = orchestrator.get_status()

    status = answer.json()
    assert answer.status_code == 200
    assert status["initialized"] is True
    del full["cache_stats"]["notices"]  # which name files
    assert status["cache_stats"] == full["cache_stats"]
    (server,) = status["servers"]
    documented = {"name": "A", "connected": True, "priority": 7, "domains": ["products"], "error": None}
    assert server | documented == server
    assert server["state"] == "ready"
    assert server.items() <= full["servers"][0].items()
    assert set(full["servers"][0]) - set(server) == {"url", "stderr", "warning"}


async def test_all_resources_are_those_that_the_orchestrator_gathers_in_its_order(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    async with serve(ScriptedServer("a")) as a, serve(ScriptedServer("b", resources={"res://b/blob": b"\x00"})) as b:
        orchestrator = orchestrate({"a": {"url": a, "priority": 2}, "b": {"url": b, "priority": 1}})
        async with serving(application(orchestrator)) as client:
            body = (await client.get("/mcp/resources")).json()
            gathered = await orchestrator.gather_all_resources()

    assert list(body) == ["B", "A"]
    assert body == gathered


async def test_a_domain_s_resources_are_those_of_its_first_server(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as a, serve(ScriptedServer("b", resources={"res://b/x": "from b"})) as b:
        orchestrator = orchestrate(
            {
                "a": {"url": a, "priority": 2, "domains": ["products"]},
                "b": {"url": b, "priority": 1, "domains": ["products"]},
            }
        )
        async with serving(application(orchestrator)) as client:
            body = (await client.get("/mcp/resources/products")).json()

    assert {key: resource["data"] for key, resource in body.items()} == {"x": "from b"}


@pytest.mark.parametrize("path", ["eu/west", "eu%2Fwest", "eu%2fwest"])
async def test_a_domain_may_have_slashes(serving: Serving, orchestrate: Orchestrate, path: str) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["eu/west"]}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get(f"/mcp/resources/{path}")

    assert answer.status_code == 200
    assert len(answer.json()) == 3


async def test_a_domain_that_nobody_declares_is_not_found(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get("/mcp/resources/weather%0Dforged log line")

    said = check_error(answer, 404, "NoMCPAvailableError", log)
    assert "forged" not in answer.text
    assert "/mcp/resources/weather\\rforged log line" in said
    assert "\r" not in said


@pytest.mark.parametrize("domain", ["line%0Aend", "end%0A", "%0D%0Aset-cookie:x", "", "%FF", "x" * 5000])
async def test_the_refusal_of_any_unknown_domain_has_the_one_shape_and_is_short(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, domain: str
) -> None:
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        log.clear()
        answer = await client.get(f"/mcp/resources/{domain}")

    check_error(answer, 404, "NoMCPAvailableError", log)
    assert len(answer.content) < 200
    said = [record.getMessage() for record in log.records if record.name == "mcp_orchestra.fastapi"]
    assert len(said) == 1
    assert len(said[0]) < 400


async def test_a_failed_fetch_is_a_bad_gateway_that_does_not_quote_the_server(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    async with serve(failing_server("unlistable")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get("/mcp/resources/products")

    said = check_error(answer, 502, "ResourceFetchError", log)
    assert answer.json()["error"]["message"] == "the resources could not be fetched from A"
    assert CANARY not in answer.text
    assert CANARY in said


async def test_a_failed_fetch_among_all_costs_that_server_alone_or_everything_if_failing_fast(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    async with serve(failing_server("unlistable")) as bad, serve(ScriptedServer("b")) as good:
        servers = {"a": {"url": bad}, "b": {"url": good}}
        async with serving(application(orchestrate(servers))) as client:
            partial = await client.get("/mcp/resources")
        async with serving(application(orchestrate(servers, fail_fast=True))) as client:
            failed = await client.get("/mcp/resources")

    assert partial.status_code == 200
    assert len(partial.json()["B"]["resources"]) == 3
    assert partial.json()["A"]["resources"] == {}
    assert CANARY not in partial.text
    assert CANARY in logged(partial.json()["A"]["error"]["id"], log)
    check_error(failed, 502, "ResourceFetchError", log)


@pytest.mark.parametrize("path", ["/mcp/resources", "/mcp/resources/products"])
async def test_s22_an_unreadable_resource_keeps_its_place_without_the_server_s_words(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, path: str
) -> None:
    async with serve(failing_server("unreadable")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get(path)

    assert answer.status_code == 200
    assert CANARY not in answer.text
    resources = answer.json() if path.endswith("products") else answer.json()["A"]["resources"]
    assert resources["secret"]["uri"] == "res://secret"
    assert CANARY in logged(resources["secret"]["error"]["id"], log)


@pytest.mark.parametrize("path", ["/mcp/resources", "/mcp/resources/products"])
async def test_without_a_connected_server_the_service_is_unavailable_and_says_when_to_ask_again(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, path: str
) -> None:
    async with ServerProcess(name="a") as server:
        orchestrator = orchestrate({"a": {"url": server.url, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:
            await server.kill()
            answer = await client.get(path)
            while answer.status_code != 503:  # until the loss is noticed it is a failed fetch or a cached answer
                orchestrator.cache.invalidate()
                answer = await client.get(path)
            status = (await client.get("/mcp/status")).json()

    check_error(answer, 503, "NoMCPAvailableError", log)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert status["servers"][0]["connected"] is False
    assert status["servers"][0]["error"]


async def test_a_domain_of_a_disabled_server_is_unavailable_and_nothing_is_planned(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}, "b": {"url": url, "domains": ["old"], "enabled": False}})
        async with serving(application(orchestrator)) as client:
            answer = await client.get("/mcp/resources/old")

    check_error(answer, 503, "NoMCPAvailableError", log)
    assert answer.headers["retry-after"] == "30"


async def test_invalidating_makes_the_next_answer_a_miss(serving: Serving, orchestrate: Orchestrate) -> None:
    upstream = ScriptedServer("a")
    async with serve(upstream) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        async with serving(application(orchestrator)) as client:

            async def counts() -> tuple[int, int, int]:
                await client.get("/mcp/resources/products")
                stats = (await client.get("/mcp/status")).json()["cache_stats"]
                return stats["hits"], stats["misses"], upstream.requests["resources/list"]

            assert await counts() == (0, 1, 1)
            assert await counts() == (1, 1, 1)

            everything = await client.post("/mcp/cache/invalidate", json={"key": None})
            assert everything.json() | {"key": None} == everything.json()
            assert everything.json()["cache_stats"]["cached_items"] == 0
            assert await counts() == (1, 2, 2)

            one = await client.post("/mcp/cache/invalidate", json={"key": "resources:a"})
            assert one.json()["key"] == "resources:a"
            assert await counts() == (1, 3, 3)


@pytest.mark.parametrize("key", ["resources:other", ""])
async def test_s30_invalidating_another_key_leaves_the_entry(
    serving: Serving, orchestrate: Orchestrate, key: str
) -> None:
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        await client.get("/mcp/resources")
        answer = await client.post("/mcp/cache/invalidate", json={"key": key})

    assert answer.status_code == 200
    assert answer.json()["cache_stats"]["cached_items"] == 1


async def test_an_empty_body_drops_everything(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        await client.get("/mcp/resources")
        answer = await client.post("/mcp/cache/invalidate", headers={"content-type": "Application/JSON; charset=utf-8"})

    assert answer.status_code == 200
    assert answer.json()["key"] is None
    assert answer.json()["cache_stats"]["cached_items"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"kee": "hunter2"}',
        b'{"key": ["hunter2"]}',
        b'["hunter2"]',
        b'"hunter2"',
        b"{hunter2",
        b"null",
        rb'{"key": "hunter2\ud800"}',
        b'{"key": "hunter2\xff"}',
        b"[" * 10_000,
    ],
)
async def test_a_body_that_is_not_understood_invalidates_nothing_and_is_not_repeated(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, body: bytes
) -> None:
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        await client.get("/mcp/resources")
        answer = await client.post("/mcp/cache/invalidate", content=body, headers=JSON)
        status = (await client.get("/mcp/status")).json()

    said = check_error(answer, 422, "InvalidRequest", log)
    assert "hunter2" not in answer.text + said
    assert status["cache_stats"]["cached_items"] == 1


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "text/json"])
@pytest.mark.parametrize("body", [b"", b'{"key": null}'])
async def test_what_a_foreign_page_can_make_a_browser_send_invalidates_nothing(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, content_type: str | None, body: bytes
) -> None:
    headers = {"origin": "http://evil.example"} | ({"content-type": content_type} if content_type else {})
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        await client.get("/mcp/resources")
        answer = await client.post("/mcp/cache/invalidate", content=body, headers=headers)
        status = (await client.get("/mcp/status")).json()

    check_error(answer, 415, "InvalidRequest", log)
    assert status["cache_stats"]["cached_items"] == 1


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_body_is_refused_before_it_has_been_read(
    serving: Serving, orchestrate: Orchestrate, log: pytest.LogCaptureFixture, chunked: bool
) -> None:
    body = b'{"key": "' + b"x" * 100_000 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        answer = await client.post("/mcp/cache/invalidate", content=chunks() if chunked else body, headers=JSON)

    check_error(answer, 413, "InvalidRequest", log)


async def test_a_caller_who_goes_away_amid_a_body_is_no_failure_of_ours(
    orchestrate: Orchestrate, log: pytest.LogCaptureFixture
) -> None:
    incoming = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    app = FastAPI()
    app.include_router(create_router(orchestrate({})))
    scope = {"type": "http", "method": "POST", "path": "/mcp/cache/invalidate", "query_string": b""}
    with anyio.fail_after(20):
        await app(scope | {"headers": [(b"content-type", b"application/json")]}, receive, send)

    assert sent[0]["status"] == 400
    assert [record.levelname for record in log.records if record.name == "mcp_orchestra.fastapi"] == ["INFO"]


async def test_an_unforeseen_error_shows_nothing_but_its_id(serving: Serving, log: pytest.LogCaptureFixture) -> None:
    class Broken(MCPOrchestrator):
        async def gather_all_resources(self) -> dict[str, Any]:
            raise RuntimeError(CANARY)

    app = FastAPI()
    app.include_router(create_router(Broken(config=MCPConfig())))
    async with serving(app) as client:
        answer = await client.get("/mcp/resources")

    said = check_error(answer, 500, "InternalError", log)
    assert answer.json()["error"]["message"] == "internal error"
    assert f"RuntimeError: {CANARY}" in said
    assert "Traceback" in said


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/mcp/resources"), ("GET", "/mcp/resources/products"), ("POST", "/mcp/cache/invalidate")],
)
async def test_a_configuration_that_cannot_be_used_is_an_internal_error_without_paths(
    serving: Serving, log: pytest.LogCaptureFixture, tmp_path: Path, method: str, path: str
) -> None:
    app = FastAPI()
    app.include_router(create_router(MCPOrchestrator(tmp_path / "nowhere.yaml")))
    async with serving(app) as client:
        answer = await client.request(method, path, headers=JSON)
        status = await client.get("/mcp/status")

    said = check_error(answer, 500, "ConfigurationError", log)
    assert "nowhere" not in answer.text
    assert "nowhere.yaml" in said
    assert status.json()["initialized"] is False


async def test_s20_without_a_lifespan_the_first_question_connects(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        app = FastAPI()
        app.include_router(create_router(orchestrator))
        async with serving(app) as client:
            before = (await client.get("/mcp/status")).json()
            answer = await client.get("/mcp/resources/products")
            after = (await client.get("/mcp/status")).json()
            await orchestrator.close()

    assert (before["initialized"], answer.status_code, after["initialized"]) == (False, 200, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/mcp/status"),
        ("GET", "/mcp/resources"),
        ("GET", "/mcp/resources/products"),
        ("POST", "/mcp/cache/invalidate"),
    ],
)
async def test_dependencies_guard_every_route(
    serving: Serving, orchestrate: Orchestrate, method: str, path: str
) -> None:
    def check(token: Annotated[str, Header()] = "") -> None:
        if token != "right":
            raise HTTPException(401, "who are you?")

    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url, "domains": ["products"]}})
        app = FastAPI(lifespan=lifespan(orchestrator))
        app.include_router(create_router(orchestrator, dependencies=[Depends(check)]))
        async with serving(app) as client:
            refused = await client.request(method, path)
            admitted = await client.request(method, path, headers=JSON | {"token": "right"})

    assert (refused.status_code, refused.json()) == (401, {"detail": "who are you?"})
    assert admitted.status_code == 200


async def test_two_orchestrators_have_routes_side_by_side(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as a, serve(ScriptedServer("b")) as b:
        first, second = orchestrate({"a": {"url": a}}), orchestrate({"b": {"url": b}})
        app = FastAPI(lifespan=lifespan(first, also=lifespan(second)))
        app.include_router(create_router(first, prefix=""))
        app.include_router(create_router(second, prefix="/api/mcp"))
        async with serving(app) as client:
            answers = [(await client.get(path)).json() for path in ("/resources", "/api/mcp/resources")]

    assert [list(answer) for answer in answers] == [["A"], ["B"]]


async def test_the_openapi_document_describes_what_is_answered(serving: Serving, orchestrate: Orchestrate) -> None:
    contents: dict[str, str | bytes] = {"res://a/blob": b"\x00", "res://a/text": "text", "res://a/more": "text"}
    async with serve(ScriptedServer("a", resources=contents)) as good, serve(failing_server("unreadable")) as bad:
        servers = {"a": {"url": good, "domains": ["products"], "max_resources_read": 2}, "b": {"url": bad}}
        async with serving(application(orchestrate(servers))) as client:
            document = (await client.get("/openapi.json")).json()
            answers = {
                "/mcp/status": await client.get("/mcp/status"),
                "/mcp/resources": await client.get("/mcp/resources"),
                "/mcp/resources/{domain}": await client.get("/mcp/resources/products"),
                "/mcp/cache/invalidate": await client.post("/mcp/cache/invalidate", json={}),
            }
            error = await client.get("/mcp/resources/weather")

    models: dict[str, Any] = {
        "/mcp/status": Status,
        "/mcp/resources": dict[str, ServerResources],
        "/mcp/resources/{domain}": dict[str, Resource],
        "/mcp/cache/invalidate": Invalidated,
    }
    for path, answer in answers.items():
        validated = TypeAdapter(models[path]).validate_json(answer.content, strict=True)
        dumped = TypeAdapter(models[path]).dump_python(validated, exclude_unset=True)
        assert dumped == answer.json(), "a field is answered that is not described"
        (operation,) = document["paths"][path].values()
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
    ErrorBody.model_validate_json(error.content, strict=True)
    described = {path: set(next(iter(item.values()))["responses"]) for path, item in document["paths"].items()}
    body = document["paths"]["/mcp/cache/invalidate"]["post"]["requestBody"]["content"]
    assert set(body["application/json"]["schema"]["properties"]) == {"key"}
    assert described == {
        "/mcp/status": {"200", "500"},
        "/mcp/resources": {"200", "500", "502", "503"},
        "/mcp/resources/{domain}": {"200", "404", "422", "500", "502", "503"},
        "/mcp/cache/invalidate": {"200", "413", "415", "422", "500"},
    }


async def test_answers_are_not_for_caches_on_the_way(serving: Serving, orchestrate: Orchestrate) -> None:
    async with serve(ScriptedServer("a")) as url, serving(application(orchestrate({"a": {"url": url}}))) as client:
        answers = [await client.get(path) for path in ("/mcp/status", "/mcp/resources", "/mcp/resources/x")]

    assert [(answer.status_code, answer.headers["cache-control"]) for answer in answers] == [
        (200, "no-store"),
        (200, "no-store"),
        (404, "no-store"),
    ]


async def test_a_number_that_json_does_not_have_becomes_null() -> None:
    class Measured(BaseModel):
        value: float

    body = {"plain": [math.nan, math.inf, -math.inf, 1.5], "model": Measured(value=math.nan)}
    assert json_response(body).body == b'{"plain":[null,null,null,1.5],"model":{"value":null}}'


async def test_counting_what_is_cached_does_not_hold_up_other_requests(
    serving: Serving, orchestrate: Orchestrate
) -> None:
    counting, let_go = threading.Event(), threading.Event()
    released: list[bool] = []

    class SlowStore(MemoryStore):
        """Counts as slowly as a disk may."""

        def count(self, now: float) -> int:
            counting.set()
            released.append(let_go.wait(20))
            return super().count(now)

    class SlowBackend:
        @hookimpl
        def mcp_orchestra_cache_backends(self) -> Iterator[CacheBackendSpec]:
            yield CacheBackendSpec(name="slow", open=lambda _: SlowStore(), blocking=False)

    plugins = PluginManager()
    plugins.discover()
    plugins.register(SlowBackend(), "slow")
    async with serve(ScriptedServer("a")) as url:
        orchestrator = orchestrate({"a": {"url": url}}, plugins=plugins, cache={"backend": "slow"})
        async with serving(application(orchestrator)) as client, anyio.create_task_group() as tasks:
            for method, path in (("GET", "/mcp/status"), ("POST", "/mcp/cache/invalidate")):
                counting.clear()
                let_go.clear()
                tasks.start_soon(partial(client.request, method, path, headers=JSON))
                assert await anyio.to_thread.run_sync(counting.wait, 20)
                assert (await client.get("/mcp/resources/x")).status_code == 404
                let_go.set()
    assert released == [True, True]
