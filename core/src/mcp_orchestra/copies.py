"""Copies for handing one outcome to several tasks, so that what one of them does to it stays its own affair."""

import copy
from typing import Any, cast

from mcp_orchestra.errors import MCPOrchestratorException

__all__ = ["copy_data", "copy_error", "copy_json"]

_CONTAINERS = frozenset({dict, list})


def copy_json(data: dict[str, Any]) -> dict[str, Any]:
    """Return decoded JSON with containers of its own; several times faster than decoding it again."""
    return cast("dict[str, Any]", _copy_containers(data))


def copy_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of data of any kind; if something in it cannot be copied, only the outermost dict is new."""
    try:
        return copy.deepcopy(data)
    except Exception:  # noqa: BLE001  # a value's own __deepcopy__ may raise anything
        return dict(data)


def copy_error(error: BaseException) -> BaseException:
    """Return an exception equal to ``error`` that can be raised elsewhere; if it cannot be copied, itself.

    Raising one instance in several tasks would mix up their tracebacks and contexts. The copy starts with the
    original's traceback and cause.
    """
    if isinstance(error, MCPOrchestratorException):
        twin = _bare_copy(error)  # not through __init__: a subclass's need not take what ended up in args
        twin.__dict__["context"] = copy_data(error.context)
    else:
        try:
            twin = copy.copy(error)
        except Exception:  # noqa: BLE001  # an __init__ that takes other arguments may raise anything
            twin = _bare_copy(error)
        if type(twin) is not type(error):
            return error
    if (notes := getattr(error, "__notes__", None)) is not None:
        twin.__notes__ = list(notes)
    twin.__cause__ = error.__cause__
    twin.__context__ = error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


def _copy_containers(value: Any) -> Any:
    if type(value) is dict:
        items = cast("dict[str, Any]", value).items()
        return {key: _copy_containers(item) if type(item) in _CONTAINERS else item for key, item in items}
    return [_copy_containers(item) if type(item) in _CONTAINERS else item for item in cast("list[Any]", value)]


def _bare_copy(error: BaseException) -> BaseException:
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
