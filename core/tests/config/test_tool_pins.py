"""The pin file: written so that it can be read, compared and kept, and read with every mistake at its place."""

import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import MCPConfig
from mcp_orchestra.config.difference import compare
from mcp_orchestra.config.loader import bind_config, load_config
from mcp_orchestra.config.tool_pins import MAX_PIN_BYTES, ToolPins, read_pin_file, write_pin_file
from mcp_orchestra.errors import ConfigurationError

DIGEST = f"sha256:{64 * 'a'}"
OTHER = f"sha256:{64 * 'b'}"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.sampled_from([DIGEST, OTHER]), max_size=4), max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, pins):
    file = tmp_path_factory.getbasetemp() / "pins.json"
    write_pin_file(file, pins)
    assert read_pin_file(file) == pins


def test_a_pin_file_has_a_line_for_each_tool_in_the_order_of_the_names(tmp_path):
    for pins in ({"b": {"y": DIGEST, "x": OTHER}, "a": {}}, {"a": {}, "b": {"x": OTHER, "y": DIGEST}}):
        write_pin_file(tmp_path / "pins.json", pins)
        assert (tmp_path / "pins.json").read_text() == (
            '{\n  "servers": {\n    "a": {},\n    "b": {\n'
            f'      "x": "{OTHER}",\n      "y": "{DIGEST}"\n'
            '    }\n  },\n  "version": 1\n}\n'
        )


def test_a_pin_file_is_made_for_everybody_to_read_and_keeps_the_mode_that_it_has(tmp_path):
    file = tmp_path / "pins.json"
    before = os.umask(0o022)
    try:
        write_pin_file(file, {})
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        file.chmod(0o600)
        write_pin_file(file, {"a": {"x": DIGEST}})
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_pin_file_that_cannot_be_written_is_as_it_was_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "pins.json"
    write_pin_file(file, {"a": {"x": DIGEST}})
    before = file.read_text()
    with pytest.raises(ConfigurationError, match=r"more than 20000 values"):
        write_pin_file(file, {"a": {str(number): DIGEST for number in range(20_000)}})
    assert file.read_text() == before
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="irectory"):
        write_pin_file(tmp_path / "folder", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pins.json"]


def test_what_another_process_with_the_same_id_is_writing_is_left_alone(tmp_path):
    (other := tmp_path / f".pins.json.{os.getpid()}").write_text("half of a")
    write_pin_file(tmp_path / "pins.json", {"a": {"x": DIGEST}})
    assert other.read_text() == "half of a"
    assert read_pin_file(tmp_path / "pins.json") == {"a": {"x": DIGEST}}


def test_what_a_link_leads_to_is_written(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "pins.json")
    write_pin_file(tmp_path / "link.json", {"a": {"x": DIGEST}})
    assert (tmp_path / "link.json").is_symlink()
    assert read_pin_file(tmp_path / "pins.json") == {"a": {"x": DIGEST}}


MALFORMED = {
    "empty": ("", "", "empty"),
    "no JSON": ("{", "1:1 ", 'no "}" closes'),
    "a conflict": ('{"version": 1,\n<<<<<<< HEAD\n"servers": {}}', "2:1 ", "a key in"),
    "a list": ("[]", "1:1 ", "a mapping, got a list"),
    "no servers": ('{"version": 1}', "", '"servers"'),
    "no version": ('{"servers": {}}', "", '"version": 1'),
    "another version": ('{"version": 2, "servers": {}}', "1:2 version", "expected 1"),
    "a version that is true": ('{"version": true, "servers": {}}', "1:2 version", "expected 1"),
    "another key": ('{"version": 1, "servers": {}, "x": 1}', "1:31 x", "there are version and servers"),
    "servers that are none": ('{"version": 1, "servers": 3}', "1:16 servers", "a mapping, got a whole number"),
    "a server that is none": ('{"version": 1,\n"servers": {\n"a": null}}', "3:1 servers.a", "got nothing"),
    "no digest": ('{"version": 1, "servers": {"a": {\n"x": "abc"}}}', "2:1 servers.a.x", "64 hexadecimal"),
    "a digest that is none": ('{"version": 1, "servers": {"a": {\n"x": 7}}}', "2:1 servers.a.x", "64 hexadecimal"),
    "a repeated tool": (
        f'{{"version": 1, "servers": {{"a": {{\n"x": "{DIGEST}",\n"x": "{OTHER}"}}}}}}',
        "3:1 servers.a.x",
        "already there in line 2, column 1",
    ),
}


@pytest.mark.parametrize("named", MALFORMED)
@pytest.mark.parametrize("made_in", ["file", "python"])
def test_whatever_is_wrong_with_a_pin_file_is_one_error_with_its_place(tmp_path, plugins, named, made_in):
    text, place, words = MALFORMED[named]
    (tmp_path / "pins.json").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, plugins, made_in)
    assert caught.value.context["path"] == str(tmp_path / "pins.json")
    (problem,) = caught.value.context["errors"]
    mark = f"{problem['line']}:{problem['column']}" if problem["line"] else ""
    assert f"{mark} {problem['path']}".strip() == place.strip()
    assert words in problem["message"]
    assert caught.value.message.startswith(f"Tool pin file {tmp_path / 'pins.json'}")


