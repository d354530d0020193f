"""The usage examples of the API document run as they stand, over every transport, with only the configuration changed.

The FastAPI example has its tests in ``plugins/fastapi``.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import yaml
from fastapi_server.mcp_orchestrator import MCPOrchestrator
from fastapi_server.orchestrator_exceptions import MCPConnectionError
from mcp_orchestra.testing.servers import ScriptedServer, serve, server_command
from starlette.responses import PlainTextResponse

pytestmark = pytest.mark.anyio

DEFAULT = "fastapi_server/mcp_config.yaml"
"""Where the document expects the configuration."""


async def test_basic_usage(document, configuration, upstream, transport, tmp_path) -> None:
    (example,) = document.under("Usage Examples", "Basic Usage")
    (tmp_path / "basic_usage.py").write_text(example, encoding="utf-8")
    with anyio.fail_after(60):
        async with (
            upstream(transport, name="products", resources=3) as products,
            upstream(transport, name="orders", resources=2) as orders,
        ):
            configuration(
                {
                    "products": {"name": "Products", "domains": ["products"], **products},
                    "orders": {"name": "Orders", "domains": ["orders"], **orders},
                },
                DEFAULT,
            )
            printed = await run_script(tmp_path / "basic_usage.py")
    # Two fetches while gathering, and the third answer comes from the cache.
    assert printed == ["Total servers: 2", "Product resources: 3", "Cache hit rate: 33.33%"]


async def test_custom_configuration(document, run, upstream, transport) -> None:
    (example,) = document.under("Usage Examples", "Custom Configuration")
    names = await run(example, {})
    file = names["config_path"]
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert config == names["config"]
    names["orchestrator"].load_configuration()
    (info,) = names["orchestrator"].registry.get_all_servers()
    assert (info.name, info.config.url, info.config.timeout) == ("Custom MCP", "http://localhost:9000/sse", 60)
    with anyio.fail_after(30):
        async with upstream(transport, name="custom", resources=2) as reached:
            server = config["mcp_servers"]["custom_server"]
            del server["url"], server["transport"]
            server |= reached
            file.write_text(yaml.safe_dump(config), encoding="utf-8")
            names["orchestrator"].load_configuration()
            async with names["orchestrator"].managed_session() as orchestrator:
                gathered = await orchestrator.gather_all_resources()
    assert list(gathered["Custom MCP"]["resources"]) == ["0", "1"]
    assert gathered["Custom MCP"]["capabilities"] == ["special_query"]


async def test_error_handling_returns_what_there_is(document, run, configuration, upstream, transport, capsys) -> None:
    with anyio.fail_after(30):
        async with upstream(transport, name="products", resources=2) as reached:
            config = configuration({"products": {"name": "Products", "domains": ["products"], **reached}})
            async with MCPOrchestrator(config).managed_session() as orchestrator:
                fetch = await safe_resource_fetch(document, run)
                assert list(await fetch(orchestrator, "products")) == ["0", "1"]
                assert await fetch(orchestrator, "weather") == {}
    assert capsys.readouterr().out.splitlines() == ["No MCP servers available"]


async def test_error_handling_names_the_server_that_failed(
    document, run, configuration, upstream, transport, capsys
) -> None:
    with anyio.fail_after(30):
        async with upstream(transport, name="slow", delay=3600) as reached:
            server = {"name": "Slow", "domains": ["products"], "request_timeout": 0.2, **reached}
            async with MCPOrchestrator(configuration({"slow": server})).managed_session() as orchestrator:
                assert await (await safe_resource_fetch(document, run))(orchestrator, "products") == {}
    failed, server = capsys.readouterr().out.splitlines()
    assert failed.startswith("Failed to fetch resources: ")
    assert server == "Server: Slow"


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
async def test_error_handling_connects_again_over_http(document, run, configuration, transport) -> None:
    server = ScriptedServer("late")
    app, up = server.app(transport), asyncio.Event()

    class LateApp:
        async def __call__(self, scope, receive, send) -> None:
            unavailable = scope["type"] == "http" and not up.is_set()
            await (PlainTextResponse("", 503) if unavailable else app)(scope, receive, send)

    with anyio.fail_after(30):
        async with serve(LateApp(), transport) as url:
            config = {"late": {"name": "Late", "domains": ["products"], "transport": transport, "url": url}}
            await connects_again(document, run, configuration(config, max_retries=0), up.set)


async def test_error_handling_connects_again_over_stdio(document, run, configuration, tmp_path) -> None:
    up = tmp_path / "up"
    late = ["-c", 'test -e "$0" && exec "$@"', str(up), *server_command("stdio", name="late")]
    config = {"late": {"name": "Late", "domains": ["products"], "transport": "stdio", "command": "sh", "args": late}}
    with anyio.fail_after(30):
        await connects_again(document, run, configuration(config, max_retries=0), up.touch)


async def test_cache_management(document, run, configuration, upstream, transport, capsys) -> None:
    (example,) = document.under("Usage Examples", "Cache Management")
    with anyio.fail_after(30):
        async with upstream(transport, name="products") as reached:
            configuration({"products": {"name": "Products", **reached}}, DEFAULT)
            names = await run(example, {"MCPOrchestrator": MCPOrchestrator})
            await names["orchestrator"].close()
    assert capsys.readouterr().out.splitlines() == [
        "Cache Performance:",
        "  Hit Rate: 90.00%",
        "  Total Requests: 10",
        "  Cached Items: 1",
    ]


async def test_cache_management_clears_a_cache_of_no_use(document, run, configuration, upstream, capsys) -> None:
    (example,) = document.under("Usage Examples", "Cache Management")
    with anyio.fail_after(30):
        async with upstream("streamable-http", name="products") as reached:
            too_small = {"backend": "memory", "options": {"max_bytes": 1}}
            configuration({"products": {"name": "Products", **reached}}, DEFAULT, cache=too_small)
            names = await run(example, {"MCPOrchestrator": MCPOrchestrator})
            await names["orchestrator"].close()
    assert capsys.readouterr().out.splitlines()[-1] == "Cache cleared due to low hit rate"


async def safe_resource_fetch(document, run, **names):
    """Return the document's function of this name."""
    (example,) = document.under("Usage Examples", "Error Handling")
    return (await run(example, names))["safe_resource_fetch"]


async def connects_again(document, run, config: Path, come_up: Callable[[], object]) -> None:
    """Assert that the document's handler reconnects: the server comes up while it says what went wrong."""
    printed: list[str] = []

    def print_and_come_up(text: str) -> None:
        printed.append(text)
        come_up()

    orchestrator = MCPOrchestrator(config)
    fetch = await safe_resource_fetch(document, run, print=print_and_come_up)
    try:
        with pytest.raises(MCPConnectionError):
            await orchestrator.initialize()
        assert await fetch(orchestrator, "products") == {}
        assert [text.partition(":")[0] for text in printed] == ["Connection error"]
        assert orchestrator.get_status()["servers"][0]["connected"]
        assert list(await fetch(orchestrator, "products")) == ["0", "1", "2"]
    finally:
        await orchestrator.close()


async def run_script(script: Path) -> list[str]:
    """Run a script in its folder, with every warning an error, and return the lines it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", script.name),
        cwd=script.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    errors = err.decode()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors
    assert "Exception ignored" not in errors, errors
    return out.decode().splitlines()
