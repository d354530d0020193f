"""Says in our own words what a pydantic model had against a value, without saying the value."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, cast

from mcp_orchestra.config.tree import kind_of
from mcp_orchestra.redaction import SHORTEST
from mcp_orchestra.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["explain"]

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
    "path": "a path",
    "url": "a URL",
    "none_required": "nothing",
}
# By pydantic's name of the error; the braces take what pydantic says about the bound.
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "string_too_short": "text of {min_length} or more characters",
    "string_too_long": "text of {max_length} or fewer characters",
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} or fewer entries",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "a mapping whose {discriminator} is one of {expected_tags}",
    "union_tag_not_found": "a mapping that has {discriminator}",
}
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?")
_BOOLEAN = re.compile(r"true|false|yes|no|on|off", re.IGNORECASE)
_PIECE = 10  # a message that shares so many characters with a value quotes it


def explain(
    errors: Sequence["ErrorDetails"],
    value: object,
    *,
    written: str = "",
    placeholder: bool = False,
    secret: bool = False,
) -> str:
    """Return what was expected of one value.

    Args:
        errors: What pydantic says about it: several for a union.
        value: The value: nothing of it is repeated but what kind it is.
        written: How the file has it, if it is a YAML boolean.
        placeholder: Whether it was put in for a ``${…}``.
        secret: Whether it may be a secret: a plug-in's own validator has no say then.
    """
    kinds = list(dict.fromkeys(kind for error in errors if (kind := _kind(error["type"]))))
    if "a number" in kinds and "a whole number" in kinds:
        kinds.remove("a whole number")
    bounds = list(dict.fromkeys(bound for error in errors if (bound := _bound(error, value))))
    if not kinds and bounds:
        near = did_you_mean(value, _vocabulary(errors)) if isinstance(value, str) else ""
        return f"expected {' or '.join(bounds)}{near}"
    if kinds:
        got = "other text for ${…}" if placeholder else kind_of(value)
        return f"expected {' or '.join([*kinds, *bounds])}, got {got}{_advice(kinds, value, written, placeholder)}"
    return _foreign(errors[0], value, secret)


def _kind(error: str) -> str | None:
    return _KINDS.get(re.sub(r"_(type|parsing|parsing_size|from_float)$", "", error))


def _bound(error: "ErrorDetails", value: object) -> str | None:
    kind = error["type"]
    form = _BOUNDS.get(f"string_{kind}" if kind.startswith("too_") and isinstance(value, str) else kind)
    return form.format_map(error.get("ctx", {})) if form else None


def _vocabulary(errors: Iterable["ErrorDetails"]) -> list[str]:
    return [
        word for error in errors for word in re.findall(r"'([^']+)'", str(error.get("ctx", {}).get("expected", "")))
    ]


def _advice(kinds: list[str], value: object, written: str, placeholder: bool) -> str:
    if "text" in kinds and isinstance(value, bool):
        return f'; write "{written or str(value).lower()}" in quotes'
    if "text" in kinds and not isinstance(value, str | list | dict | None):
        return "; write it in quotes"
    if isinstance(value, str) and not placeholder:
        number = any("number" in kind for kind in kinds) and _NUMBER.fullmatch(value)
        if number or ("true or false" in kinds and _BOOLEAN.fullmatch(value)):
            return "; write it without quotes"
    if kinds == ["a list"] and isinstance(value, str):
        return "; write it in brackets: [one, two]"
    return ""


def _foreign(error: "ErrorDetails", value: object, secret: bool) -> str:
    """Return what a validator says, unless it is a plug-in's and the value may be a secret, or a piece is repeated."""
    reason = error.get("ctx", {}).get("error")
    said = str(reason) if reason is not None else error["msg"].replace("Input should be ", "expected ", 1)
    said = " ".join(said.split())[:300]
    telling = not _is_ours(reason) and (secret or _quotes(said, value))
    return said if said and not telling else "this is not valid here"


def _is_ours(reason: object) -> bool:
    """Say whether core itself raised this: it never tells a value."""
    trace: TracebackType | None = getattr(reason, "__traceback__", None)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("mcp_orchestra.")


def _quotes(said: str, value: object) -> bool:
    pieces = {said[start : start + _PIECE] for start in range(max(len(said) - _PIECE + 1, 0))}
    return any(text in said if len(text) < _PIECE else any(piece in text for piece in pieces) for text in _texts(value))


def _texts(value: object) -> Iterator[str]:
    """Yield every text and number in a value that is long enough to be worth hiding."""
    if isinstance(value, str | int | float):
        if len(text := str(value)) >= SHORTEST:
            yield text
    elif isinstance(value, Mapping):
        for member in cast("Mapping[object, object]", value).values():
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            yield from _texts(item)
