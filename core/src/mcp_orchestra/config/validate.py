"""Checks values with a pydantic model, and reports what it says at the place where the user wrote the value."""

from collections.abc import Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mcp_orchestra.config.explain import explain
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.secret_values import may_be_secret
from mcp_orchestra.config.tree import Path, find, has_resolved
from mcp_orchestra.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["field_names", "validate"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_TRUE = {"true", "yes", "on"}
_FALSE = {"false", "no", "off"}


def validate(
    model: type[ModelT], values: dict[str, Any], where: Path, problems: Problems, *, report_missing: bool = True
) -> ModelT | None:
    """Return the values as a model, or None after noting what is wrong with them.

    Args:
        model: Core's own or a plug-in's.
        values: Plain values, which are the caller's to lose: text put in for a ``${…}`` is turned in place into the
            number or boolean that its field wants.
        where: Their path in the document's shape.
        problems: Receives what is wrong.
        report_missing: Whether to mention required fields that are not there.
    """
    errors: list[ErrorDetails] = []
    for _ in range(2):
        try:
            return model.model_validate(values)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plug-in's validator may raise anything, or exit
            problems.add(where, f"the plug-in could not check this ({type(error).__name__}); tell its author")
            return None
        if not _convert(errors, values, where, problems):
            break
    if not report_missing:
        errors = [error for error in errors if error["type"] != "missing"]
    _report(model, errors, values, where, problems)
    return None


def field_names(model: type[BaseModel]) -> list[str]:
    """Return the names under which a model takes its fields."""
    by_name = bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))
    names: dict[str, None] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        aliases = (
            [alias] if isinstance(alias, str) else [c for c in getattr(alias, "choices", ()) if isinstance(c, str)]
        )
        names.update(dict.fromkeys(aliases))
        if not aliases or by_name:
            names[name] = None
    return list(names)


def _convert(errors: Sequence["ErrorDetails"], values: dict[str, Any], where: Path, problems: Problems) -> bool:
    """Turn texts that were put in for a placeholder into what their fields want; say whether any was turned."""
    converted = False
    for error in errors:
        path, text = _locate(values, error)
        if not path or not isinstance(text, str) or not _is_placeholder(problems, where + path):
            continue
        if (value := _as(error["type"], text)) is not None:
            holder: Any = values
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
            converted = True
    return converted


def _as(wanted: str, text: str) -> float | bool | None:
    try:
        match wanted:
            case "int_type":
                return int(text)
            case "float_type":
                return float(text)
            case "bool_type" if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            case _:
                return None
    except ValueError:
        return None


def _is_placeholder(problems: Problems, path: Path) -> bool:
    if problems.root is None:
        return False
    node, rest = find(problems.root, path)
    return node.placeholder and not rest


def _report(
    model: type[BaseModel], errors: Sequence["ErrorDetails"], values: dict[str, Any], where: Path, problems: Problems
) -> None:
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        by_path.setdefault(_locate(values, error)[0], []).append(error)
    for path, same in by_path.items():
        if problems.full:
            break
        problems.add(where + path, _message(model, same, values, where, path, problems))


def _message(
    model: type[BaseModel],
    errors: Sequence["ErrorDetails"],
    values: dict[str, Any],
    where: Path,
    path: Path,
    problems: Problems,
) -> str:
    match errors[0]["type"]:
        case "missing":
            return "this field is missing"
        case "extra_forbidden":
            known = _known(model, path)
            listing = f"; known are {', '.join(known)}" if known else ""
            return "unknown field" + (did_you_mean(str(path[-1]), known) or listing)
        case _:
            value = _locate(values, errors[0])[1]
            secret = may_be_secret(path, value)
            if problems.root is None:
                return explain(errors, value, secret=secret)
            node, rest = find(problems.root, where + path)
            secret = secret or has_resolved(node)
            written, placeholder = ("", False) if rest else (node.written, node.placeholder)
            return explain(errors, value, written=written, placeholder=placeholder, secret=secret)


def _locate(values: dict[str, Any], error: "ErrorDetails") -> tuple[Path, object]:
    """Return the path of a faulty value and the value, without the steps that only pydantic knows (union members)."""
    path: list[str | int] = []
    value: object = values
    for step in error["loc"]:
        if isinstance(value, str):
            continue
        try:
            value = cast("Any", value)[step]
        except (KeyError, IndexError, TypeError):  # a step that only pydantic knows
            continue
        path.append(step)
    if error["type"] == "missing" and error["loc"]:
        path.append(error["loc"][-1])
        value = None
    return tuple(path), value


def _known(model: type[BaseModel], path: Path) -> list[str]:
    """Return the fields that are known where an unknown one stands, as far as the model's types tell."""
    known: list[Any] = [model]
    for step in path[:-1]:
        fields = [owner.model_fields.get(str(step)) for owner in known if _is_model(owner)]
        if fields:
            known = [one for field in fields if field is not None for one in _members(field.annotation)]
        else:  # the values of a dictionary or the items of a list
            known = [one for holder in known for one in _members(next(iter(get_args(holder)[::-1]), None))]
    return list(dict.fromkeys(name for owner in known if _is_model(owner) for name in field_names(owner)))


def _members(annotation: Any) -> list[Any]:
    """Return what a type may be: itself, or each type of a union."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for member in get_args(annotation) for one in _members(member)]
    return [annotation]


def _is_model(known: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(known, type) and issubclass(known, BaseModel)
