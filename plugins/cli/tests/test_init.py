"""`init`: a configuration to start from, or another client's servers in our shape."""

import json
import re
import stat
from collections.abc import Iterator

import pytest
import yaml
from mcp_orchestra.config.loader import load_config
from mcp_orchestra.config.models import (
    CacheConfig,
    MCPServerConfig,
    OrchestrationConfig,
    PluginsConfig,
    RoutingConfig,
)
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra_cli.scaffold.docs import field_docs
from mcp_orchestra_cli.scaffold.yamls import entry, value
from pydantic import BaseModel, Field

CLAUDE = {
    "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "@scope/server", "${HOME}"], "env": {"KEY": "${FILES_KEY}"}},
        "my notes!": {"command": "notes", "disabled": True, "autoApprove": ["read"], "colour": "blue"},
        "remote": {
            "type": "http",
            "url": "https://example.com/mcp",
            "headers": {"Authorization": "Bearer ${TOKEN:-x}"},
        },
        "old": {"url": "https://example.com/sse", "timeout": 60000},
    },
    "globalShortcut": "Ctrl+Space",
}
VS_CODE = """{
  // the servers of this workspace
  "inputs": [{"type": "promptString", "id": "key", "password": true}],
  "servers": {
    "git": {"type": "stdio", "command": "uvx", "args": ["mcp-server-git"], "envFile": ".env"},
    "web": {"type": "sse", "url": "${env:WEB_URL}",},
  }
}"""


def test_init_then_check_then_use(cli, tmp_path):
    made = cli("init")
    assert made.code == 0
    assert "mcp-orchestra check --connect" in made.out
    assert cli("check").code == 0
    connected = cli("check", "--connect", "--json")
    assert (connected.code, connected.err) == (0, "")
    (server,) = connected.document["servers"]
    assert (server["id"], server["state"], server["resources"], server["tools"]) == ("sample", "ready", 3, 2)
    assert server["seconds"] > 0


def test_every_field_there_is_stands_in_the_file_with_its_explanation(cli, tmp_path):
    cli("init")
    text = (tmp_path / "mcp_config.yaml").read_text()
    words = " ".join(re.sub(r"^ *#? *#?", "", line).strip() for line in text.splitlines())
    models = [MCPServerConfig, OrchestrationConfig, CacheConfig, RoutingConfig, PluginsConfig]
    plugins = PluginManager()
    plugins.discover()
    models += [s.options for s in plugins.transports() if s.options is not None and s.deprecated is None]
    for model in models:
        docs = field_docs(model)
        assert set(docs) == set(model.model_fields), f"{model.__name__} has fields that nobody has explained"
        for name, explanation in docs.items():
            assert re.search(rf"^ *#? *{name}:", text, re.MULTILINE), name
            assert explanation in words
    for spec in [*plugins.cache_backends(), *plugins.routing_policies()]:
        assert f"# {spec.name}:" in text


def test_what_is_commented_out_is_valid_too(cli, tmp_path, monkeypatch):
    cli("init")
    file = tmp_path / "mcp_config.yaml"
    monkeypatch.setenv("TOKEN", "t")
    # A comment that holds a key is an example or a default; anything else is prose.
    servers, separator, behaviour = file.read_text().partition("\norchestration:")
    keys = "|".join([*sorted(_all_field_names(), key=len, reverse=True), "my-[a-z-]+"])
    servers = re.sub(rf"^( *)# ( *)((?:{keys}):(?: .*)?)$", r"\1\2\3", servers, flags=re.MULTILINE)
    file.write_text(servers + separator + behaviour)
    checked = cli("check", "--json")
    assert checked.code == 0, checked.out
    assert [server["id"] for server in checked.document["servers"]] == ["sample", "my-stdio", "my-streamable-http"]


def _all_field_names() -> Iterator[str]:
    yield from MCPServerConfig.model_fields
    plugins = PluginManager()
    plugins.discover()
    for spec in plugins.transports():
        if spec.options is not None:
            yield from spec.options.model_fields


