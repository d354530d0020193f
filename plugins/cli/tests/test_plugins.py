"""`plugins`: what is installed, and why something is not used."""

import re
from pathlib import Path

import pytest


@pytest.fixture
def a_broken_plugin(tmp_path: Path) -> dict[str, str]:
    """Install a plug-in that cannot be imported; return the environment in which it is."""
    folder = tmp_path / "site"
    info = folder / "broken_orchestra-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-orchestra\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[mcp_orchestra]\nbroken = broken_orchestra\n")
    (folder / "broken_orchestra.py").write_text("import no_such_module_of_theirs\n")
    return {"PYTHONPATH": str(folder)}


def test_they_are_listed_without_any_configuration(cli):
    shown = cli("plugins")
    assert (shown.code, shown.err) == (0, "")
    assert re.search(r"^stdio +mcp-orchestra-stdio +\S+ +active +transport stdio +-$", shown.out, re.MULTILINE)
    document = cli("plugins", "--json").document
    stdio = next(plugin for plugin in document["plugins"] if plugin["name"] == "stdio")
    assert stdio["offers"] == ["transport stdio"]
    assert document["conflict"] is None


def test_a_broken_one_is_explained_and_is_an_error_only_if_strict(process, a_broken_plugin):
    shown = process("plugins", "--json", env=a_broken_plugin)
    assert shown.code == 0
    broken = next(plugin for plugin in shown.document["plugins"] if plugin["name"] == "broken")
    assert (broken["distribution"], broken["version"], broken["state"]) == ("broken-orchestra", "1.2", "failed")
    assert "no_such_module_of_theirs" in broken["reason"]
    strict = process("plugins", "--strict", env=a_broken_plugin)
    assert strict.code == 2
    assert "warning: the plug-in 'broken' (broken-orchestra 1.2) cannot be used" in strict.err
    assert "Traceback" not in strict.err


def test_what_the_configuration_disables_is_shown_as_disabled(cli, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("mcp_servers: {}\nplugins: {disabled: [sse]}\n")
    plugins = {plugin["name"]: plugin for plugin in cli("plugins", "-c", file, "--json").document["plugins"]}
    assert plugins["sse"]["state"] == "disabled"
    assert plugins["stdio"]["state"] == "active"


def test_a_broken_configuration_does_not_hide_the_plugins(cli, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("mcp_servers: {a: {name: A, transport: nonsense}}\n")
    shown = cli("plugins", "-c", file)
    assert shown.code == 0
    assert "is invalid" in shown.err
    assert "mcp-orchestra-stdio" in shown.out


def test_two_that_claim_one_name_are_told(process, tmp_path):
    env = {"PYTHONPATH": str(tmp_path / "site")}
    for name in ("one", "two"):
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mcp_orchestra]\ntwice = json\n")
    shown = process("plugins", "--json", env=env)
    assert shown.code == 2
    assert "'twice'" in shown.document["conflict"]
    assert [plugin["state"] for plugin in shown.document["plugins"] if plugin["name"] == "twice"] == [
        "failed",
        "failed",
    ]
