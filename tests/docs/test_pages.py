"""Pages that repeat what the code says say what the code says."""

import importlib.util
import re
from dataclasses import fields
from inspect import getdoc
from pathlib import Path
from typing import get_args

import mcp_orchestra
import pytest
import yaml
from mcp_orchestra import MCPConfig, PluginManager, errors, hookspecs
from mcp_orchestra.cache import resources_key, templates_key, tools_key
from mcp_orchestra.config.loader import bind_config
from mcp_orchestra.testing.faults import StdioFault

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_configuration_page_is_generated_from_the_models() -> None:
    spec = importlib.util.spec_from_file_location("configuration_reference", DOCS / "configuration_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = page("reference/configuration.md")
    assert written == module.render(written), "run: python docs/configuration_reference.py"
    assert len(re.findall("<!-- generated: ", written)) == len(module.MODELS) + 1


@pytest.mark.parametrize("name", sorted(set(mcp_orchestra.__all__) - {"__version__"}))
def test_a_public_name_is_on_the_api_page_or_that_of_plugins(name: str) -> None:
    assert re.search(rf"\b{name}\b", page("reference/api.md") + page("plugins/authors.md"))


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    tree = re.search(r"```text\n(.*?)```", page("reference/errors.md"), re.DOTALL)
    assert tree is not None
    in_code = "\n".join(line.strip() for line in (getdoc(errors) or "").splitlines() if "──" in line or "│" in line)
    on_page = "\n".join(line.strip() for line in tree[1].splitlines() if "──" in line)
    assert on_page == in_code


@pytest.mark.parametrize("hook", [name for name in hookspecs.__all__ if name.startswith("mcp_orchestra_")])
def test_a_hook_is_in_the_guide_for_authors(hook: str) -> None:
    assert f"::: mcp_orchestra.hookspecs.{hook}" in page("plugins/authors.md")


def test_the_cache_keys_are_listed() -> None:
    written = page("reference/cache.md")
    assert f"`{resources_key('<id>')}`" in written
    assert f"`{templates_key('<id>')}`" in written
    assert f"`{tools_key('<id>')}`" in written


def test_every_plugin_in_the_workspace_has_a_page() -> None:
    plugins = PluginManager()
    plugins.discover()
    index = page("plugins/index.md")
    for info in plugins.installed():
        assert f"[`{info.name}`]({info.name}.md)" in index
        for offer in info.offers:
            kind, _, name = offer.rpartition(" ")
            assert f"{kind} `{name}`" in index


def test_every_fault_over_stdio_is_on_its_page() -> None:
    described = re.findall(r"^\| `([a-z0-9-]+)` \|", page("plugins/faults.md"), re.MULTILINE)
    assert described == list(get_args(StdioFault))


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "examples" not in path.parts]
    assert [name for name in pages if f"- {name}\n" not in navigation] == []


def test_every_state_is_told_on_the_page_about_servers_that_fail() -> None:
    first_cells = re.findall(r"^\| (`[a-z_`, ]+`) \| (?:yes|no) \|", page("supervision.md"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(get_args(mcp_orchestra.ServerState))


def test_every_part_of_the_result_is_told_on_the_page_about_reloading() -> None:
    told = re.findall(r"print\((.+)\)", page("reload.md"))[0]
    assert re.findall(r"result\.(\w+)", told) == [field.name for field in fields(mcp_orchestra.ReloadResult)]


@pytest.mark.parametrize("name", ["supervision.md", "cache-backends.md", "known-servers.md", "plugins/index.md"])
def test_what_a_page_says_to_write_can_be_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        bind_config(MCPConfig.model_validate(yaml.safe_load(block)))
