"""`status`, `resources`, `read` and `tools`: what is there answers, what is not is said."""

import base64
import re
import signal
import subprocess
import sys
import threading

import pytest
from mcp_orchestra_cli.main import main

DOWN = {"transport": "stdio", "command": "no-such-program", "domains": ["down"]}


def test_status_is_the_librarys_document(cli, configured):
    configured(alpha={"priority": 5, "domains": ["x"]}, down=DOWN)
    shown = cli("status", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.document["initialized"] is True
    alpha, down = shown.document["servers"]
    assert (alpha["id"], alpha["connected"], alpha["priority"], alpha["error"]) == ("alpha", True, 5, None)
    assert (down["connected"], down["state"]) == (False, "failed")
    assert set(shown.document["cache_stats"]) >= {"hits", "misses", "hit_rate", "cached_items"}


def test_status_shows_a_person_the_state_and_what_to_do(cli, configured):
    configured(alpha={}, down=DOWN)
    shown = cli("status")
    assert shown.code == 0
    assert re.search(r"^alpha +ready +streamable-http +2026-07-28 +100 +-$", shown.out, re.MULTILINE)
    assert re.search(r"^down +failed +stdio +- +100 +down$", shown.out, re.MULTILINE)
    assert "  -> install the program" in shown.out


def test_status_watch_shows_what_changes_and_reloads_the_file(configured, no_process_left):
    path = configured(alpha={})
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_orchestra_cli", "status", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        watchdog = threading.Timer(60, started.kill)
        watchdog.start()
        assert started.stdout is not None
        assert started.stderr is not None
        assert any(line.startswith("alpha ") for line in started.stdout)
        path.write_text("mcp_servers: {alpha: {}}")
        assert "error: the configuration before stays in force" in started.stderr.readline()
        configured(alpha={}, beta={"priority": 7})
        assert any(re.match(r"beta +ready +streamable-http +2026-07-28 +7", line) for line in started.stdout)
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 130
        watchdog.cancel()


def test_status_watch_is_not_for_programs(cli, configured):
    configured(alpha={})
    shown = cli("status", "--watch", "--json")
    assert shown.code == 2
    assert "--watch" in shown.document["error"]["message"]


def test_status_tells_why_when_nothing_connects(cli, configured):
    configured(down=DOWN)
    shown = cli("status", "--json")
    assert shown.code == 3
    (down,) = shown.document["servers"]
    assert down["state"] == "failed"
    assert "was not found" in down["error"]


def test_a_server_that_is_started_on_first_use_is_there_for_the_question_that_needs_it(cli, configured):
    configured(alpha={"start": "on_first_use"})
    shown = cli("status", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert [server["state"] for server in shown.document["servers"]] == ["pending"]
    listed = cli("tools", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert listed.document


def test_resources_of_all_are_the_librarys_document(cli, configured, over_stdio):
    configured(alpha={}, child={**over_stdio(name="child", resources=2), "priority": 1})
    shown = cli("resources", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert list(shown.document) == ["Child", "Alpha"]
    assert shown.document["Child"]["resources"]["0"]["data"] == "child text 0"
    assert shown.document["Alpha"]["resources"]["greeting"]["data"] == "Grüße\n"


def test_resources_are_listed_with_their_sizes(cli, configured):
    configured(alpha={})
    shown = cli("resources")
    assert shown.code == 0
    assert re.search(r"^Alpha +greeting +res://alpha/greeting +text/plain +8 B +-$", shown.out, re.MULTILINE)
    assert re.search(r"^Alpha +picture +res://alpha/picture +application/octet-stream +5 B", shown.out, re.MULTILINE)


def test_a_server_whose_resources_cannot_be_had_is_told_and_the_others_are_shown(cli, configured):
    configured(alpha={"max_items": 1}, beta={})
    shown = cli("resources")
    assert shown.code == 0
    assert "res://beta/0" in shown.out
    assert "warning: the resources of Alpha could not be fetched: " in shown.err
    configured(alpha={"max_items": 1})
    assert cli("resources").code == 4


def test_a_domain_is_answered_by_its_best_server(cli, configured):
    configured(alpha={"priority": 9, "domains": ["x"]}, beta={"priority": 1, "domains": ["x"]})
    shown = cli("resources", "x", "--json")
    assert shown.code == 0
    assert [resource["uri"] for resource in shown.document.values()] == ["res://beta/0", "res://beta/1"]
    assert "res://beta/1" in cli("resources", "x").out


def test_an_unknown_domain_names_the_known_ones(cli, configured):
    configured(alpha={"domains": ["x", "y"]})
    ended = cli("resources", "z")
    assert ended.code == 3
    assert "no server declares the domain 'z'" in ended.err
    assert "known domains: x, y" in ended.err


def test_a_domain_whose_server_is_down_ends_with_3(cli, configured):
    configured(alpha={}, down=DOWN)
    ended = cli("resources", "down", "--json")
    assert ended.code == 3
    assert ended.document["error"]["type"] == "NoMCPAvailableError"
    assert "warning: server down: the command 'no-such-program' was not found" in ended.err


@pytest.mark.parametrize(
    "command", [["resources"], ["tools"], ["read", "res://alpha/plain"], ["call", "echo", "text=x"]]
)
def test_a_question_is_answered_by_those_that_are_there_although_fail_fast(cli, configured, command):
    file = configured(alpha={}, down=DOWN)
    file.write_text(file.read_text() + "  fail_fast: true\n")
    shown = cli(*command)
    assert shown.code == 0
    assert shown.out
    assert "warning: server down: " in shown.err
    assert "-> install the program" in shown.err


@pytest.mark.parametrize(
    "command", [["resources"], ["tools"], ["read", "res://alpha/plain"], ["call", "echo", "text=x"]]
)
def test_without_any_server_it_ends_with_3(cli, configured, command):
    configured(down=DOWN)
    ended = cli(*command, "--json")
    assert ended.code == 3
    error = ended.document["error"]
    assert (error["type"], error["message"]) == ("NoMCPAvailableError", "no server is available")
    assert "was not found" in error["context"]["servers"]["down"]


def test_with_nothing_configured_it_ends_with_3_and_says_so(cli, configured):
    configured()
    ended = cli("tools")
    assert ended.code == 3
    assert "the configuration has none that is enabled" in ended.err


def test_text_is_read_exactly(cli, configured):
    configured(alpha={})
    assert cli("read", "res://alpha/plain").out == "no newline"
    assert cli("read", "res://alpha/greeting").out == "Grüße\n"


def test_a_read_is_a_document_for_a_program(cli, configured):
    configured(alpha={})
    shown = cli("read", "res://alpha/picture", "--json")
    assert shown.document == {
        "uri": "res://alpha/picture",
        "data": None,
        "contents": [
            {
                "uri": "res://alpha/picture",
                "mime_type": "application/octet-stream",
                "blob": base64.b64encode(b"\x89PNG\x00").decode(),
            }
        ],
    }


def test_binary_contents_go_to_a_file_or_a_pipe_and_never_to_a_terminal(configured, cli, terminal, tmp_path):
    configured(alpha={})
    file = tmp_path / "picture.png"
    saved = cli("read", "res://alpha/picture", "--output", file)
    assert (saved.code, saved.out) == (0, "")
    assert file.read_bytes() == b"\x89PNG\x00"
    refused = terminal("read", "res://alpha/picture")
    assert refused.code == 2
    assert "--output FILE" in refused.out
    assert "PNG" not in refused.out


def test_binary_contents_go_through_a_pipe_as_they_are(configured, capfdbinary):
    configured(alpha={})
    assert main(["read", "res://alpha/picture"]) == 0
    assert capfdbinary.readouterr().out == b"\x89PNG\x00"


def test_output_that_cannot_be_written_is_said(cli, configured, tmp_path):
    configured(alpha={})
    ended = cli("read", "res://alpha/plain", "-o", tmp_path / "absent" / "x")
    assert ended.code == 2
    assert "cannot write" in ended.err


def test_an_unknown_resource_ends_with_4_and_an_unknown_server_with_2(cli, configured):
    configured(alpha={})
    ended = cli("read", "res://alpha/absent", "--json")
    assert ended.code == 4
    assert ended.document["error"]["type"] == "ResourceFetchError"
    ended = cli("read", "res://alpha/plain", "--server", "nobody", "--json")
    assert ended.code == 2
    assert ended.document["error"]["type"] == "UnknownServerError"


def test_a_read_can_be_put_to_one_server(cli, configured):
    configured(alpha={}, beta={})
    assert cli("read", "res://beta/0", "--server", "beta").out == "beta text 0"
    assert cli("read", "res://beta/0", "--server", "Alpha").code == 4


def test_tools_are_listed_under_the_names_to_call_them_by(cli, configured):
    configured(alpha={}, beta={})
    shown = cli("tools")
    assert shown.code == 0
    assert re.search(r"^alpha__echo +alpha +text\?: string +echo of alpha$", shown.out, re.MULTILINE)
    assert re.search(r"^slow +alpha +seconds\?: number +slow of alpha$", shown.out, re.MULTILINE)
    tools = {tool["name"]: tool for tool in cli("tools", "--json").document}
    assert tools["beta__echo"]["tool"] == "echo"
    assert tools["beta__echo"]["server_id"] == "beta"
    assert tools["slow"]["input_schema"]["properties"]["seconds"] == {"type": "number"}


def test_what_a_server_says_cannot_steer_the_terminal(cli, terminal, configured):
    configured(nasty={})
    listed = cli("resources")
    assert "\x1b" not in listed.out
    assert "\\x1b[31mred" in listed.out
    on_terminal = terminal("read", "res://nasty/\x1b[31mred")
    assert "a\\x1b]0;title\\x07b" in on_terminal.out
    assert "\x1b]0;" not in on_terminal.out
    piped = cli("read", "res://nasty/\x1b[31mred")
    assert piped.code == 0
    assert piped.out.startswith("a\x1b]0;title\x07b")


def test_json_is_json_whatever_a_server_says(cli, configured):
    configured(nasty={})
    (entry,) = cli("resources", "--json").document["Nasty"]["resources"].values()
    assert entry["data"].startswith("a\x1b]0;title\x07b")
