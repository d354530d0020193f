"""S6: a secret reaches the server it is for, and nobody else. S8: logging is the application's."""

import asyncio
import json
import logging
import os
import sys
import traceback

import pytest
from mcp_orchestra import MCPOrchestrator, MCPOrchestratorException
from mcp_orchestra.testing.servers import ScriptedServer, free_port

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a9c"


async def test_s6_no_secret_reaches_a_status_log_error_or_repr(serving, tmp_path, monkeypatch, caplog):
    seen: list[bytes] = []
    app = ScriptedServer("a").app()

    async def recording(scope, receive, send):
        headers = dict(scope.get("headers", ()))
        seen.append(headers.get(b"authorization", b""))
        if headers.get(b"mcp-method") == b"resources/list":
            error = {"code": -32603, "message": f"bad token {CANARY}-header"}
            body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
            await send(
                {"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"application/json")]}
            )
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    url = (await serving(recording))["url"]
    monkeypatch.setenv("TOKEN", f"{CANARY}-header")
    (tmp_path / "secret").write_text(f"{CANARY}-file\n")
    shout = "import os, sys; sys.stderr.write('my key is ' + os.environ['KEY']); sys.exit(os.environ['KEY'])"
    path = tmp_path / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "mcp_servers": {
                    "good": {
                        "name": "Good",
                        "url": url,
                        "transport": "http",
                        "headers": {"Authorization": "Bearer ${TOKEN}"},
                    },
                    "talkative": {
                        "name": "Talkative",
                        "transport": "stdio",
                        "command": sys.executable,
                        "args": ["-c", shout],
                        "env": {"KEY": f"${{file:{tmp_path}/secret}}"},
                        "timeout": 5,
                    },
                    "dead": {
                        "name": "Dead",
                        "transport": "http",
                        "url": f"http://user:{CANARY}-userinfo@127.0.0.1:{free_port()}/mcp?key={CANARY}-query",
                        "timeout": 2,
                    },
                },
                "orchestration": {"fail_fast": False, "max_retries": 0, "log_level": "DEBUG"},
            }
        )
    )
    caplog.set_level(logging.DEBUG, logger="mcp_orchestra")
    orchestrator = MCPOrchestrator(path)
    said = [repr(orchestrator)]
    async with asyncio.timeout(40):
        async with orchestrator.managed_session():
            said.append(json.dumps(await orchestrator.gather_all_resources()))
            with pytest.raises(MCPOrchestratorException) as caught:
                await orchestrator.registry.get_server("good").client.list_resources()
            quoted = "".join(traceback.format_exception(caught.value))
            said += [json.dumps(orchestrator.get_status()), repr(orchestrator.config), repr(orchestrator.registry)]
            said += [repr(info) for info in orchestrator.registry.get_all_servers()]
            for server in ("talkative", "dead"):
                with pytest.raises(MCPOrchestratorException) as caught:
                    await orchestrator.call_tool("echo", server=server)
                said += [repr(caught.value), repr(caught.value.context)]
        with pytest.raises(MCPOrchestratorException) as caught:
            await MCPOrchestrator(path, fail_fast=True).initialize()
        said += [repr(caught.value), repr(caught.value.context)]
    said += [record.getMessage() for record in caplog.records if record.name.startswith("mcp_orchestra")]
    assert f"Bearer {CANARY}-header".encode() in seen
    assert "bad token ***" in said[1]
    assert "my key is ***" in said[2]
    assert [text for text in [*said, quoted] if CANARY in text] == []


async def test_s8_only_the_library_s_own_logger_is_touched(configure, serving):
    root, ours = logging.getLogger(), logging.getLogger("mcp_orchestra")
    before = (root.level, list(root.handlers))
    fields = await serving(ScriptedServer("a"))
    await configure({"a": fields}, log_level="ERROR").initialize()
    assert ours.level == logging.ERROR
    assert not ours.handlers
    await configure({"a": fields}, enable_logging=False).initialize()
    assert not ours.isEnabledFor(logging.CRITICAL)
    await configure({"a": fields}, log_level="DEBUG").initialize()
    assert ours.level == logging.DEBUG
    assert (root.level, list(root.handlers)) == before


async def test_a_child_sees_only_a_minimal_environment(configure, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    dump = tmp_path / "environment"
    code = f"import os; open({str(dump)!r}, 'w').write(repr(dict(os.environ)))"
    fields = {"transport": "stdio", "command": sys.executable, "args": ["-c", code], "env": {"MINE": "1"}, "timeout": 5}
    with pytest.raises(MCPOrchestratorException):
        await configure({"a": fields}, max_retries=0).initialize()
    environment = dump.read_text()
    assert CANARY not in environment
    assert "'MINE': '1'" in environment
    assert os.environ["PATH"] in environment
