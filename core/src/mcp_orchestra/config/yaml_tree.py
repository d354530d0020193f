"""Composes YAML into a tree, refusing everything that a configuration has no use for.

PyYAML only reads characters and resolves single scalars here: its composer and constructor follow aliases without a
bound, let a repeated key win silently and raise what is no ``YAMLError``.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, StreamEndEvent
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import (
    LONGEST_NUMBER,
    MAX_DEPTH,
    MAX_NODES,
    Mark,
    Node,
    Path,
    Scalar,
    kind_of,
    mark_at,
    relocated,
    show_key,
)
from mcp_orchestra.config.yaml_messages import syntax_problem

__all__ = ["parse_yaml"]

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = {f"{_PREFIX}{name}" for name in ("int", "float", "bool", "null", "timestamp")}
_NUMBERS = {f"{_PREFIX}int", f"{_PREFIX}float"}
_TEXTS = {f"{_PREFIX}{name}" for name in ("str", "merge", "value")}  # "<<" and "=" mean nothing as a value
# What YAML 1.1 makes of these is not what it looks like: 010 is 8, and 1:30 is 90.
_TREACHEROUS = re.compile(r"[+-]?0[0-9_]+|.*:.*")
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads 1 MB in a tenth of a second


def parse_yaml(text: str, problems: Problems) -> Node | None:
    """Return the tree of a YAML document; None for a text without one.

    Args:
        text: The document.
        problems: Receives repeated keys, after which reading goes on.

    Raises:
        ConfigurationError: The text is no YAML, or uses what a configuration may not: several documents, tags, merge
            keys, self-references, more than 20 000 values or 50 levels.
    """
    if bad := _CONTROL.search(text):
        advice = "control characters are not allowed; remove them or save the file as UTF-8"
        problems.fatal(mark_at(text, bad.start()), (), advice)
    return _Composer(text, problems).document()


class _Composer:
    def __init__(self, text: str, problems: Problems) -> None:
        self._problems = problems
        self._reader: Any = _LOADER(text)
        self._constructor: Any = SafeConstructor()
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        try:
            self._next()  # the start of the stream
            if isinstance(self._next(), StreamEndEvent):
                return None
            root = self._node(self._next(), (), None)
            self._next()  # the end of the document
            if not isinstance(more := self._next(), StreamEndEvent):
                self._problems.fatal(_mark(more), (), "a second YAML document starts here; expected one document")
            return root
        finally:
            self._reader.dispose()

    def _next(self) -> Any:
        event, problem = None, None
        try:
            event = self._reader.get_event()
        except yaml.YAMLError as error:
            problem = syntax_problem(error)
        if problem is not None:  # not raised above, or the reader's error would be its context
            self._problems.fatal(problem[0], (), problem[1])
        return event

    def _node(self, event: Any, path: Path, mark: Mark | None) -> Node:
        """Compose the value that starts with this event; ``mark`` is that of its key."""
        mark = mark or _mark(event)
        self._count(mark, path)
        if isinstance(event, AliasEvent):
            return self._alias(event, path, mark)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, ScalarEvent):
            value, written = self._scalar(event, path)
            node = Node(value, path, mark, written)
        else:
            self._check_collection(event, path)
            mapping = isinstance(event, MappingStartEvent)
            node = Node(self._mapping(path) if mapping else self._sequence(path), path, mark)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: Any, path: Path, mark: Mark) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            known = event.anchor in self._anchors
            self._problems.fatal(
                _mark(event),
                path,
                "this alias stands for a value that it is itself part of"
                if known
                else "no such anchor before this alias",
            )
        return relocated(target, path, mark, lambda: self._count(mark, path))

    def _sequence(self, path: Path) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), None))
        return items

    def _mapping(self, path: Path) -> dict[str, Node]:
        members: dict[str, Node] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            mark = _mark(event)
            key = self._key(event, path)
            node = self._node(self._next(), (*path, key), mark)
            if (first := members.setdefault(key, node)) is not node:
                self._problems.repeated(node, first)
        return members

    def _key(self, event: Any, path: Path) -> str:
        mark = _mark(event)
        if not isinstance(event, ScalarEvent):
            self._problems.fatal(mark, path, "expected text as the key, got an alias, a list or a mapping")
        if event.implicit[0] and event.value == "<<":
            self._problems.fatal(mark, path, "merge keys (<<) are not supported; write the fields out")
        value, _ = self._scalar(event, path)
        if not isinstance(value, str):
            shown = show_key(event.value).strip('"')
            advice = f'write "{shown}" in quotes' if shown else 'an empty key is written ""'
            self._problems.fatal(mark, path, f"expected text as the key, got {kind_of(value)}; {advice}")
        return value

    def _scalar(self, event: Any, path: Path) -> tuple[Scalar, str]:
        """Return a scalar's value, and how it was written if it is a boolean."""
        text: str = event.value
        tag: str | None = event.tag
        if tag is None or tag == "!":
            tag = _plain_tag(text) if event.implicit[0] else None
            if tag is None:
                return text, ""
        if tag in _TEXTS:
            return text, ""
        if tag not in _SCALARS:
            self._refuse_tag(event, path)
        if len(text) > LONGEST_NUMBER:
            self._problems.fatal(_mark(event), path, "this number is too long; if it is text, write it in quotes")
        if tag in _NUMBERS and _TREACHEROUS.fullmatch(text):
            self._problems.fatal(
                _mark(event),
                path,
                "YAML takes a number that starts with 0 for octal, and one with colons for base 60; "
                "write a plain number, or text in quotes",
            )
        value: Any = None
        failed = False
        try:
            value = self._constructor.construct_object(ScalarNode(tag, text))
        except Exception:  # noqa: BLE001 - depends on the tag: ValueError, IndexError, AttributeError, …
            failed = True
        if failed:
            self._problems.fatal(
                _mark(event),
                path,
                "YAML takes this for a number or date, but it is none; if it is text, write it in quotes",
            )
        return value, text if isinstance(value, bool) else ""

    def _check_collection(self, event: Any, path: Path) -> None:
        if len(path) >= MAX_DEPTH:
            self._problems.fatal(_mark(event), path[:5], f"nested deeper than {MAX_DEPTH} levels")
        if event.tag not in (None, "!", f"{_PREFIX}map", f"{_PREFIX}seq"):
            self._refuse_tag(event, path)

    def _refuse_tag(self, event: Any, path: Path) -> NoReturn:
        python = event.tag is not None and event.tag.startswith(f"{_PREFIX}python/")
        what = "Python tags (!!python/…) are" if python else "this YAML tag (!…) is"
        self._problems.fatal(_mark(event), path, f"{what} not allowed; write a plain value")

    def _count(self, mark: Mark, path: Path) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._problems.fatal(mark, path, f"more than {MAX_NODES} values, counting what aliases stand for")


def _plain_tag(text: str) -> str | None:
    """Return which other type YAML 1.1 takes a text without quotes for."""
    tag: str
    for tag, pattern in Resolver.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return tag
    return None


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
