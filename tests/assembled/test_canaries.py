"""S6: whatever goes wrong, no secret reaches anybody but the server that it is for.

Each secret is a random word. Upstreams of every kind of malice quote what they were sent, in every place of every
answer, and everything that people or programs could see afterwards is searched for the words.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from mcp_orchestra import ConfigurationError, MCPOrchestrator, MCPOrchestratorException
from mcp_orchestra.testing.raw_http import RawRequest, RawServer, raw_answer
from mcp_orchestra.testing.servers import ScriptedServer, free_port, serve
from mcp_orchestra_cli.main import main
from mcp_orchestra_fastapi import create_router, lifespan
from opentelemetry import context, propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.anyio


class Aviary:
    """Breeds canaries and looks for them."""

    def __init__(self) -> None:
        self.bred: dict[str, str] = {}

    def __call__(self, secret: str) -> str:
        return self.bred.setdefault(secret, f"c4n4ry{secrets.token_hex(8)}")

    def seen_in(self, texts: list[str]) -> list[tuple[str, str]]:
        return [
            (name, text[max(0, text.find(word) - 150) : text.find(word) + 50])
            for name, word in self.bred.items()
            for text in texts
            if word in text
        ]


@pytest.fixture
def canary() -> Aviary:
    return Aviary()


def quote(request: RawRequest) -> str:
    """Everything that a server was told, in one line."""
    return json.dumps([request.target, request.headers, request.body.decode()])


def plain(request: RawRequest) -> str:
    return quote(request).encode("unicode_escape").decode().replace('"', "'")


def rpc_error(request: RawRequest, status: int = 200, code: int = -32603) -> bytes:
    error = {"code": code, "message": quote(request), "data": {"you": quote(request)}}
    body = json.dumps({"jsonrpc": "2.0", "id": request.message.get("id"), "error": error}).encode()
    return raw_answer(status, body, content_type="application/json")


def tool_error(request: RawRequest) -> bytes:
    result = {"resultType": "complete", "isError": True, "content": [{"type": "text", "text": quote(request)}]}
    body = json.dumps({"jsonrpc": "2.0", "id": request.message.get("id"), "result": result}).encode()
    return raw_answer(200, body, content_type="application/json")


MALICE: dict[str, Callable[[RawRequest], bytes | None]] = {
    "401": lambda r: raw_answer(401, quote(r).encode(), www_authenticate=f'Bearer error="{plain(r)}"'),
    "403": lambda r: raw_answer(403, quote(r).encode()),
    "429": lambda r: raw_answer(429, quote(r).encode(), retry_after=plain(r)),
    "500": lambda r: raw_answer(500, quote(r).encode(), content_type="text/plain"),
    "500 with a JSON-RPC error": lambda r: rpc_error(r, 500),
    "a JSON-RPC error": rpc_error,
    "invalid params": lambda r: rpc_error(r, code=-32602),
    "garbage": lambda r: raw_answer(200, quote(r).encode(), content_type="application/json"),
    "another content type": lambda r: raw_answer(200, quote(r).encode(), content_type=plain(r)[:60]),
    "a malformed result": lambda r: raw_answer(
        200,
        json.dumps({"jsonrpc": "2.0", "id": r.message.get("id"), "result": {"resources": quote(r)}}).encode(),
        content_type="application/json",
    ),
    "an event that is no message": lambda r: raw_answer(
        200, f"data: {quote(r)}\n\n".encode(), content_type="text/event-stream"
    ),
    "a token for an answer": lambda r: raw_answer(200, _token(r).encode(), content_type="application/json"),
    "a token for a message": lambda r: raw_answer(
        200, json.dumps([_token(r)]).encode(), content_type="application/json"
    ),
    "the name of an event": lambda r: raw_answer(
        200, f"event: {_token(r)}\ndata: x\n\n".encode(), content_type="text/event-stream"
    ),
    "a redirect": lambda r: raw_answer(307, location=f"http://u:{_token(r)}@far.invalid/?q={_token(r)}"),
    "half an answer": lambda r: raw_answer(200, quote(r).encode(), content_type="application/json")[:-9],
    "no HTTP": lambda r: quote(r).encode(),
    "a reason": lambda r: raw_answer(401).replace(b"Whatever", plain(r).encode()),
    "silence": lambda _: None,
    "a tool error": tool_error,
}


def _token(request: RawRequest) -> str:
    return request.headers.get("authorization", "").partition(" ")[2] or request.headers.get("x-key", "")


@pytest.fixture
async def upstream(canary: Aviary) -> AsyncIterator[Callable[..., Any]]:
    """Serve malice, from the handshake on or only afterwards: ``url = await upstream("401", late=True)``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(kind: str, *, late: bool) -> str:
            class Malicious(dict[str, Any]):
                def get(self, name: str, default: Any = None) -> Any:  # every method that is not in it
                    return super().get(name, MALICE[kind])

            server = RawServer()
            token = json.dumps({"access_token": canary("fetched token"), "token_type": "bearer"}).encode()
            good = {**server.answers, "POST": raw_answer(200, token)}  # for what is no JSON-RPC message
            server.answers = Malicious(good if late else {})
            await stack.enter_async_context(server.listening())
            return server.url

        yield start


