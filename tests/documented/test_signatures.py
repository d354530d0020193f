"""Names, signatures and fields are those of the API document."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi_server.mcp_orchestrator import MCPOrchestrator
from fastapi_server.mcp_registry import MCPRegistry, MCPServerInfo
from fastapi_server.orchestrator_config import MCPConfig, MCPServerConfig, OrchestrationConfig
from fastapi_server.orchestrator_exceptions import MCPOrchestratorException
from fastapi_server.resource_cache import ResourceCache

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "orchestrator-api.md").read_text(encoding="utf-8")
IMPORTS = sorted(set(re.findall(r"^from (fastapi_server\.\w+) import (\w+)$", DOCUMENT, re.MULTILINE)))
CLASSES = {"MCPOrchestrator": MCPOrchestrator, "MCPRegistry": MCPRegistry, "ResourceCache": ResourceCache}
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^###? )", DOCUMENT, re.MULTILINE | re.DOTALL))
METHODS = [
    (name, code)
    for name in CLASSES
    for code in re.findall(r"^```python\n((?:async )?def .*?)^```$", SECTIONS[name], re.MULTILINE | re.DOTALL)
]
CONSTRUCTORS = re.findall(r"^#### Constructor\n\n```python\n(\w+)(\(.*?\))\n```$", DOCUMENT, re.MULTILINE)
FIELDS = [
    (section, field, default)
    for section in ("MCPServerConfig", "OrchestrationConfig", "MCPConfig", "MCPServerInfo", "MCPOrchestratorException")
    for field, default in re.findall(
        r"^- `(\w+)` \([^:]*\): .*?(?:\(default: (.*)\))?$", SECTIONS[section], re.MULTILINE
    )
]


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_a_documented_import_works_and_leads_to_the_library(module: str, name: str) -> None:
    assert getattr(import_module(module), name) is getattr(import_module("mcp_orchestra"), name)


@pytest.mark.parametrize(("owner", "code"), METHODS)
def test_a_method_takes_what_the_document_says(owner: str, code: str) -> None:
    documented = ast.parse(f"{code.strip()}: ...").body[0]
    assert isinstance(documented, ast.FunctionDef | ast.AsyncFunctionDef)
    method = getattr(CLASSES[owner], documented.name)
    assert inspect.iscoroutinefunction(method) == isinstance(documented, ast.AsyncFunctionDef)
    assert_takes(method, documented.args)


@pytest.mark.parametrize(("owner", "arguments"), CONSTRUCTORS)
def test_a_constructor_takes_what_the_document_says(owner: str, arguments: str) -> None:
    documented = ast.parse(f"def __init__{arguments.replace('(', '(self, ', 1)}: ...").body[0]
    assert isinstance(documented, ast.FunctionDef)
    assert_takes(CLASSES[owner].__init__, documented.args)


@pytest.mark.parametrize(("owner", "field", "default"), FIELDS)
def test_a_record_has_the_documented_field_and_default(owner: str, field: str, default: str | None) -> None:
    if owner == "MCPOrchestratorException":
        assert hasattr(MCPOrchestratorException("message", {}), field)
    elif owner == "MCPServerInfo":
        assert field in MCPServerInfo.__dataclass_fields__
    else:
        model = {model.__name__: model for model in (MCPConfig, MCPServerConfig, OrchestrationConfig)}[owner]
        assert field in model.model_fields
        if default:
            assert model.model_fields[field].default == ast.literal_eval(default)


def test_the_document_was_read() -> None:
    assert (len(IMPORTS), len(METHODS), len(CONSTRUCTORS), len(FIELDS)) == (12, 19, 3, 22)


def assert_takes(function: Any, documented: ast.arguments) -> None:
    """Assert that what the document names comes first, in that order; more is optional and by keyword."""
    parameters = list(inspect.signature(function).parameters.values())
    names = [argument.arg for argument in documented.args]
    assert [parameter.name for parameter in parameters[: len(names)]] == names
    defaults = [ast.literal_eval(default) for default in documented.defaults]
    given = [parameter.default for parameter in parameters[len(names) - len(defaults) : len(names)]]
    assert given == defaults
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[len(names) :])
    assert all(parameter.default is not parameter.empty for parameter in parameters[len(names) :])
