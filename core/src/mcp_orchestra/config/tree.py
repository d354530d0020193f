"""The tree between a file and the models: plain values that remember where they were written."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

__all__ = [
    "LINE_BREAK",
    "LONGEST_NUMBER",
    "MAX_DEPTH",
    "MAX_NODES",
    "Mark",
    "Node",
    "Path",
    "Scalar",
    "find",
    "has_resolved",
    "kind_of",
    "mark_at",
    "plain",
    "relocated",
    "show_key",
    "show_path",
]

MAX_NODES = 20_000
"""Values in a document, with everything that its aliases stand for."""
MAX_DEPTH = 50
"""Mappings and lists inside each other."""
LONGEST_NUMBER = 100
"""Characters of a number."""
LINE_BREAK = re.compile("\r\n?|\n")

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document down to a value."""

Scalar = str | int | float | bool | date | None

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Mark(NamedTuple):
    """A place in a text; both count from 1."""

    line: int
    column: int


def mark_at(text: str, offset: int) -> Mark:
    """Return the place of the character at an offset."""
    lines = LINE_BREAK.split(text[:offset])
    return Mark(len(lines), len(lines[-1]) + 1)


@dataclass(slots=True)
class Node:
    """A value and where it comes from.

    A node keeps its own path when it is moved to another place of the tree, so that an error always names what the
    user wrote.
    """

    value: "Scalar | dict[str, Node] | list[Node]"
    path: Path
    """Where the value stands in the file."""
    mark: Mark | None = None
    """Where its key starts, or the value itself in a list; None for a configuration made in Python."""
    written: str = ""
    """A YAML boolean as it was written: ``no``, ``on``, …"""
    placeholder: bool = False
    """The text was wholly one ``${…}``: it may still become a number or a boolean."""
    resolved: bool = False
    """Something was put in for a ``${…}``: the text may be a secret."""

    def __str__(self) -> str:
        """Say where it was written."""
        return f"{show_path(self.path)} (line {self.mark.line})" if self.mark else show_path(self.path)


def plain(node: Node) -> Any:
    """Return the value without its places, as new lists and dictionaries."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def has_resolved(node: Node) -> bool:
    """Say whether anything in a subtree was put in for a ``${…}``."""
    value = node.value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return node.resolved or any(map(has_resolved, children))


def find(root: Node, path: Path) -> tuple[Node, Path]:
    """Return the deepest node on the way along the path, and what is left of the path."""
    node = root
    for depth, step in enumerate(path):
        child = _child(node, step)
        if child is None:
            return node, path[depth:]
        node = child
    return node, ()


def _child(node: Node, step: str | int) -> Node | None:
    value = node.value
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def relocated(node: Node, path: Path, mark: Mark | None, visit: Callable[[], None]) -> Node:
    """Copy a subtree to another path.

    Args:
        node: Its top.
        path: Where the copy stands.
        mark: Likewise; what is below keeps its own.
        visit: Called for each node before it is copied; raises to stop.
    """
    visit()
    value = node.value
    if isinstance(value, dict):
        value = {key: relocated(child, (*path, key), child.mark, visit) for key, child in value.items()}
    elif isinstance(value, list):
        value = [relocated(child, (*path, at), child.mark, visit) for at, child in enumerate(value)]
    return Node(value, path, mark, node.written, node.placeholder)


def kind_of(value: object) -> str:
    """Say what kind of value this is, without saying the value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case str():
            return "text"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case date():
            return "a date"
        case _:
            return "another kind of value"


def show_key(key: str, longest: int = 80) -> str:
    """Return a key for a message: quoted where needed, shortened, without control characters."""
    if len(key) > longest:
        key = f"{key[: longest - 1]}…"
    if _PLAIN_KEY.fullmatch(key):
        return key
    return json.dumps(key, ensure_ascii=not key.isprintable())


def show_path(path: Path) -> str:
    """Return a path as people write it: ``mcp_servers.products.args[2]``, ``mcp_servers["a.b"].url``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif (key := show_key(step)).startswith('"'):
            text += f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text
