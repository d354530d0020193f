"""`check`: every problem with its place, and what to do about every server that does not connect."""

import os
import re
import sys

import pytest

BROKEN = {
    "unknown field": ("mcp_servers:\n  a:\n    name: A\n    url: http://x/\n    priorty: 1\n", 5, "did you mean"),
    "wrong type": ("mcp_servers:\n  a:\n    name: A\n    url: http://x/\n    priority: high\n", 5, "whole number"),
    "out of range": ("mcp_servers:\n  a:\n    name: A\n    url: http://x/\n    priority: 0\n", 5, "1 or more"),
    "missing name": ("mcp_servers:\n  a:\n    url: http://x/\n", 2, "missing"),
    "unknown transport": ("mcp_servers:\n  a:\n    name: A\n    transport: stdoi\n    command: x\n", 4, "stdio"),
    "unset variable": ("mcp_servers:\n  a:\n    name: A\n    url: http://x/${CLI_NOT_SET}\n", 4, "CLI_NOT_SET"),
    "duplicate key": ("mcp_servers:\n  a:\n    name: A\n    name: B\n    url: http://x/\n", 4, "line 3"),
    "no yaml": ("mcp_servers:\n  a: [\n", 3, ""),
    "not a mapping": ("- a\n", 1, "mapping"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_configuration_is_told_with_file_line_and_column(cli, tmp_path, kind):
    text, line, says = BROKEN[kind]
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    told = cli("check", "--config", file)
    assert told.code == 2
    assert told.out == ""
    place = re.search(rf"^{re.escape(str(file))}:(\d+):(\d+): (.*)$", told.err, re.MULTILINE)
    assert place is not None, told.err
    assert int(place[1]) == line
    assert says in place[3]
    assert "Traceback" not in told.err


def test_all_problems_are_told_at_once_and_to_programs_too(cli, tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text(
        "mcp_servers:\n  a:\n    name: A\n    url: http://x/\n    priority: 0\n    colour: blue\n    timeout: no\n"
    )
    told = cli("check", "--config", file, "--json")
    assert (told.code, told.err) == (2, "")
    error = told.document["error"]
    assert error["type"] == "ConfigurationError"
    assert [(problem["line"], problem["path"]) for problem in error["context"]["errors"]] == [
        (5, "mcp_servers.a.priority"),
        (6, "mcp_servers.a.colour"),
        (7, "mcp_servers.a.timeout"),
    ]
    assert len(re.findall(rf"^{re.escape(str(file))}:", cli("check", "-c", file).err, re.MULTILINE)) == 3


def test_a_missing_configuration_is_told_with_what_was_tried(cli, tmp_path):
    told = cli("check")
    assert told.code == 2
    assert "./mcp_config.yaml" in told.err
    assert "mcp-orchestra init writes one" in told.err
    absent = cli("check", "-c", "absent.yaml")
    assert absent.code == 2
    assert "absent.yaml: the file does not exist" in absent.err


def test_a_valid_configuration_is_shown_without_opening_anything(cli, configured):
    file = configured(a={"transport": "stdio", "command": "no-such-program", "domains": ["x"], "enabled": False})
    shown = cli("check", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.document == {
        "path": "mcp_config.yaml",
        "valid": True,
        "warnings": [],
        "servers": [
            {
                "id": "a",
                "name": "A",
                "enabled": False,
                "transport": "stdio",
                "deprecated": None,
                "priority": 100,
                "domains": ["x"],
                "capabilities": [],
            }
        ],
    }
    told = cli("check", "-c", file)
    assert f"{file} is valid: 1 server" in told.out
    assert re.search(r"^a +A +stdio +100 +x +no$", told.out, re.MULTILINE)


def test_what_is_valid_but_odd_is_told(cli, configured, tmp_path):
    file = configured(old={"transport": "sse", "url": "http://127.0.0.1:1/sse"})
    file.write_text(file.read_text() + "  routing: {domains: {nobody: {policy: priority}}}\n")
    told = cli("check")
    assert told.code == 0
    assert "warning: orchestration.routing.domains.nobody: no server declares this domain" in told.err
    assert "note: server old: the protocol has replaced it" in told.err


def test_every_server_is_tried_and_what_to_do_is_said(cli, configured, upstreams, tmp_path):
    """Fail fast or not: the first bad server does not hide the second. The hints fit what transports really say."""
    script = tmp_path / "script"
    script.write_text("not a program")
    interpreted = tmp_path / "interpreted"
    interpreted.write_text("#!/no/such/interpreter\n")
    interpreted.chmod(0o755)
    last_words = "import sys; sys.exit('cannot open the database')"
    hints = {
        "missing": "install the program, or give its full path",
        "script": "make the file executable",
        "interpreted": "install that interpreter",
        "nowhere": "create the directory",
        "ending": "run the command by hand",
        "silent": "raise timeout",
        "refused": "is the server running",
        "locked": "Authorization",
        "elsewhere": "check the path",
        "confused": "check the path",
        "off": "enabled: true",
    }
    file = configured(
        alpha={},
        missing={"transport": "stdio", "command": "no-such-program"},
        script={"transport": "stdio", "command": str(script)},
        interpreted={"transport": "stdio", "command": str(interpreted)},
        nowhere={"transport": "stdio", "command": "sh", "cwd": "/no/such/folder"},
        ending={"transport": "stdio", "command": sys.executable, "args": ["-c", last_words]},
        silent={"transport": "stdio", "command": "sleep", "args": ["60"], "timeout": 0.5},
        refused={"transport": "streamable-http", "url": "http://127.0.0.1:9/mcp"},
        locked={},
        elsewhere={},
        confused={"transport": "sse", "url": upstreams.urls["elsewhere"].replace("/mcp", "/sse")},
        off={"transport": "stdio", "command": "x", "enabled": False},
        beta={"priority": 1},
        bare={},
    )
    file.write_text(file.read_text() + "  fail_fast: true\n")
    tried = cli("check", "--connect", "--json")
    assert tried.code == 3
    servers = {server["id"]: server for server in tried.document["servers"]}
    assert {server_id for server_id, server in servers.items() if server["connected"]} == {"alpha", "beta", "bare"}
    assert (servers["alpha"]["resources"], servers["alpha"]["tools"]) == (3, 6)
    assert (servers["beta"]["resources"], servers["beta"]["tools"]) == (2, 1)
    assert (servers["bare"]["resources"], servers["bare"]["tools"]) == (0, 0)
    assert servers["alpha"]["hint"] is None
    for server_id, advice in hints.items():
        assert advice in (servers[server_id]["hint"] or ""), servers[server_id]
    assert "cannot open the database" in servers["ending"]["stderr"]
    assert servers["off"]["state"] == "disabled"
    assert servers["silent"]["state"] == "backing_off"

    told = cli("check", "--connect")
    assert told.code == 3
    assert "3 of 13 servers connected" in told.out
    assert "missing: the command 'no-such-program' was not found" in told.out
    assert "  -> install the program, or give its full path as command" in told.out
    assert "  stderr: cannot open the database" in told.out


def test_a_trial_starts_what_is_otherwise_started_on_first_use(cli, configured):
    configured(
        alpha={"start": "on_first_use"},
        missing={"transport": "stdio", "command": "no-such-program", "start": "on_first_use"},
    )
    tried = cli("check", "--connect", "--json")
    assert tried.code == 3
    alpha, missing = tried.document["servers"]
    assert (alpha["state"], alpha["tools"]) == ("ready", 6)
    assert missing["state"] == "failed"


def test_when_none_connects_the_reasons_are_still_told(cli, configured):
    configured(a={"transport": "stdio", "command": "no-such-program"})
    tried = cli("check", "--connect", "--json")
    assert tried.code == 3
    (server,) = tried.document["servers"]
    assert server["state"] == "failed"
    assert "was not found" in server["error"]


def test_disabled_servers_do_not_count(cli, configured):
    configured(alpha={}, a={"transport": "stdio", "command": "no-such-program", "enabled": False})
    assert cli("check", "--connect").code == 0


def test_a_pipe_in_place_of_a_file_does_not_hang(cli, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert cli("check", "-c", tmp_path / "pipe.yaml").code == 2
