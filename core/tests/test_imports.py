"""What importing costs: names that load nothing they do not need, and plug-ins that leave the SDK alone."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import mcp_orchestra
import pytest

HEAVY = ["mcp", "mcp_types", "pydantic", "yaml", "pluggy", "opentelemetry", "httpx2", "anyio", "httpx"]
PUBLIC = [name for name in mcp_orchestra.__all__ if name != "__version__"]


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after the code."""
    program = f"{code}\nimport sys\nprint('loaded:', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True, timeout=60
    )
    marker, _, modules = done.stdout.rpartition("loaded:")
    assert marker == "", "the code printed something"
    return set(modules.split())


def test_importing_the_package_imports_none_of_its_dependencies():
    loaded = loaded_by("import mcp_orchestra\ndir(mcp_orchestra)")
    assert "mcp_orchestra" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_records_of_a_plugin_come_without_the_sdk_and_pydantic():
    names = "CacheBackendSpec, Endpoint, RoutingPolicySpec, TransportSpec, hookimpl"
    loaded = loaded_by(f"from mcp_orchestra import {names}")
    assert "pluggy" in loaded
    assert loaded.isdisjoint({"mcp", "mcp_types", "pydantic", "yaml", "opentelemetry", "httpx2", "anyio"})


def test_discovering_the_installed_plugins_does_not_import_the_sdk():
    loaded = loaded_by("from mcp_orchestra import PluginManager\nPluginManager(strict=True).discover()")
    assert loaded.isdisjoint({"mcp", "mcp_types", "httpx2", "yaml", "opentelemetry"})


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_the_object_of_its_module_and_is_documented(name: str):
    exported = getattr(mcp_orchestra, name)
    home = import_module(f"mcp_orchestra.{mcp_orchestra._MODULE_OF[name]}")
    assert name in home.__all__
    assert getattr(home, name) is exported
    assert _documentation(home, name), f"{name} has no docstring"


def _documentation(home: ModuleType, name: str) -> str | None:
    """Return the docstring of a class or function, or the text right below an assignment, as editors show it."""
    value = getattr(home, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return inspect.getdoc(value) if value.__doc__ else None
    for statement, below in pairwise(ast.parse(inspect.getsource(home)).body):
        match statement, below:
            case (
                ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)),
                ast.Expr(ast.Constant(str(text))),
            ) if found == name:
                return text
    return None


def test_the_version_is_that_of_the_distribution():
    assert mcp_orchestra.__version__.count(".") == 2


def test_the_lazy_names_are_exactly_the_public_ones():
    assert sorted(mcp_orchestra._MODULE_OF) == sorted(PUBLIC)
    assert dir(mcp_orchestra) == sorted(mcp_orchestra.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mcp_orchestra' has no attribute 'Telepathy'"):
        mcp_orchestra.Telepathy  # noqa: B018 - the access is what is tested
