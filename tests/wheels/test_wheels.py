"""What is published, installed from wheels into an environment of its own, away from the sources.

The session ``wheels`` of the noxfile builds and installs it.
"""

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distributions, version
from pathlib import Path

import mcp_orchestra
import pytest
from mcp_orchestra import PluginManager

SOURCES = Path(__file__).parents[2]
DOCUMENTED = {
    "mcp_orchestrator": ["MCPOrchestrator"],
    "mcp_registry": ["MCPRegistry", "MCPServerInfo"],
    "orchestrator_config": ["MCPConfig", "MCPServerConfig", "OrchestrationConfig"],
    "orchestrator_exceptions": [
        "ConfigurationError",
        "MCPConnectionError",
        "MCPOrchestratorException",
        "NoMCPAvailableError",
        "ResourceFetchError",
    ],
    "resource_cache": ["ResourceCache"],
}


def run(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def command(*arguments: str) -> str:
    return run(str(Path(sys.executable).with_name("mcp-orchestra")), *arguments)


def installed() -> list[str]:
    return sorted(
        name
        for distribution in distributions()
        if (name := distribution.metadata["Name"]).startswith("mcp-orchestra") and name != "mcp-orchestra-tcp"
    )


def test_nothing_is_imported_from_the_sources() -> None:
    for name in installed():
        package = "mcp_orchestra_" + name.removeprefix("mcp-orchestra-").replace("-", "_")
        module = import_module("mcp_orchestra" if name == "mcp-orchestra" else package)
        assert not Path(str(module.__file__)).is_relative_to(SOURCES / "core")
        assert not Path(str(module.__file__)).is_relative_to(SOURCES / "plugins")


def test_everything_is_installed_in_one_version() -> None:
    assert len(installed()) == 1 + len(list(SOURCES.glob("plugins/*/pyproject.toml")))
    assert {version(name) for name in installed()} == {mcp_orchestra.__version__}


def test_every_wheel_has_its_types() -> None:
    for name in installed():
        (distribution,) = [one for one in distributions() if one.metadata["Name"] == name]
        assert any(path.name == "py.typed" for path in distribution.files or ()), name


def test_importing_the_package_imports_none_of_its_dependencies() -> None:
    program = "import mcp_orchestra, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert {"mcp", "httpx2", "pydantic", "anyio", "yaml", "pluggy"}.isdisjoint(
        run(sys.executable, "-c", program).split()
    )


def test_every_public_name_is_there() -> None:
    assert [name for name in mcp_orchestra.__all__ if not hasattr(mcp_orchestra, name)] == []


def test_every_plugin_can_be_used() -> None:
    plugins = PluginManager(strict=True)
    plugins.discover()
    assert {info.name for info in plugins.installed()} == {
        *("disk", "memory", "redis", "routing", "sse", "stdio", "streamable-http"),
        "tcp",
    }


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_documented_paths_lead_to_the_library(module: str) -> None:
    documented = import_module(f"fastapi_server.{module}")
    for name in DOCUMENTED[module]:
        assert getattr(documented, name) is getattr(mcp_orchestra, name)


def test_the_command_helps() -> None:
    assert "Usage: mcp-orchestra" in command("--help")


def test_the_command_accepts_every_plugin() -> None:
    listed = command("plugins", "--strict")
    assert "transport tcp" in listed
    assert "transport stdio" in listed


def test_the_demo_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(os.environ, "PYTHONPATH", raising=False)
    assert command("demo")
