"""Looking at tools and approving them: ``mcp-orchestra pins``."""

import json
import stat

import pytest
import yaml
from mcp_orchestra.config.tool_pins import read_pin_file


@pytest.fixture
def config(tmp_path):
    """Write a configuration with these servers that names the pin file ``pins.json``."""

    def write(policy="block", **servers):
        document = {
            "mcp_servers": {key: {"name": key.title(), **fields} for key, fields in servers.items()},
            "orchestration": {
                "max_retries": 0,
                "security": {"tool_pins": "pins.json", "tool_pins_policy": policy},
            },
        }
        (tmp_path / "mcp_config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    return write


@pytest.fixture
def serving(upstreams):
    """Return the fields of a server that runs as long as the tests do, and whose tools these are from now on."""

    def fields(server_id, *tools, **fields):
        server = upstreams.servers[server_id]
        server.tools[:], server.tool_fields = tools, fields
        return {"transport": "streamable-http", "url": upstreams.urls[server_id]}

    return fields


DOWN = {"transport": "stdio", "command": "/there/is/no/such/program"}


def states(outcome):
    return {(tool["server"], tool["tool"]): tool["state"] for tool in outcome.document["tools"]}


def test_tools_are_looked_at_approved_changed_blocked_and_approved_again(cli, config, serving, tmp_path):
    file = tmp_path / "pins.json"
    config(a=serving("one", "echo", "count"))
    assert cli("tools").code == 2  # the configuration names a file that is not there yet
    shown = cli("pins")
    assert (shown.code, file.exists()) == (6, False)
    assert "new: a echo  sha256:" in shown.out
    assert "  description:\n    echo of one\n" in shown.out
    assert '"type": "object"' in shown.out
    assert "pins.json: 0 same, 0 changed, 2 new, 0 gone\n" in shown.out
    written = cli("pins", "--write")
    assert (written.code, written.out.endswith("wrote pins.json: what is shown above is approved\n")) == (0, True)
    looked_at = shown.out.splitlines()[:-1]  # without what to do about it
    assert written.out.splitlines()[: len(looked_at)] == looked_at
    approved = read_pin_file(file)
    assert set(approved["a"]) == {"echo", "count"}
    assert cli("call", "echo", "text=hi").out == "one: hi\n"

    serving("one", "echo", echo={"description": "echo of two"})
    blocked = cli("call", "echo", "text=hi")
    assert (blocked.code, blocked.out) == (4, "")
    assert "is not the one that was approved" in blocked.err
    assert "1 tool is not as pinned in pins.json, and hidden: 'echo' (changed)" in blocked.err
    changed = cli("pins")
    assert changed.code == 6
    digest = approved["a"]["echo"]
    assert f"changed: a echo  {digest} -> sha256:" in changed.out
    assert "echo of two" in changed.out
    assert "gone: a count  sha256:" in changed.out
    assert read_pin_file(file) == approved

    assert cli("pins", "--write").code == 0
    assert list(read_pin_file(file)["a"]) == ["echo"]
    assert read_pin_file(file)["a"]["echo"] != digest
    assert cli("call", "echo", "text=hi").out == "one: hi\n"


def test_a_server_that_is_down_keeps_its_pins_and_is_named(cli, config, serving, tmp_path):
    config(a=serving("one", "echo"), b=serving("two", "count"))
    assert cli("pins", "--write").code == 0
    before = read_pin_file(tmp_path / "pins.json")
    config(a=serving("one", "echo", echo={"title": "Echo"}), b=DOWN, c={**DOWN, "enabled": False})
    shown = cli("pins", "--json")
    assert (shown.code, states(shown)) == (6, {("a", "echo"): "changed"})
    assert set(shown.document["failed"]) == {"b"}
    written = cli("pins", "--write")
    assert written.code == 3
    assert "server b keeps the pins that it has: " in written.err
    after = read_pin_file(tmp_path / "pins.json")
    assert after["b"] == before["b"]
    assert after["a"] != before["a"]
    assert cli("pins").code == 3  # what could be asked is as pinned


def test_a_file_can_be_named_before_the_configuration_does_and_has_all_servers_in_it(
    cli, configured, serving, tmp_path
):
    configured(alpha={}, late=serving("two", "pid") | {"start": "on_first_use"})
    nowhere = cli("pins")
    assert (nowhere.code, "orchestration.security.tool_pins" in nowhere.err) == (2, True)
    written = cli("pins", tmp_path / "mine.json", "--write", "--json")
    assert (written.code, written.document["written"]) == (0, True)
    assert written.document["path"] == str(tmp_path / "mine.json")
    tools = {tool["tool"]: tool for tool in written.document["tools"] if tool["server"] == "late"}
    assert tools["pid"]["listed"]["description"] == "pid of two"
    pins = read_pin_file(tmp_path / "mine.json")
    assert pins["late"] == {"pid": tools["pid"]["digest"]}
    assert "echo" in pins["alpha"]
    assert stat.S_IMODE((tmp_path / "mine.json").stat().st_mode) & 0o600 == 0o600
    again = cli("pins", tmp_path / "mine.json", "--write")
    assert (again.code, again.out.endswith("same, 0 changed, 0 new, 0 gone\n")) == (0, True)


@pytest.mark.parametrize("write", [(), ("--write",)])
def test_a_broken_pin_file_is_reported_with_its_place_and_not_written_over(cli, config, serving, tmp_path, write):
    config(a=serving("one", "echo"))
    (tmp_path / "pins.json").write_text("{\n<<<<<<< HEAD\n")
    for command in (("pins", *write), ("check",)):
        ended = cli(*command)
        assert ended.code == 2
        assert "pins.json:2:1: " in ended.err
    assert "HEAD" in (tmp_path / "pins.json").read_text()


def test_a_pin_file_that_cannot_be_written_or_read_is_wrong_usage(cli, configured, tmp_path):
    configured(alpha={})
    (tmp_path / "folder").mkdir()
    unread = cli("pins", tmp_path / "folder")
    assert (unread.code, "is a directory" in unread.err) == (2, True)
    unwritten = cli("pins", tmp_path / "missing" / "pins.json", "--write")
    assert (unwritten.code, "cannot write" in unwritten.err) == (2, True)


def test_nothing_in_a_tool_is_hidden_from_who_approves_it_or_looks_like_a_line_of_ours(cli, config, serving):
    """Escape sequences, text in characters that are not seen, and lines that end a description too early."""
    text = "fine\nsame: a echo\x1b[2J\u200b\u202e\U000e0041\U000e0100\u3164\u034f\r"
    config(a=serving("one", "echo", echo={"description": text, "title": text}))
    out = cli("pins").out
    assert "\nsame: " not in out
    assert all(line.isprintable() for line in out.splitlines())
    for hidden in (r"\x1b[2J", r"\u200b", r"\u202e", r"\U000e0041", r"\U000e0100", r"\u3164", r"\u034f", r"\r"):
        assert out.count(hidden) == 2


def test_check_tells_about_tools_that_are_not_as_pinned(cli, config, serving, tmp_path):
    (tmp_path / "pins.json").write_text(json.dumps({"version": 1, "servers": {}}))
    config(a=serving("one", "echo"), b=DOWN)
    checked = cli("check", "--connect", "--json")
    assert checked.code == 3
    found = {server["id"]: server["tools_not_as_pinned"] for server in checked.document["servers"]}
    assert found == {"a": {"echo": "new"}, "b": {}}
    assert "1 tool is not as pinned in " in checked.err
