"""The demo, end to end, as people and programs run it."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from mcp_orchestra.config.loader import load_config

STEPS = ["servers", "initialize", "gather", "ask", "cache", "kill", "failover", "recovery", "status"]
ESCAPE = "\x1b"


def test_two_demos_at_once_tell_a_person_and_a_program_the_same(process, no_process_left, tmp_path):
    kept = tmp_path / "kept.yaml"
    with ThreadPoolExecutor() as pool:
        told = pool.submit(process, "demo", "--keep", kept)
        counted = pool.submit(process, "demo", "--json")
        for_person, for_program = told.result(), counted.result()

    assert (for_person.code, for_person.err) == (0, "")
    assert (for_program.code, for_program.err) == (0, "")
    facts = {step["step"]: step for step in for_program.document["steps"]}
    assert list(facts) == STEPS
    assert sorted(facts["initialize"]["connected"]) == ["metadata", "orders", "products"]
    assert [facts[step]["server"] for step in ("ask", "cache", "failover", "recovery")] == [
        "products",
        "products",
        "metadata",
        "products",
    ]
    assert facts["cache"]["hits"] == 1
    assert facts["kill"]["error"]
    status = for_program.document["status"]
    assert {server["transport"] for server in status["servers"]} == {"stdio", "sse", "streamable-http"}
    assert all(server["connected"] for server in status["servers"])
    assert status["cache_stats"]["hits"] >= 1
    assert for_program.document["config_path"] is None

    assert ESCAPE not in for_person.out
    assert [int(n) for n in re.findall(r"^(\d)\. ", for_person.out, re.MULTILINE)] == list(range(1, len(STEPS) + 1))
    assert re.search(r"Metadata Library answered in [\d.]+ (ms|s)", for_person.out)
    assert "HIT RATE" in for_person.out

    # The file that is left behind is the one that was shown, and valid.
    for line in kept.read_text().splitlines():
        assert line in for_person.out
    loaded = load_config(kept)
    assert loaded.config.mcp_servers["products"].priority < loaded.config.mcp_servers["metadata"].priority
    assert [i for i, s in loaded.config.mcp_servers.items() if "products" in s.domains] == ["products", "metadata"]


def test_on_a_terminal_it_shows_progress_and_cleans_it_up(terminal, no_process_left):
    shown = terminal("demo")
    assert shown.code == 0
    assert "Starting servers" in shown.out
    assert "╭" in shown.out
    assert shown.out.rstrip().endswith("Next: mcp-orchestra init, then mcp-orchestra check --connect")
    # The cursor is shown again as often as it was hidden.
    assert shown.out.count("\x1b[?25l") == shown.out.count("\x1b[?25h") > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_however_it_is_ended_no_process_is_left(no_process_left, number, code):
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_orchestra_cli", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        # With two servers of its own running, and a third that the orchestrator has started.
        next(line for line in demo.stdout if line.startswith("3. "))
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 3
        demo.send_signal(number)
        said = demo.stderr.read()
        assert demo.wait(30) == code
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert "Traceback" not in said


def test_it_never_replaces_a_file_unasked(cli, tmp_path, no_process_left):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    ended = cli("demo", "--config", file)
    assert ended.code == 2
    assert "--force" in ended.err
    assert file.read_text() == "mine"


def test_without_the_transports_it_says_what_to_install(cli, monkeypatch):
    monkeypatch.setenv("MCP_ORCHESTRA_DISABLE_PLUGINS", "sse,stdio")
    ended = cli("demo", "--json")
    assert ended.code == 2
    assert "sse, stdio" in ended.document["error"]["message"]
    assert "mcp-orchestra[standard]" in ended.document["error"]["message"]


def test_the_temporary_configuration_is_gone_afterwards(process, tmp_path, no_process_left):
    folder = tmp_path / "tmp"
    folder.mkdir()
    ended = process("demo", "--keep", tmp_path / "no" / "such" / "folder.yaml", env={"TMPDIR": str(folder)})
    assert ended.code == 2
    assert "cannot write" in ended.err
    assert list(folder.iterdir()) == []
