"""Parses large JSON texts beside the event loop, so that one server's long answer does not hold up all others."""

import asyncio
import json
import re
from typing import Any, Final

from pydantic_core import from_json

__all__ = ["LARGE", "decoded"]

LARGE: Final = 128 * 1024
"""Bytes from which on a text is worth a thread: less is parsed in a few milliseconds."""

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


async def decoded(text: bytes) -> object:
    """Return what a large JSON text says; bytes that are not UTF-8 are replaced, and so are NaN and Infinity by None.

    Raises:
        ValueError: It is not JSON, or nested too deeply for a parser.
    """
    return await asyncio.to_thread(_decode, text)


def _decode(text: bytes) -> object:
    if (b"\\ud" in text or b"\\uD" in text) and _LONE_SURROGATE.search(text):
        value: object = from_json(text)  # which refuses what no text can hold, and json.loads takes
        return value
    try:
        # Parsers are written in C and hold on to the interpreter. Where they call back into Python, others get a turn.
        value = json.loads(
            text.decode(errors="replace"), object_hook=_same, parse_int=_number, parse_constant=lambda _: None
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _same(members: dict[str, Any]) -> dict[str, Any]:
    return members


def _number(digits: str) -> int:
    return int(digits)
