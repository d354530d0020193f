"""How the command writes: pipes, terminals, encodings, signals, tracebacks."""

import json
import logging
import math
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass

import mcp_orchestra.orchestrator as library
import psutil
import pytest
from mcp_orchestra_cli.jsons import dumps
from mcp_orchestra_cli.tables import Cell, Table, printable


@pytest.mark.parametrize("command", ["tools", "--help"])
def test_a_reader_that_leaves_early_causes_no_noise(configured, command):
    configured(alpha={})
    # Unbuffered, so that the second write finds the pipe closed at the latest.
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "mcp_orchestra_cli", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        noise = started.stderr.read()
        assert started.wait(60) in {0, 1, 141}
    assert noise == b""


def test_output_to_a_closed_pipe_ends_with_141(configured):
    configured(alpha={})
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_orchestra_cli", "tools", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        assert started.stderr.read() == b""
        assert started.wait(60) == 141


def test_no_color_means_no_color_and_tables_stay(terminal, configured):
    configured(alpha={})
    coloured = terminal("status")
    assert "\x1b[32mready" in coloured.out
    plain = terminal("status", env={"NO_COLOR": "1"})
    assert "│ alpha  │ ready" in plain.out
    assert "\x1b[32m" not in plain.out
    assert "\x1b[1m" not in plain.out


def test_a_dumb_terminal_gets_no_progress(terminal, configured):
    configured(alpha={})
    assert "\x1b[?25l" not in terminal("tools", env={"TERM": "dumb"}).out


def test_an_encoding_that_lacks_a_character_costs_nothing_but_the_character(process, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("mcp_servers: {a: {name: Grüße, transport: stdio, command: x}}\n", encoding="utf-8")
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "Gr\\xfc\\xdfe" in process("check", "-c", file, env=env).out
    assert process("check", "-c", file, "--json", env=env).document["servers"][0]["name"] == "Grüße"


def test_a_waiting_command_ends_with_its_children_when_told_to(configured, tmp_path):
    os.mkfifo(tmp_path / "pid")
    configured(silent={"transport": "stdio", "command": "sh", "args": ["-c", "echo $$ >pid; sleep 60"], "timeout": 60})
    told = os.open(tmp_path / "pid", os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_orchestra_cli", "status", "--json"], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert select.select([told], [], [], 60)[0], "the server was not started"
        server = int(os.read(told, 20))
        os.close(told)
        started.send_signal(signal.SIGTERM)
        out = started.stdout.read()
        assert started.wait(30) == 143
    assert json.loads(out)["error"]["type"] == "Terminated"
    assert not psutil.pid_exists(server)


def test_a_traceback_is_shown_only_when_asked_for_and_never_a_secret(cli, configured, monkeypatch):
    async def fail(self):
        raise RuntimeError("s3cret-token in the message of another library")

    monkeypatch.setattr(library.MCPOrchestrator, "initialize", fail)
    monkeypatch.setenv("TOKEN", "s3cret-token")
    configured(alpha={"headers": {"Authorization": "Bearer ${TOKEN}"}})
    quiet = cli("tools")
    assert quiet.code == 1
    assert quiet.err == "error: unexpected RuntimeError; --debug shows where it comes from\n"
    assert cli("tools", "--json").document["error"]["type"] == "RuntimeError"
    loud = cli("tools", "--debug")
    assert loud.code == 1
    assert "Traceback (most recent call last)" in loud.err
    assert "RuntimeError: *** in the message" in loud.err
    assert "s3cret-token" not in loud.err


def test_debug_shows_what_the_library_logs_and_nothing_of_it_stays(cli, configured):
    before = logging.getLogger("mcp_orchestra").level
    configured(alpha={})
    loud = cli("tools", "--debug")
    assert loud.code == 0
    assert "INFO mcp_orchestra.connection.owner: server alpha: connected" in loud.err
    assert cli("tools").err == ""
    assert logging.getLogger("mcp_orchestra").level == before
    assert logging.getLogger("mcp_orchestra").handlers == []


def test_json_has_no_numbers_that_json_does_not_have():
    @dataclass
    class Record:
        ratio: float
        parts: tuple[object, ...]

    made = dumps({"a": math.nan, 1: [math.inf, -math.inf, 1.5], "r": Record(0.5, (None, True, {"x"}))})
    assert json.loads(made, parse_constant=pytest.fail) == {
        "a": None,
        "1": [None, None, 1.5],
        "r": {"ratio": 0.5, "parts": [None, True, ["x"]]},
    }


def test_a_plain_table_keeps_each_row_in_one_line():
    table = Table(["name", "what"])
    table.add("a\nb", Cell("x" * 300, "red"))
    table.add(None, ["p", "q"])
    lines = table.plain().splitlines()
    assert lines == ["NAME  WHAT", f"a b   {'x' * 300}", "-     p, q"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("x\u202ey", "x\\u202ey"),
        ("é😀", "é😀"),
    ],
)
def test_control_characters_are_spelt_out(text, shown):
    assert printable(text) == shown