def test_a_file_that_is_there_is_replaced_only_with_force(cli, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    refused = cli("init", "--config", file)
    assert refused.code == 2
    assert f"{file} exists already; --force replaces it" in refused.err
    assert file.read_text() == "mine"
    assert cli("init", "--config", file, "--force").code == 0
    assert load_config(file).config.mcp_servers


def test_it_says_where_it_could_not_write(cli, tmp_path):
    ended = cli("init", "--config", tmp_path / "absent" / "x.yaml", "--json")
    assert ended.code == 2
    assert "No such file or directory" in ended.document["error"]["message"]


def test_claudes_file_becomes_ours_without_resolving_or_losing_anything(cli, tmp_path, monkeypatch):
    source = tmp_path / "claude_desktop_config.json"
    source.write_text(json.dumps(CLAUDE))
    source.chmod(0o600)
    made = cli("init", "--from", source, "--json")
    assert (made.code, made.err) == (0, "")

    file = tmp_path / "mcp_config.yaml"
    text = file.read_text()
    servers = yaml.safe_load(text)["mcp_servers"]
    assert servers["files"] == {
        "name": "files",
        "transport": "stdio",
        "command": "npx",
        "args": ["-y", "@scope/server", "${HOME}"],
        "env": {"KEY": "${FILES_KEY}"},
    }
    assert servers["my_notes"] == {"name": "my notes!", "transport": "stdio", "command": "notes", "enabled": False}
    assert servers["remote"]["transport"] == "http"
    assert servers["remote"]["headers"] == {"Authorization": "Bearer ${TOKEN:-x}"}
    assert servers["old"] == {"name": "old", "transport": "sse", "url": "https://example.com/sse", "timeout": 60}

    # What has no place stands in comments, and is told.
    for kept in ("# autoApprove: [read]", "# colour: blue", "# globalShortcut: Ctrl+Space"):
        assert kept in text
    notes = "\n".join(made.document["notes"])
    for told in ("autoApprove", "colour", "globalShortcut", "my_notes", "milliseconds"):
        assert told in notes
    # So is what is left to do, and it may hold secrets as its source did.
    assert [problem["path"] for problem in made.document["problems"]] == ["mcp_servers.files.env.KEY"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    monkeypatch.setenv("FILES_KEY", "k")
    assert cli("check").code == 0


def test_vs_codes_file_becomes_ours(cli, tmp_path, monkeypatch):
    source = tmp_path / "mcp.json"
    source.write_text(VS_CODE)
    made = cli("init", "--from", source, "--config", "ours.yaml")
    assert made.code == 0
    text = (tmp_path / "ours.yaml").read_text()
    servers = yaml.safe_load(text)["mcp_servers"]
    assert servers["git"] == {"name": "git", "transport": "stdio", "command": "uvx", "args": ["mcp-server-git"]}
    assert servers["web"] == {"name": "web", "transport": "sse", "url": "${env:WEB_URL}"}
    assert "# envFile: .env" in text
    assert "# inputs: [{type: promptString, id: key, password: true}]" in text
    assert "note: server git: no such fields here, kept as comments: envFile" in made.out
    assert re.search(r"^to do: ours.yaml:\d+:\d+: mcp_servers.web.url: .*WEB_URL", made.out, re.MULTILINE)
    monkeypatch.setenv("WEB_URL", "https://example.com/sse")
    assert cli("check", "-c", "ours.yaml").code == 0


def test_a_guessed_transport_is_told(cli, tmp_path):
    source = tmp_path / "mcp.json"
    source.write_text('{"mcpServers": {"web": {"url": "${WEB_URL:-https://example.com/sse}"}}}')
    made = cli("init", "--from", source)
    assert "server web: its transport is a guess" in made.out


def test_the_sections_of_ours_are_taken_over(cli, tmp_path):
    source = tmp_path / "mcp.json"
    source.write_text('{"mcpServers": {}, "orchestration": {"fail_fast": false}}')
    assert cli("init", "--from", source).code == 0
    assert yaml.safe_load((tmp_path / "mcp_config.yaml").read_text()) == {
        "mcp_servers": {},
        "orchestration": {"fail_fast": False},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "closes what starts here"), ('{"a": 1}', "unknown field"), ('{"mcpServers": {"a": {}}}', "command")],
)
def test_a_source_that_makes_no_sense_is_explained_and_nothing_is_written(cli, tmp_path, text, says):
    source = tmp_path / "mcp.json"
    source.write_text(text)
    ended = cli("init", "--from", source)
    assert ended.code == 2
    assert f"{source}:1:" in ended.err
    assert says in ended.err
    assert not (tmp_path / "mcp_config.yaml").exists()


AWKWARD = ["{a}", "[", "- x", "&a", "*a", "!t", "%", "@", "`", "null", "~", "2026-01-01", '"', "'"]


@pytest.mark.parametrize(
    "data",
    [
        *AWKWARD,
        "a" * 500 + " b" * 300,
        "plain",
        "",
        "no",
        "1",
        "1e3",
        "0x10",
        "12:30",
        "a: b",
        "# no",
        "two\nlines\n",
        "tab\t",
        " x ",
        "é",
        "😀",
        "\x85\x07",
    ],
)
def test_any_text_survives_the_way_through_our_yaml(data):
    nested = {data: [data, {"k": data}], "again": [data, data], "x": None, "y": True, "z": 1.5}
    line = entry("key", nested)
    assert "\n" not in line
    assert yaml.safe_load(line) == {"key": nested}
    assert yaml.safe_load(value(data)) == data


def test_explanations_are_read_from_where_a_field_was_written():
    class Base(BaseModel):
        inherited: int = 1
        """From  the
        base."""

    class Derived(Base):
        own: list[int] = Field(default_factory=list)
        """From ``here``."""
        described: int = Field(default=0, description="From the field.")
        silent: int = 0

    assert field_docs(Derived) == {
        "inherited": "From the base.",
        "own": "From `here`.",
        "described": "From the field.",
    }
