"""Composes JSON, with the comments and trailing commas that VS Code allows, into a tree."""

import json
import re
from bisect import bisect_right
from contextlib import suppress
from typing import NoReturn

from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import LINE_BREAK, LONGEST_NUMBER, MAX_DEPTH, MAX_NODES, Mark, Node, Path, Scalar

__all__ = ["parse_json"]

_SPACE = re.compile(r"(?:[ \t\r\n]++|//[^\r\n]*+|/\*.*?\*/)*+", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERALS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


def parse_json(text: str, problems: Problems) -> Node | None:
    """Return the tree of a JSON text; None for one that is empty but for comments.

    Args:
        text: The document.
        problems: Receives repeated keys, after which reading goes on.

    Raises:
        ConfigurationError: The text is no JSON, or holds more than 20 000 values or 50 levels.
    """
    return _Reader(text, problems).document()


class _Reader:
    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._lines = [0, *(found.end() for found in LINE_BREAK.finditer(text))]
        self._at = 0
        self._nodes = 0

    def document(self) -> Node | None:
        self._skip()
        if self._at == len(self._text):
            return None
        root = self._value((), None)
        self._skip()
        if self._at < len(self._text):
            self._stop((), "more text after the end of the document")
        return root

    def _value(self, path: Path, mark: Mark | None) -> Node:
        """Compose the value that starts here; ``mark`` is that of its key."""
        mark = mark or self._mark(self._at)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(path, f"more than {MAX_NODES} values")
        first = self._text[self._at : self._at + 1]
        if first in {"{", "["}:
            if len(path) >= MAX_DEPTH:
                self._stop(path[:5], f"nested deeper than {MAX_DEPTH} levels")
            return Node(self._object(path) if first == "{" else self._array(path), path, mark)
        return Node(self._string(path) if first == '"' else self._bare(path), path, mark)

    def _object(self, path: Path) -> dict[str, Node]:
        start = self._at
        self._at += 1
        members: dict[str, Node] = {}
        while not self._closed("}", start, path):
            mark = self._mark(self._at)
            if not self._text.startswith('"', self._at):
                self._stop(path, 'expected a key in "double quotes"')
            key = self._string(path)
            self._skip()
            if not self._text.startswith(":", self._at):
                self._stop((*path, key), 'expected ":" after the key')
            self._at += 1
            self._skip()
            node = self._value((*path, key), mark)
            if (first := members.setdefault(key, node)) is not node:
                self._problems.repeated(node, first)
            self._separate("}", start, path)
        return members

    def _array(self, path: Path) -> list[Node]:
        start = self._at
        self._at += 1
        items: list[Node] = []
        while not self._closed("]", start, path):
            items.append(self._value((*path, len(items)), None))
            self._separate("]", start, path)
        return items

    def _closed(self, bracket: str, start: int, path: Path) -> bool:
        self._skip()
        if self._at == len(self._text):
            self._stop(path, f'no "{bracket}" closes what starts here', start)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _separate(self, bracket: str, start: int, path: Path) -> None:
        self._skip()
        if self._text.startswith(",", self._at):
            self._at += 1
        elif self._at == len(self._text):
            self._stop(path, f'no "{bracket}" closes what starts here', start)
        elif self._text[self._at] != bracket:
            self._stop(path, f'expected "," or "{bracket}"')

    def _string(self, path: Path) -> str:
        found = _STRING.match(self._text, self._at)
        if found is None:
            self._stop(path, "this text has no closing quote in its line, or holds a control character")
        value: str | None = None
        with suppress(ValueError):
            value = json.loads(found[0])
        if value is None or any("\ud800" <= character <= "\udfff" for character in value):
            self._stop(path, "unknown escape in this text; double the backslash")
        self._at = found.end()
        return value

    def _bare(self, path: Path) -> Scalar:
        if (word := _WORD.match(self._text, self._at)) and word[0] in _LITERALS:
            self._at = word.end()
            return _LITERALS[word[0]]
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            self._stop(path, 'expected a value: a text in "double quotes", a number, true, false, null, [ or {')
        if number.end() - self._at > LONGEST_NUMBER:
            self._stop(path, "this number is too long; if it is text, write it in quotes")
        self._at = number.end()
        return float(number[0]) if number[1] or number[2] else int(number[0])

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        if self._text.startswith("/*", self._at):
            self._stop((), 'no "*/" closes this comment')

    def _mark(self, offset: int) -> Mark:
        line = bisect_right(self._lines, offset)
        return Mark(line, offset - self._lines[line - 1] + 1)

    def _stop(self, path: Path, message: str, offset: int | None = None) -> NoReturn:
        self._problems.fatal(self._mark(self._at if offset is None else offset), path, message)
