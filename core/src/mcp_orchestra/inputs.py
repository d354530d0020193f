"""Checks what a caller gives, before anything is sent: a wrong call is its caller's error and nobody else's.

Messages name the place and never the value, which may be a secret.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

__all__ = ["checked_key", "checked_names", "checked_object", "checked_seconds", "checked_text", "checked_texts"]

_DEEPEST: Final = 150  # levels; receivers, the SDK among them, refuse JSON of about 200
_SHOWN: Final = 120  # characters of a place
_LONGEST_INTEGER: Final = 10_000  # bits; Python itself neither writes nor reads one of more than 4300 digits


def checked_text(value: object, what: str) -> str:
    """Return a text that can be sent.

    Args:
        value: What the caller gave.
        what: What it is, for the message.

    Raises:
        TypeError: It is not a text.
        ValueError: It holds half of a surrogate pair, which no encoding can carry.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {_kind(value)}")
    return _text(value, (None, what))


def checked_key(value: object) -> str | None:
    """Return what the caller wants the same server for each time; None stays None.

    Raises:
        TypeError: It is not a text.
        ValueError: It is not valid Unicode.
    """
    return None if value is None else checked_text(value, "key")


def checked_names(**values: object) -> None:
    """Check names that need not be given: of a server, a domain, a capability.

    Raises:
        TypeError: One is neither a text nor None.
        ValueError: One is not valid Unicode.
    """
    for what, value in values.items():
        if value is not None:
            checked_text(value, what)


def checked_seconds(value: object, what: str = "timeout") -> float | None:
    """Return a time to wait, in seconds; None stays None.

    Args:
        value: What the caller gave.
        what: What it is, for the message.

    Raises:
        TypeError: It is not a number.
        ValueError: It is a bool, not a number, zero or negative.
    """
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number of seconds or None, not {_kind(value)}")
    if isinstance(value, bool) or not value > 0:
        raise ValueError(f"{what} must be a number of seconds greater than 0, or None for the server's own")
    return float(value)


def checked_object(value: object, what: str = "arguments") -> dict[str, Any] | None:
    """Return a copy that is a JSON object and stays what it is; None stays None.

    Args:
        value: What the caller gave.
        what: What it is, for the message.

    Raises:
        TypeError: It is not a mapping, or something in it has no equivalent in JSON.
        ValueError: Something in it cannot be written as JSON: not a finite number, not valid Unicode, nested in itself.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping, not {_kind(value)}")
    return cast("dict[str, Any]", _Copier().copy(cast("Mapping[object, object]", value), (None, what)))


def checked_texts(value: object, what: str = "arguments") -> dict[str, str] | None:
    """Return a copy of a mapping from texts to texts; None stays None.

    Args:
        value: What the caller gave.
        what: What it is, for the message.

    Raises:
        TypeError: It is not a mapping, or something in it is no text.
        ValueError: A text is not valid Unicode.
    """
    given = checked_object(value, what)
    return None if given is None else {key: checked_text(text, f"{what}.{key}") for key, text in given.items()}


_Place = tuple["_Place | None", str | int]
"""Where a value is: in what, and under which key or index."""


class _Copier:
    """Copies one value; knows which containers it is in."""

    def __init__(self) -> None:
        self._containers: set[int] = set()

    def copy(self, value: object, place: _Place) -> object:
        match value:
            case None | bool():
                return value
            case str():
                return _text(value, place)
            case int():
                if value.bit_length() > _LONGEST_INTEGER:
                    raise ValueError(f"{_shown(place)} is an integer too large for JSON")
                return int(value)
            case float():
                if not math.isfinite(value):
                    raise ValueError(f"{_shown(place)} is not a finite number, which JSON cannot express")
                return float(value)
            case Mapping():
                return self._object(cast("Mapping[object, object]", value), place)
            case list() | tuple():
                return self._array(cast("Sequence[object]", value), place)
            case _:
                raise TypeError(f"{_shown(place)} is of type {_kind(value)}, which has no equivalent in JSON")

    def _object(self, given: Mapping[object, object], place: _Place) -> dict[str, object]:
        self._enter(given, place)
        entries = {_key(key, place): self.copy(item, (place, str(key))) for key, item in given.items()}
        self._containers.discard(id(given))
        return entries

    def _array(self, given: Sequence[object], place: _Place) -> list[object]:
        self._enter(given, place)
        elements = [self.copy(item, (place, index)) for index, item in enumerate(given)]
        self._containers.discard(id(given))
        return elements

    def _enter(self, container: object, place: _Place) -> None:
        if id(container) in self._containers:
            raise ValueError(f"{_shown(place)} contains itself, which JSON cannot express")
        if len(self._containers) >= _DEEPEST:
            raise ValueError(f"{_shown(place)} is nested more than {_DEEPEST} levels deep")
        self._containers.add(id(container))


def _key(key: object, place: _Place) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the keys of {_shown(place)} must be of type str, not {_kind(key)}")
    return _text(key, (place, key))


def _text(text: str, place: _Place) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{_shown(place)} is not valid Unicode: a lone surrogate at position {error.start}") from None
    return str.__str__(text)


def _shown(place: _Place) -> str:
    steps: list[str] = []
    at: _Place | None = place
    while at is not None:
        at, step = at
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(reversed(steps)).removeprefix(".")
    path = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
    return "".join(character if character.isprintable() else "?" for character in path)


def _kind(value: object) -> str:
    return type(value).__name__
