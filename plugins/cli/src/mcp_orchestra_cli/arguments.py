"""Turns ``key=value`` and ``key:=json`` of a command line into a tool's arguments."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.schemas import kinds_of, properties_of

__all__ = ["needs_schema", "tool_arguments"]

_FORM = "expected key=value, or key:=JSON"


def needs_schema(pairs: Sequence[str]) -> bool:
    """Return whether the meaning of any argument depends on the tool's schema."""
    return any(_split(pair)[1] == "=" for pair in pairs)


def tool_arguments(pairs: Sequence[str], given: str | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's arguments.

    Args:
        pairs: ``key=value`` (JSON where the schema wants something other than text, else text) or ``key:=JSON``.
        given: A JSON object with further arguments; the pairs win.
        schema: The tool's input schema; empty if it is not known.

    Raises:
        UsageError: An argument is not of that form or not of the kind that the schema wants, or is given twice.
    """
    arguments: dict[str, Any] = {} if given is None else _object(given)
    seen: set[str] = set()
    for pair in pairs:
        key, sign, text = _split(pair)
        if key in seen:
            raise UsageError(f"argument {key}: given twice")
        seen.add(key)
        arguments[key] = _json(text, f"argument {key}") if sign == ":=" else _value(key, text, schema)
    return arguments


def _split(pair: str) -> tuple[str, str, str]:
    key, sign, text = pair.partition("=")
    if not sign or key in {"", ":"}:
        raise UsageError(f"argument {pair!r}: {_FORM}")
    return (key[:-1], ":=", text) if key.endswith(":") else (key, "=", text)


def _value(key: str, text: str, schema: Mapping[str, Any]) -> Any:
    kinds = kinds_of(properties_of(schema).get(key), schema)
    if not kinds or "string" in kinds:
        return text
    wanted = " or ".join(sorted(kinds))
    try:
        value = _loads(text)
    except ValueError:
        raise UsageError(f"argument {key}: expected {wanted}, written as JSON", {"argument": key}) from None
    if not any(_is(value, kind) for kind in kinds):
        raise UsageError(f"argument {key}: expected {wanted}", {"argument": key})
    return value


def _is(value: object, kind: str) -> bool:
    match kind:
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
        case _:
            return True


def _object(text: str) -> dict[str, Any]:
    value = _json(text, "--args")
    if not isinstance(value, dict):
        raise UsageError("--args: expected a JSON object")
    return cast("dict[str, Any]", value)


def _json(text: str, where: str) -> Any:
    try:
        return _loads(text)
    except ValueError:
        raise UsageError(f"{where}: expected valid JSON") from None


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
