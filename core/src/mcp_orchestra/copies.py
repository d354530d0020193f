"""Copies for handing one outcome to several tasks, so that what one of them does to it stays its own affair."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from sys import getsizeof
from types import NoneType
from typing import Any, cast

from mcp_orchestra.errors import MCPOrchestratorException

__all__ = ["Original", "copy_data", "copy_error"]

_PART_BYTES = 200  # what it takes to remember a dict or list that has to be copied
_CONTAINERS = frozenset({dict, list})
_SCALARS = frozenset({str, int, float, bool, NoneType, bytes})


class Original:
    """A copy of some data that nobody else has, for making many more.

    What has to be copied is found once. A copy then makes new dicts and lists, which takes less than half the time of
    decoding JSON, shares texts and the like, and leaves to `copy.deepcopy` only what else can be changed.

    Args:
        data: The data, with values of any kind.
        adopt: Take the data itself instead of a copy: nobody else has it, and it was read from JSON.

    Raises:
        Exception: What a value in it raises that cannot be copied.
    """

    __slots__ = ("_others", "_parts", "data", "size")

    def __init__(self, data: dict[str, Any], *, adopt: bool = False) -> None:
        self.data: dict[str, Any] = data if adopt else dict(data)
        """The original: not to be changed."""
        # What makes a copy, the number of the container that it belongs into, and its place in there.
        self._parts: list[tuple[Callable[[], Any], int, Any]] = []
        self._others: list[tuple[Callable[[], Any], int, Any]] = []
        containers: list[Any] = [self.data]
        seen = {id(data)}
        size = 0
        for number, container in enumerate(containers):  # which grows meanwhile
            size += getsizeof(container) + _PART_BYTES
            for place, value in _items(container):
                kind = type(value)
                if kind in _SCALARS:
                    size += getsizeof(value)
                elif kind in _CONTAINERS and id(value) not in seen:  # a circle would have no end
                    seen.add(id(value))
                    part = cast("Any", value)
                    if not adopt:
                        container[place] = part = part.copy()
                    containers.append(part)
                    self._parts.append((part.copy, number, place))
                else:
                    container[place] = other = copy.deepcopy(value)
                    size += _weight(other)
                    if other is not value:  # else it cannot be changed
                        self._others.append((partial(copy.deepcopy, other), number, place))
        self.size: int = size
        """About how many bytes of memory it takes with what is known about it here."""

    def copy(self) -> dict[str, Any]:
        """Return a copy, for one who may do to it as he likes."""
        made: list[Any] = [self.data.copy()]
        for make, number, place in self._parts:
            made[number][place] = part = make()
            made.append(part)
        for make, number, place in self._others:
            made[number][place] = make()
        return cast("dict[str, Any]", made[0])


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
    try:
        twin = _twin(error)
    except Exception:  # noqa: BLE001  # its class may do anything; what went wrong in the first place must get through
        return error
    return twin if type(twin) is type(error) else error


def _twin(error: BaseException) -> BaseException:
    if isinstance(error, MCPOrchestratorException):
        twin = _bare_copy(error)  # not through __init__: a subclass's need not take what ended up in args
        twin.__dict__["context"] = copy_data(error.context)
    else:
        try:
            twin = copy.copy(error)
        except Exception:  # noqa: BLE001  # an __init__ that takes other arguments may raise anything
            twin = _bare_copy(error)
    if (notes := getattr(error, "__notes__", None)) is not None:
        twin.__notes__ = list(notes)
    twin.__cause__ = error.__cause__
    twin.__context__ = error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


def _items(container: Any) -> Iterable[tuple[Any, object]]:
    return cast("Iterable[Any]", container.items() if type(container) is dict else enumerate(container))


def _weight(value: object) -> int:
    """Return about how many bytes of memory a value takes with all that hangs on it, as far as that can be seen."""
    size = 0
    seen: set[int] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        size += getsizeof(value)
        if isinstance(value, dict):
            todo += cast("dict[object, object]", value).values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo += cast("Iterable[object]", value)
        elif isinstance(attributes := getattr(value, "__dict__", None), dict):
            todo.append(cast("object", attributes))
    return size


def _bare_copy(error: BaseException) -> BaseException:
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
