"""Writes the tables of ``reference/configuration.md`` from the models that check a configuration.

``python docs/configuration_reference.py`` rewrites what stands between the marks on that page; a test checks that there
is nothing to rewrite.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from mcp_orchestra import MCPConfig, MCPServerConfig, OrchestrationConfig, PluginManager
from mcp_orchestra.config.models import (
    CacheConfig,
    LimitsConfig,
    PluginsConfig,
    RoutingConfig,
    SecurityConfig,
    SupervisionConfig,
)
from mcp_orchestra.http.auth.options import BearerAuth, ClientCredentialsAuth
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

PAGE = Path(__file__).parent / "reference" / "configuration.md"
MODELS: dict[str, type[BaseModel]] = {
    "top": MCPConfig,
    "server": MCPServerConfig,
    "orchestration": OrchestrationConfig,
    "limits": LimitsConfig,
    "supervision": SupervisionConfig,
    "cache": CacheConfig,
    "routing": RoutingConfig,
    "security": SecurityConfig,
    "plugins": PluginsConfig,
    "bearer": BearerAuth,
    "client_credentials": ClientCredentialsAuth,
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def render(page: str) -> str:
    """Return the page with what stands between its marks made anew."""

    def fill(mark: re.Match[str]) -> str:
        name = mark["name"]
        content = "\n\n".join(options()) if name == "options" else table(MODELS[name])
        return f"<!-- generated: {name} -->\n\n{content}\n\n<!-- end -->"

    return re.sub(r"<!-- generated: (?P<name>\w+) -->.*?<!-- end -->", fill, page, flags=re.DOTALL)


def options() -> Iterator[str]:
    """Yield a section for everything that the built-in plug-ins offer."""
    plugins = PluginManager()
    plugins.discover()
    for kind, specs in (
        ("Transport", plugins.transports()),
        ("Cache backend", plugins.cache_backends()),
        ("Routing policy", plugins.routing_policies()),
    ):
        for spec in specs:
            yield f"### {kind} `{spec.name}`"
            if aliases := cast("tuple[str, ...]", getattr(spec, "aliases", ())):
                yield f"Also written {', '.join(f'`{alias}`' for alias in aliases)}."
            yield table(spec.options) if spec.options is not None else "It has no options."


def table(model: type[BaseModel]) -> str:
    """Return the fields of a model as a table; what it inherits has a table of its own where it is ours."""
    texts = docstrings(model)
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    own_tables = {*LimitsConfig.model_fields, *SupervisionConfig.model_fields}
    inherited = own_tables if model is OrchestrationConfig else set[str]()
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        written = field.alias or name
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "required" if default is PydanticUndefined else value(default)
        kind = type_of(schema["properties"][written])
        rows.append(f"| `{written}` | {kind} | {shown} | {texts.get(name, field.description or '')} |")
    return "\n".join(rows)


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field, those of base classes included."""
    texts: dict[str, str] = {}
    for owner in reversed([c for c in model.__mro__ if issubclass(c, BaseModel) and c is not BaseModel]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        body = cast("ast.ClassDef", tree).body
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split()).replace("``", "`").replace("|", r"\|")
                case _:
                    pass
    return texts


def value(default: Any) -> str:
    """Return a default as YAML would have it."""
    if isinstance(default, BaseModel) or default == {}:
        return "`{}`"
    words = {None: "", True: "`true`", False: "`false`", "": '`""`'}
    return words[default] if isinstance(default, bool | str | None) and default in words else f"`{default}`"


def type_of(schema: dict[str, Any]) -> str:
    """Return a JSON schema in words."""
    if "$ref" in schema or "oneOf" in schema:
        return "mapping"
    if "anyOf" in schema:
        kinds = {one.get("type"): type_of(one) for one in schema["anyOf"] if one.get("type") != "null"}
        if "number" in kinds:
            kinds.pop("integer", None)
        return " or ".join(kinds.values()) + bounds(schema)
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array":
            items = type_of(schema.get("items", {}))
            return f"list of {items}s" if items == "text" else f"list of {items}"
        case "string":
            return "text"
        case "boolean":
            return "`true` or `false`"
        case "object":
            return "mapping"
        case str(kind):
            return kind + bounds(schema)
        case _:
            return "anything"


def bounds(schema: dict[str, Any]) -> str:
    """Return the bounds of a number in words."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return "".join(
        f", {text} {format(schema[name], ',').replace(',', ' ')}" for name, text in words.items() if name in schema
    )


if __name__ == "__main__":
    main()
