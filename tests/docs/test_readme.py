"""What README.md promises works, and its two commands are the real ones."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import yaml
from mcp_orchestra import MCPOrchestrator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def test_there_are_two_commands() -> None:
    assert COMMANDS == ["pip install uv && uv run mcp-orchestra demo", "pip install uv && uv run nox"]


def test_ci_runs_the_second_as_it_is_printed() -> None:
    assert COMMANDS[1] in [line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]


def test_the_demo_works(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("mcp-orchestra")
    done = subprocess.run([command, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mcp_config.yaml").write_text(block("yaml"), encoding="utf-8")
    orchestrator = MCPOrchestrator("mcp_config.yaml")
    orchestrator.load_configuration()
    assert [info.server_id for info in orchestrator.registry.get_all_servers()] == ["products", "time"]


@pytest.mark.anyio
async def test_the_program_prints_resources(tmp_path: Path, upstream) -> None:
    config = yaml.safe_load(block("yaml"))
    with anyio.fail_after(60):
        async with upstream("streamable-http", name="products", resources=2) as reached:
            config["mcp_servers"]["products"].update(reached)
            config["mcp_servers"]["time"].update(command=sys.executable, args=["-m", "mcp_server_time"])
            (tmp_path / "mcp_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", block("python")), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
    assert process.returncode == 0
    first, second, third = out.decode().splitlines()
    assert [first, second] == ["Products ['0', '1']", "Time []"]
    assert "products text 0" in third
