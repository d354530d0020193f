"""Strict JSON out of whatever the library returns."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

__all__ = ["dumps"]


def dumps(value: object, *, ascii_only: bool = False) -> str:
    """Return the value as a JSON document that every parser takes.

    Numbers that JSON does not have (NaN, infinities) become null; records become objects.

    Args:
        value: Anything made of mappings, sequences, records and plain values.
        ascii_only: Escape everything else, for a stream that could not write it.
    """
    return json.dumps(_strict(value), ensure_ascii=ascii_only, indent=2, allow_nan=False)


def _strict(value: object) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _strict(member) for key, member in cast("Mapping[object, object]", value).items()}
        case list() | tuple() | set() | frozenset():
            return [_strict(item) for item in cast("Iterable[object]", value)]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _strict(getattr(value, field.name)) for field in fields(value)}
        case _:
            return str(value)
