"""S1: which file is taken when none is named."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from mcp_orchestra.config.loader import bind_config, find_config, load_config
from mcp_orchestra.config.models import MCPConfig, PluginsConfig
from mcp_orchestra.errors import ConfigurationError
from mcp_orchestra.plugins import PluginManager

PLACES = ["fastapi_server/mcp_config.yaml", "mcp_config.yaml", ".mcp.json"]


def put(file: Path, text: str = '{"mcp_servers": {}}') -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("first", range(3))
def test_s1_the_first_place_that_exists_is_taken(here, first):
    for place in PLACES[first:]:
        put(here / place)
    assert find_config({}) == Path(PLACES[first])


def test_s1_the_variable_goes_before_all_places(here):
    for place in [*PLACES, "mine.yaml"]:
        put(here / place)
    assert find_config({"MCP_ORCHESTRA_CONFIG": "mine.yaml"}) == Path("mine.yaml")


def test_s1_an_empty_variable_is_as_good_as_none(here):
    put(here / "mcp_config.yaml")
    assert find_config({"MCP_ORCHESTRA_CONFIG": ""}) == Path("mcp_config.yaml")


def test_s1_the_variable_of_the_process_counts_by_default(here, plugins, monkeypatch):
    monkeypatch.setenv("MCP_ORCHESTRA_CONFIG", str(put(here / "mine.yaml")))
    assert find_config() == here / "mine.yaml"
    assert load_config(plugins=plugins).path == here / "mine.yaml"


def test_s1_a_variable_that_leads_nowhere_is_passed_over_with_a_warning(here, plugins):
    put(here / ".mcp.json")
    loaded = load_config(plugins=plugins, environ={"MCP_ORCHESTRA_CONFIG": "gone.yaml"})
    assert loaded.path == Path(".mcp.json")
    assert loaded.warnings == ("MCP_ORCHESTRA_CONFIG names gone.yaml, which does not exist; .mcp.json is used",)


def test_s1_without_any_file_the_error_lists_all_places(here):
    with pytest.raises(ConfigurationError) as caught:
        find_config({})
    for place in ["$MCP_ORCHESTRA_CONFIG (not set)", *(f"./{place}" for place in PLACES)]:
        assert place in caught.value.message
        assert place in caught.value.context["tried"]


def test_s1_without_any_file_the_error_says_what_the_variable_named(here):
    with pytest.raises(ConfigurationError, match=r"\$MCP_ORCHESTRA_CONFIG \(gone.yaml\)"):
        load_config(environ={"MCP_ORCHESTRA_CONFIG": "gone.yaml"})


def test_s1_a_place_that_exists_is_taken_even_if_it_is_wrong(here, plugins):
    (here / "mcp_config.yaml").mkdir()
    put(here / ".mcp.json")
    with pytest.raises(ConfigurationError, match="is a directory"):
        load_config(plugins=plugins, environ={})


@pytest.fixture
def discovered(plugins, monkeypatch):
    """Install the plug-ins of the tests, and return the names that each new manager was told to disable."""
    told: list[list[str]] = []

    class Installed(PluginManager):
        def __init__(self, *, disabled: Iterable[str] = (), strict: bool = False) -> None:
            told.append([*disabled])
            super().__init__(disabled=told[-1], strict=strict)

        def discover(self) -> None:
            self._plugins = [*plugins._plugins]

    monkeypatch.setattr("mcp_orchestra.plugins.PluginManager", Installed)
    return told


def test_without_given_plugins_the_installed_ones_are_used_but_for_the_disabled(here, discovered):
    file = put(here / "mcp_config.yaml", "mcp_servers: {}\nplugins: {disabled: [redis, '${X:-disk}']}\n")
    assert load_config(file, environ={}).cache_backend.spec.name == "memory"
    assert discovered == [["redis", "disk"]]


def test_what_is_disabled_must_be_known_before_any_plugin_is_imported(here, discovered):
    file = put(here / "mcp_config.yaml", "mcp_servers: {}\nplugins: {disabled: redis}\n")
    with pytest.raises(ConfigurationError, match="expected a list"):
        load_config(file, environ={})
    assert discovered == []


def test_given_plugins_are_used_as_they_are_with_a_warning(here, plugins):
    file = put(here / "mcp_config.yaml", "mcp_servers: {}\nplugins: {disabled: [every-kind, other]}\n")
    loaded = load_config(file, plugins=plugins, environ={})
    assert loaded.plugins is plugins
    (warning,) = loaded.warnings
    assert warning.startswith("plugins.disabled: every-kind is in use")


def test_a_configuration_made_in_python_disables_plugins_too(discovered):
    bind_config(MCPConfig(plugins=PluginsConfig(disabled=["redis"])))
    assert discovered == [["redis"]]


def test_a_configuration_made_in_python_has_no_path(plugins):
    assert bind_config(MCPConfig(), plugins=plugins).path is None
