"""S1: which file is taken when none is named."""

from pathlib import Path

import pytest
from mcp_orchestra.config.loader import bind_config, find_config, load_config
from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.errors import ConfigurationError

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


def test_without_given_plugins_the_installed_ones_are_discovered(here, monkeypatch):
    monkeypatch.delenv("MCP_ORCHESTRA_DISABLE_PLUGINS", raising=False)
    file = put(here / "mcp_config.yaml", "mcp_servers: {}\nplugins: {disabled: [no-such-plugin]}\n")
    try:
        plugins = load_config(file, environ={}).plugins
    except ConfigurationError as error:  # nothing installed offers the default backend
        assert "orchestration" in error.message
    else:
        assert plugins.installed()


def test_a_configuration_made_in_python_has_no_path(plugins):
    assert bind_config(MCPConfig(), plugins=plugins).path is None