def load(folder, plugins, made_in):
    security = {"tool_pins": "pins.json"}
    if made_in == "python":
        security["tool_pins"] = str(folder / "pins.json")
        return bind_config(MCPConfig.model_validate({"orchestration": {"security": security}}), plugins=plugins)
    (folder / "mcp_config.yaml").write_text(f"mcp_servers: {{}}\norchestration:\n  security: {json.dumps(security)}\n")
    return load_config(folder / "mcp_config.yaml", plugins=plugins, environ={})


def make(kind, file):
    match kind:
        case "missing":
            return "does not exist"
        case "a directory":
            file.mkdir()
            return "is a directory"
        case "too large":
            file.write_bytes(b" " * (MAX_PIN_BYTES + 1))
            return "is larger than 4 000 000 bytes"
        case _:
            file.write_bytes(b"\xff")
            return "is not UTF-8"


@pytest.mark.parametrize("kind", ["missing", "a directory", "too large", "not UTF-8"])
def test_a_pin_file_that_cannot_be_read_is_a_mistake_of_the_configuration_that_names_it(tmp_path, plugins, kind):
    reason = make(kind, tmp_path / "pins.json")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, plugins, "file")
    (problem,) = caught.value.context["errors"]
    assert (problem["line"], problem["path"]) == (3, "orchestration.security.tool_pins")
    for words in (str(tmp_path / "pins.json"), reason, "mcp-orchestra pins --write"):
        assert words in problem["message"]


def test_the_pin_file_is_beside_the_configuration_and_may_be_left_unread(tmp_path, plugins, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_pin_file(tmp_path / "pins.json", {"a": {"x": DIGEST}})
    loaded = load(tmp_path, plugins, "file")
    assert loaded.tool_pins is not None
    assert (dict(loaded.tool_pins.of("a")), dict(loaded.tool_pins.of("b"))) == ({"x": DIGEST}, {})
    (tmp_path / "pins.json").unlink()
    assert load_config(tmp_path / "mcp_config.yaml", plugins=plugins, environ={}, tool_pins=False).tool_pins is None


def test_without_a_pin_file_nothing_is_pinned(load):
    assert load("mcp_servers: {}\n").tool_pins is None


@pytest.mark.parametrize(
    ("line", "place"),
    [("tool_pins: ''", ".tool_pins"), ("tool_pins: 3", ".tool_pins"), ("tool_pins_policy: off", ".tool_pins_policy")],
)
def test_wrong_values_are_refused_at_their_place(refused, line, place):
    text = f"mcp_servers: {{}}\norchestration:\n  security:\n    {line}\n"
    refused(text, f"4:5 orchestration.security{place}")


def test_another_pin_file_updates_the_servers_whose_pins_are_others(tmp_path, plugins):
    server = {"name": "A", "transport": "tcp", "url": "tcp://a"}
    config = {
        "mcp_servers": {"a": server, "b": {**server, "name": "B"}},
        "orchestration": {"security": {"tool_pins": str(tmp_path / "pins.json")}},
    }

    def loaded(policy="block", **pins):
        write_pin_file(tmp_path / "pins.json", pins)
        config["orchestration"]["security"]["tool_pins_policy"] = policy
        return bind_config(MCPConfig.model_validate(config), plugins=plugins)

    first = loaded(a={"x": DIGEST}, b={"x": DIGEST})
    same, other = loaded(a={"x": DIGEST}, b={"x": DIGEST}, c={}), loaded(a={"x": OTHER}, b={"x": DIGEST})
    warned = loaded("warn", a={"x": DIGEST}, b={"x": DIGEST})
    assert compare(first, same).unchanged == ("a", "b")
    assert (compare(first, other).updated, compare(first, other).unchanged) == (("a",), ("b",))
    assert compare(first, warned).updated == ("a", "b")
    unpinned = bind_config(MCPConfig.model_validate({"mcp_servers": config["mcp_servers"]}), plugins=plugins)
    assert compare(unpinned, first).updated == ("a", "b")


def test_pins_are_known_with_what_their_file_looked_like(tmp_path):
    write_pin_file(tmp_path / "pins.json", {})
    first = ToolPins.read(tmp_path / "pins.json", "block")
    write_pin_file(tmp_path / "pins.json", {"a": {"x": DIGEST}})
    assert ToolPins.read(tmp_path / "pins.json", "block").stamp != first.stamp