def configuration(url: str, canary: Aviary, folder: Any, environ: Callable[[str, str], None]) -> dict[str, Any]:
    """Return servers that are shown every kind of secret, and a cache that has one."""
    (folder / "token").write_text(canary("token_file"))
    (folder / "secret").write_text(canary("secret_file"))
    environ("TOKEN_FROM_ENV", canary("token_env"))
    environ("HEADER_FROM_ENV", canary("header_env"))
    shout = "import os, sys; sys.stderr.write(repr(sys.argv) + repr(dict(os.environ))); sys.exit(os.environ['KEY'])"
    with_userinfo = url.replace("http://", f"http://{canary('user')}:{canary('password')}@")
    oauth = {"type": "oauth-client-credentials", "client_id": "us", "token_url": url}
    http: dict[str, dict[str, Any]] = {
        "headers": {"url": url, "headers": {"X-Key": canary("header"), "Cookie": f"a={canary('cookie')}"}},
        "placeholder": {"url": url, "headers": {"Authorization": "Bearer ${HEADER_FROM_ENV}"}},
        "userinfo": {"url": f"{with_userinfo}?key={canary('query')}"},
        "bearer": {"url": url, "auth": {"type": "bearer", "token": canary("bearer")}},
        "file": {"url": url, "auth": {"type": "bearer", "token_file": str(folder / "token")}},
        "env": {"url": url, "auth": {"type": "bearer", "token_env": "TOKEN_FROM_ENV"}},
        "oauth": {"url": url, "auth": {**oauth, "client_secret": canary("client_secret")}},
        "oauth-post": {
            "url": url,
            "auth": {
                **oauth,
                "client_secret_file": str(folder / "secret"),
                "token_endpoint_auth_method": "client_secret_post",
            },
        },
    }
    stdio = {
        "transport": "stdio",
        "command": sys.executable,
        "args": ["-c", shout, "--api-key", canary("argument"), f"--token={canary('option')}"],
        "env": {"KEY": canary("variable"), "PLAIN": canary("plain variable")},
    }
    servers = {"stdio": stdio, **{name: {"transport": "http", **fields} for name, fields in http.items()}}
    redis = f"redis://:{canary('redis')}@127.0.0.1:{free_port()}/0"
    return {
        "mcp_servers": {
            name: {"name": name.title(), "timeout": 1, "domains": ["d"], **fields} for name, fields in servers.items()
        },
        "orchestration": {
            "fail_fast": False,
            "max_retries": 0,
            "log_level": "DEBUG",
            "cache": {"backend": "redis", "options": {"url": redis}},
        },
    }


