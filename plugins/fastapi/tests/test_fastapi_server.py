"""The document's import paths and its FastAPI example, as they are written."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import anyio
import httpx2
import mcp_orchestra
import pytest
import yaml
from mcp_orchestra.testing.servers import ScriptedServer, free_port, serve

DOCUMENTED = [
    ("mcp_orchestrator", "MCPOrchestrator"),
    ("mcp_registry", "MCPRegistry"),
    ("mcp_registry", "MCPServerInfo"),
    ("resource_cache", "ResourceCache"),
    ("orchestrator_config", "MCPServerConfig"),
    ("orchestrator_config", "OrchestrationConfig"),
    ("orchestrator_config", "MCPConfig"),
    ("orchestrator_exceptions", "MCPOrchestratorException"),
    ("orchestrator_exceptions", "MCPConnectionError"),
    ("orchestrator_exceptions", "ResourceFetchError"),
    ("orchestrator_exceptions", "NoMCPAvailableError"),
    ("orchestrator_exceptions", "ConfigurationError"),
]

HERE = Path(__file__).parent
WHERE_FROM = "import fastapi_server.mcp_orchestrator as m; print(m.__file__)"


@pytest.mark.parametrize(("module", "name"), DOCUMENTED)
def test_a_documented_import_is_the_one_class_of_that_name(module: str, name: str) -> None:
    assert getattr(import_module(f"fastapi_server.{module}"), name) is getattr(mcp_orchestra, name)


def test_the_documented_modules_export_the_documented_names_and_no_others() -> None:
    exported = [
        (module, name) for module in dict(DOCUMENTED) for name in import_module(f"fastapi_server.{module}").__all__
    ]
    assert sorted(exported) == sorted(DOCUMENTED)


def test_importing_the_documented_path_does_not_import_the_sdk() -> None:
    code = "import sys, fastapi_server.mcp_orchestrator; print('mcp' in sys.modules, 'fastapi' in sys.modules)"
    assert python("-c", code, cwd=Path.cwd()).stdout.split() == ["False", "False"]


def test_a_folder_that_only_holds_the_configuration_does_not_hide_the_package(tmp_path: Path) -> None:
    (tmp_path / "fastapi_server").mkdir()
    (tmp_path / "fastapi_server" / "mcp_config.yaml").write_text("mcp_servers: {}\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(WHERE_FROM, encoding="utf-8")
    ours = str(Path(import_module("fastapi_server").__path__[0]) / "mcp_orchestrator.py")

    for arguments in (["-c", WHERE_FROM], ["script.py"]):
        assert python(*arguments, cwd=tmp_path).stdout.strip() == ours


def test_an_application_s_own_package_of_that_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "fastapi_server").mkdir()
    (tmp_path / "fastapi_server" / "__init__.py").touch()

    shadowed = python("-c", WHERE_FROM, cwd=tmp_path)
    assert "No module named 'fastapi_server.mcp_orchestrator'" in shadowed.stderr
    independent = python("-c", "import mcp_orchestra_fastapi; print('imported')", cwd=tmp_path)
    assert independent.stdout.strip() == "imported"


@pytest.mark.anyio
async def test_the_document_s_fastapi_example_runs_as_written(tmp_path: Path) -> None:
    (example,) = code_of(HERE / "fastapi_integration.md")

    async with running(example, tmp_path, config="fastapi_server/mcp_config.yaml") as client:
        status = (await client.get("/mcp/status")).json()
        found = await client.get("/mcp/resources/products")
        unknown = await client.get("/mcp/resources/weather")

    assert {server["name"]: server["connected"] for server in status["servers"]} == {"Products": True, "Database": True}
    assert found.status_code == 200
    assert found.json()["1"]["data"] == "a chair"
    assert unknown.status_code == 500
    assert "weather" in unknown.json()["detail"]


@pytest.mark.anyio
async def test_the_readme_s_example_runs_as_written(tmp_path: Path) -> None:
    example, _, imports = code_of(HERE.parent / "README.md")

    async with running(imports + example, tmp_path, config="mcp_config.yaml") as client:
        found = await client.get("/mcp/resources/products")
        unknown = await client.get("/mcp/resources/weather")

    assert found.json()["1"]["data"] == "a chair"
    assert unknown.status_code == 404


def code_of(page: Path) -> list[str]:
    return [dedent(code) for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)]


@contextlib.asynccontextmanager
async def running(application: str, folder: Path, *, config: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the application's text in a folder with a configuration, over servers of the document's default transport."""
    (folder / "app.py").write_text(application, encoding="utf-8")
    (folder / config).parent.mkdir(exist_ok=True)
    with anyio.fail_after(60):
        async with (
            serve(ScriptedServer("products", resources={"res://p/1": "a chair"}), "sse") as products,
            serve(ScriptedServer("database", resources=2), "sse") as database,
        ):
            servers = {
                "product_metadata_mcp": {"name": "Products", "url": products, "priority": 1, "domains": ["products"]},
                "database_mcp": {"name": "Database", "url": database, "priority": 10, "domains": ["database"]},
            }
            (folder / config).write_text(yaml.safe_dump({"mcp_servers": servers}), encoding="utf-8")
            async with uvicorn_of("app:app", folder) as client:
                yield client


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@contextlib.asynccontextmanager
async def uvicorn_of(application: str, folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the command ``uvicorn`` in a folder, as a user would, and stop it as a terminal would."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ORCHESTRA_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", application, "--port", str(port)),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    try:
        while b"Uvicorn running on" not in said:
            line = await process.stderr.readline()
            said += line
            assert line, f"uvicorn ended: {said.decode()}"
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            yield client
        process.terminate()
        said += await process.stderr.read()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Application shutdown complete" in said, said.decode()
    assert b"Traceback" not in said, said.decode()
