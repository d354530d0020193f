"""The quickstart, run as it is printed, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```(?:yaml|python) title="(.+?)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
OUTPUTS = dict(
    re.findall(r'^```sh\npython (\S+)\n```\n\n```text title="output"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
)
COMMANDS = re.findall(r"^mcp-orchestra .+$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "error"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_page_was_read() -> None:
    assert sorted(FILES) == ["ask.py", "careful.py", "mcp_config.yaml"]
    assert sorted(OUTPUTS) == ["ask.py", "careful.py"]
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("script", OUTPUTS)
def test_a_script_prints_what_the_page_says(folder: Path, script: str) -> None:
    done = in_shell(f"python {script}", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, OUTPUTS[script], "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_succeeds(folder: Path, command: str) -> None:
    done = in_shell(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    if "call echo" in command:
        assert done.stdout == "products: hello\n"