async def everything(orchestrator: MCPOrchestrator) -> list[str]:
    """Ask everything of every server, and return all that there is to see."""
    said = [repr(orchestrator)]

    async def ask(question: Any) -> None:
        try:
            answer = await question
            said.append(repr(answer) + (answer.model_dump_json() if hasattr(answer, "model_dump_json") else ""))
        except MCPOrchestratorException as error:
            said.extend([str(error), repr(error), repr(error.context), repr(error.args)])
            said.append("".join(traceback.format_exception(error)))

    with contextlib.suppress(MCPOrchestratorException):
        await orchestrator.initialize()
    servers = orchestrator.registry.get_all_servers()
    questions = [
        orchestrator.initialize(),
        orchestrator.gather_all_resources(),
        orchestrator.get_resources_for_domain("d"),
        orchestrator.read_resource("x://y"),
        orchestrator.list_tools(),
    ]
    for info in servers:
        questions.append(orchestrator.call_tool("echo", server=info.server_id))
        if info.client is not None:
            client = info.client
            questions += [client.list_resources(), client.read_resource("x://y"), client.list_prompts()]
            questions += [client.get_prompt("p"), client.call_tool("echo", {})]
    await asyncio.gather(*map(ask, questions))
    said += [json.dumps(orchestrator.get_status()), repr(orchestrator.config), repr(orchestrator.registry)]
    said += [repr(info) for info in servers] + [repr(info.client) for info in servers]
    said += (
        [repr(vars(thing)) for thing in (*orchestrator._life.running.connections,)]
        if orchestrator._life.running
        else []
    )
    return said


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the handshake"])
@pytest.mark.parametrize("kind", MALICE)
async def test_s6_no_secret_comes_out_of_a_failure(kind, late, upstream, canary, tmp_path, monkeypatch, caplog):
    url = await upstream(kind, late=late)
    document = configuration(url, canary, tmp_path, monkeypatch.setenv)
    path = tmp_path / "config.yaml"
    if kind != "401":
        del document["mcp_servers"]["stdio"]  # it fails alike whatever the others do
    path.write_text(json.dumps(document))
    caplog.set_level(logging.DEBUG)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    orchestrator = MCPOrchestrator(path, tracer_provider=provider)
    async with asyncio.timeout(60):
        try:
            said = await everything(orchestrator)
        finally:
            await orchestrator.close()
        try:
            async with MCPOrchestrator(path, fail_fast=True).managed_session():
                assert late, "nothing can be connected to"
        except MCPOrchestratorException as error:
            said += [repr(error.context), "".join(traceback.format_exception(error))]
    said += [span.to_json() for span in exporter.get_finished_spans()]
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    # httpcore2 logs every header of an answer at DEBUG, which nobody but the application can change.
    said += [formatter.format(record) for record in caplog.records if not record.name.startswith("httpcore2.")]
    assert len(canary.bred) >= 14
    assert canary.seen_in(said) == []


