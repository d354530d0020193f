"""What a tool's JSON schema says about its arguments, as far as a command line needs to know."""

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["kinds_of", "properties_of"]

_DEEPEST = 8  # references may go in circles
_BY_TYPE: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def properties_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that a schema names, with the schema of each."""
    properties = schema.get("properties")
    return cast("Mapping[str, Any]", properties) if isinstance(properties, Mapping) else {}


def kinds_of(schema: object, root: Mapping[str, Any], depth: int = 0) -> set[str]:
    """Return the JSON types that a value may have; empty if the schema does not say.

    Args:
        schema: The schema of the value.
        root: The whole schema, for references into it.
        depth: How many schemas lead here.
    """
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return set()
    parts = cast("Mapping[str, Any]", schema)
    if "type" in parts:
        return {str(kind) for kind in _listed(parts["type"])}
    if "const" in parts:
        return {_kind_of_value(parts["const"])}
    if "enum" in parts:
        return {_kind_of_value(value) for value in _listed(parts["enum"])}
    if "$ref" in parts:
        return kinds_of(_resolve(str(parts["$ref"]), root), root, depth + 1)
    found = [kinds_of(choice, root, depth + 1) for choice in _listed(parts.get("anyOf") or parts.get("oneOf") or [])]
    return {kind for kinds in found for kind in kinds} if all(found) else set()


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _kind_of_value(value: object) -> str:
    return _BY_TYPE.get(type(value), "array" if isinstance(value, list) else "object")


def _resolve(reference: str, root: Mapping[str, Any]) -> object:
    found: object = root
    if not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(step.replace("~1", "/").replace("~0", "~"))
    return found
