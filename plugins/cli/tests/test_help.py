import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp_orchestra_cli.exits import EXIT_CODES_HELP, ExitCode

COMMANDS = ["demo", "init", "check", "status", "resources", "read", "tools", "call", "explain", "plugins", "cache"]
HEAVY = ["mcp", "mcp_types", "pydantic", "yaml", "rich", "uvicorn", "httpx2", "starlette", "pluggy", "opentelemetry"]


def test_help_imports_nothing_heavy(process):
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mcp_orchestra_cli", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in shown.stderr.splitlines()}
    assert "Usage: mcp-orchestra" in shown.stdout
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY)


def test_help_names_every_command_and_every_exit_code(cli):
    shown = cli("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z].*\.$", shown.out, re.MULTILINE), command
    for code in (ExitCode.OK, ExitCode.USAGE, ExitCode.UNAVAILABLE, ExitCode.NOT_FOUND, ExitCode.TOOL_ERROR):
        assert re.search(rf"^ +{int(code)}  \w", shown.out, re.MULTILINE)


def test_the_readme_documents_the_same_exit_codes():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \|", readme, re.MULTILINE)
        assert re.search(rf"\b{int(code)} ", EXIT_CODES_HELP)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_config_json_and_debug_and_explains_itself(cli, command):
    shown = cli(command, "--help")
    assert shown.code == 0
    for option in ("--config", "--json", "--debug"):
        assert option in shown.out


def test_the_version_is_that_of_the_distribution(cli):
    assert re.fullmatch(r"mcp-orchestra \d+\.\d+\.\d+\S*\n", cli("--version").out)


@pytest.mark.parametrize(
    "arguments", [["status", "--nonsense"], ["nonsense"], ["read"], ["call"], ["cache"], ["cache", "get"], []]
)
def test_wrong_usage_ends_with_2_and_says_why(cli, arguments):
    ended = cli(*arguments)
    assert ended.code == 2
    assert "Usage: mcp-orchestra" in ended.err
    assert ended.out == ""


def test_wrong_usage_is_a_document_for_a_program(cli):
    ended = cli("status", "--nonsense", "--json")
    assert ended.code == 2
    assert ended.document["error"]["type"] == "UsageError"
    assert "--nonsense" in ended.document["error"]["message"]
    assert ended.err == ""


def test_common_options_are_taken_before_the_command_too(cli, tmp_path):
    ended = cli("--config", tmp_path / "absent.yaml", "--json", "check")
    assert ended.code == 2
    assert ended.document["error"]["context"]["path"] == str(tmp_path / "absent.yaml")