async def command(*arguments: str) -> str:
    """Run the command and return all that it writes."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "mcp_orchestra_cli", *arguments], stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    written, _ = await process.communicate()
    return written.decode()


async def test_s6_no_secret_comes_out_of_the_web_application_or_the_command(upstream, canary, tmp_path, monkeypatch):
    url = await upstream("a tool error", late=True)
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(configuration(url, canary, tmp_path, monkeypatch.setenv)))
    orchestrator = MCPOrchestrator(path)
    app = FastAPI(lifespan=lifespan(orchestrator))
    app.include_router(create_router(orchestrator))
    async with asyncio.timeout(80):
        async with serve(app) as base, httpx2.AsyncClient(base_url=base.removesuffix("/mcp"), timeout=30) as client:
            routes = ("/mcp/status", "/mcp/resources", "/mcp/resources/d", "/mcp/resources/x")
            answers = [await client.get(route) for route in routes]
        said = [repr((answer.text, answer.headers.raw)) for answer in answers]
        config = ("--config", str(path))
        said += await asyncio.gather(
            command("resources", "--debug", *config), command("call", "echo", "--server", "file", "--json", *config)
        )
    assert [answer.status_code for answer in answers][:2] == [200, 200]
    assert all(len(text) > 100 for text in said)
    assert canary.seen_in(said) == []


def test_s6_a_secret_in_the_wrong_place_is_not_shown(canary, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", canary("variable"))
    path = tmp_path / "config.yaml"
    good: dict[str, Any] = {"name": "A", "transport": "http", "url": "https://a.example/mcp"}
    word = canary("literal")
    wrong: list[dict[str, Any]] = [
        {"transport": word},
        {"url": f"ftp://u:{word}@a.example"},
        {"url": f"http://user:12/{word}@a.example/"},
        {"timeout": word},
        {"priority": "${SECRET}"},
        {"mode": "${SECRET}"},
        {"headers": word},
        {"headers": {"X-Key": f"{word}\r\nX: y"}},
        {"headers": [word]},
        {"auth": word},
        {"auth": {"type": word}},
        {"auth": {"type": "bearer", "token": f"{word} {word}"}},
        {"auth": {"type": "bearer", "token_env": f"{word}-x"}},
        {"auth": {"type": "bearer", "token": "${SECRET}", "token_file": word}},
        {"auth": {"type": "oauth-client-credentials", "client_id": "a", "client_secret": word, "token_url": word}},
        {"transport": "stdio", "url": "", "command": f"{word}\0"},
        {"transport": "stdio", "url": "", "command": "x", "env": {"A": [word]}},
        {"transport": "stdio", "url": "", "command": "x", "args": word},
    ]
    said: list[str] = []
    failed = 0
    for fields in wrong:
        path.write_text(json.dumps({"mcp_servers": {"a": {**good, **fields}}}))
        try:
            MCPOrchestrator(path).load_configuration()
        except ConfigurationError as error:
            failed += 1
            said += [str(error), repr(error), repr(error.context), "".join(traceback.format_exception(error))]
        for more in ([], ["--json"], ["--debug"]):
            main(["check", *more, "--config", str(path)])
    said += capsys.readouterr()
    assert failed == len(wrong) - 1, "an address with a slash in its password cannot be told from another"
    assert canary.seen_in(said) == []


async def test_nothing_of_a_caller_s_request_is_passed_upstream(canary, configure):
    seen: list[str] = []
    app = ScriptedServer("a").app()

    async def recording(scope, receive, send):
        seen.append(repr(scope))

        async def noting():
            message = await receive()
            seen.append(repr(message))
            return message

        await app(scope, noting, send)

    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve(recording))  # type: ignore[arg-type]
        fields = {"transport": "http", "url": url, "domains": ["d"], "auth": {"type": "bearer", "token": "0urs"}}
        orchestrator = configure({"a": fields})
        web = FastAPI(lifespan=lifespan(orchestrator))
        web.include_router(create_router(orchestrator))

        async def instrumented(scope, receive, send):
            """Do what OpenTelemetry's instrumentation of web applications does."""
            token = context.attach(propagate.extract({k.decode(): v.decode() for k, v in scope.get("headers", ())}))
            try:
                await web(scope, receive, send)
            finally:
                context.detach(token)

        base = (await stack.enter_async_context(serve(instrumented))).removesuffix("/mcp")  # type: ignore[arg-type]
        headers = {
            "authorization": f"Bearer {canary('authorization')}",
            "cookie": f"session={canary('cookie')}",
            "x-api-key": canary("key"),
            "mcp-session-id": canary("session"),
            "x-forwarded-for": canary("forwarded"),
            "baggage": f"user={canary('baggage')}",
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        }
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=base, headers=headers, timeout=20))
        async with asyncio.timeout(60):
            for route in ("/mcp/status", "/mcp/resources", "/mcp/resources/d"):
                assert (await client.get(route, params={"k": canary("query")})).status_code == 200
            await client.post("/mcp/cache/invalidate", json={})
            await client.get("/mcp/resources")
    assert any("Bearer 0urs" in text for text in seen)
    assert len(seen) > 10
    assert canary.seen_in(seen) == []
