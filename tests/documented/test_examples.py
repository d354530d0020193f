"""The short examples beside each method of the API document run as they stand."""

from ast import literal_eval
from pathlib import Path

import anyio
import pytest
from fastapi_server.mcp_orchestrator import MCPOrchestrator
from fastapi_server.mcp_registry import MCPRegistry
from fastapi_server.orchestrator_config import MCPServerConfig
from fastapi_server.orchestrator_exceptions import MCPConnectionError
from fastapi_server.resource_cache import ResourceCache

pytestmark = pytest.mark.anyio


def is_example(code: str) -> bool:
    return not code.startswith(("def ", "async def ", "{"))


async def test_every_method_of_the_orchestrator(document, run, configuration, upstream, transport, capsys) -> None:
    with anyio.fail_after(30):
        async with upstream(transport, name="products", resources=3) as reached:
            server = {"name": "Products", "domains": ["products"], **reached}
            configuration({"products": server}, "custom_config.yaml")
            names = {"MCPOrchestrator": MCPOrchestrator, "Path": Path}
            _, *examples = filter(is_example, document.under("MCPOrchestrator", "Classes", "Constructor"))
            for heading in (
                "load_configuration()",
                "async initialize()",
                "async gather_all_resources()",
                "async get_resources_for_domain(domain: str)",
                "get_status()",
                "async close()",
                "Context Manager Support",
            ):
                examples += filter(is_example, document.under("MCPOrchestrator", heading))
            for example in examples:
                await run(example, names)
            assert list(names["product_resources"]) == ["0", "1", "2"]
            assert names["resources"]["Products"]["resources"] == names["product_resources"]
    assert capsys.readouterr().out.splitlines() == ["Products: 3 resources", "Connected servers: 1"]


async def test_every_method_of_the_registry(document, run) -> None:
    names = {"MCPRegistry": MCPRegistry, "MCPServerConfig": MCPServerConfig}
    for example in filter(is_example, document.under("MCPRegistry", "Methods")):
        await run(example, names)
    info = names["registry"].get_server("custom_server")
    assert (info.name, info.config.url, info.config.priority) == ("Custom Server", "http://localhost:9000/sse", 5)


async def test_every_method_of_the_cache(document, run, capsys) -> None:
    names = {"ResourceCache": ResourceCache}
    blocks = document.under("ResourceCache", "Constructor") + document.under("ResourceCache", "Methods")
    (made,) = [block for block in blocks if block.startswith("cache = ")]
    await run(made, names)
    (stored,) = [block for block in blocks if block.startswith("cache.set(")]
    await run(stored, names)
    for heading in ("get(key: str)", "invalidate(key: Optional[str])", "cleanup_expired()"):
        for example in filter(is_example, document.under("ResourceCache", heading)):
            await run(example, names)
    assert capsys.readouterr().out.splitlines() == ["Cache hit!", "Cleaned up 0 expired entries"]
    assert names["cache"].get_stats()["cached_items"] == 0


async def test_the_configuration_of_one_server(document, run) -> None:
    names = {"MCPServerConfig": MCPServerConfig}
    (example,) = [block for block in document.under("MCPServerConfig", "Data Models") if "config =" in block]
    await run(example, names)
    assert names["config"].capabilities == ["execute_query", "list_resources"]


async def test_catching_a_failed_connection(document, run, configuration, capsys) -> None:
    configuration({"gone": {"name": "Gone", "transport": "stdio", "command": "no-such-command"}})
    names = {"MCPConnectionError": MCPConnectionError, "orchestrator": MCPOrchestrator(Path("mcp_config.yaml"))}
    (example,) = [block for block in document.under("MCPConnectionError") if block.startswith("try:")]
    with anyio.fail_after(30):
        await run(example, names)
    failed, context = capsys.readouterr().out.splitlines()
    assert failed.startswith("Connection failed: 1 server failed to connect: gone: ")
    assert context.startswith("Context: {'failed': {'gone': ")


async def test_the_shapes_of_what_is_returned(document, run, configuration, upstream) -> None:
    with anyio.fail_after(30):
        async with upstream("streamable-http", name="products") as reached:
            config = configuration({"products": {"name": "Products", **reached}})
            async with MCPOrchestrator(config).managed_session() as orchestrator:
                gathered = await orchestrator.gather_all_resources()
                status = orchestrator.get_status()
    (shape,) = [block for block in document.under("async gather_all_resources()") if block.startswith("{")]
    (server,) = gathered.values()
    (documented_server,) = literal_eval(shape.replace("{...}", "{}")).values()
    assert_same_types(documented_server, server)
    assert list(server) == list(documented_server)
    (shape,) = [block for block in document.under("get_status()") if block.startswith("{")]
    documented = literal_eval(shape)
    assert_same_types(documented, status, further_keys=True)
    assert_same_types(documented["servers"][0], status["servers"][0], further_keys=True)
    assert_same_types(documented["cache_stats"], status["cache_stats"], further_keys=True)
    (shape,) = [block for block in document.under("get_stats()") if block.startswith("{")]
    assert_same_types(literal_eval(shape), ResourceCache().get_stats(), further_keys=True)


def assert_same_types(documented: dict[str, object], real: dict[str, object], further_keys: bool = False) -> None:
    assert documented.keys() <= real.keys() if further_keys else documented.keys() == real.keys()
    types = {key: type(value) for key, value in documented.items()}
    assert {key: type(real[key]) for key in documented} == types
