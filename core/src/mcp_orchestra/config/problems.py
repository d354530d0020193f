"""Collects what is wrong with a configuration, to report all of it at once as one error."""

import pathlib
from dataclasses import dataclass
from typing import NoReturn

from mcp_orchestra.config.tree import Mark, Node, Path, find, show_path
from mcp_orchestra.errors import ConfigurationError

__all__ = ["Problem", "Problems"]

_MOST = 20  # more than that is one mistake seen many times


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what was expected. The message never quotes a value."""

    path: Path
    mark: Mark | None
    message: str

    def __str__(self) -> str:
        """Return place and message in one line."""
        place = [f"line {self.mark.line}, column {self.mark.column}"] if self.mark else []
        if self.path:
            place.append(show_path(self.path))
        return ": ".join([", ".join(place), self.message] if place else [self.message])


class Problems:
    """What is wrong so far.

    Args:
        file: The file that is read; None for a configuration made in Python.
        kind: What it is, for the beginning of a message.
    """

    def __init__(self, file: pathlib.Path | None = None, *, kind: str = "Configuration file") -> None:
        self.file = file
        self._kind = kind
        self.root: Node | None = None
        """The tree in the document's shape, by which ``add`` finds what the user wrote."""
        self._found: list[Problem] = []

    @property
    def full(self) -> bool:
        """Whether further problems are dropped; then it is not worth looking for them."""
        return len(self._found) >= _MOST

    def at(self, mark: Mark | None, path: Path, message: str) -> None:
        """Note a problem at a place of the file. Only the first one of a value counts: others follow from it."""
        if path and any(problem.path == path for problem in self._found):
            return
        if not self.full:
            self._found.append(Problem(path, mark, message))

    def repeated(self, node: Node, first: Node) -> None:
        """Note that the key of a value is already there."""
        if first.mark:
            place = f"line {first.mark.line}, column {first.mark.column}"
            self.at(node.mark, node.path, f"this key is already there in {place}")

    def add(self, path: Path, message: str) -> None:
        """Note a problem at a path of the document's shape; it is reported where the user wrote that value."""
        if self.root is None:
            self.at(None, path, message)
        else:
            node, rest = find(self.root, path)
            self.at(node.mark, node.path + rest, message)

    def place(self, path: Path) -> str:
        """Return where the value at a path of the document's shape was written, for a message about another one."""
        if self.root is None:
            return show_path(path)
        node, rest = find(self.root, path)
        where = f" (line {node.mark.line}, column {node.mark.column})" if node.mark else ""
        return f"{show_path(node.path + rest)}{where}"

    def fatal(self, mark: Mark | None, path: Path, message: str) -> NoReturn:
        """Note a problem after which nothing more can be read, and raise them all."""
        self._found = self._found[: _MOST - 1]
        self._found.append(Problem(path, mark, message))
        raise self._error()

    def raise_if_any(self) -> None:
        """Raise one ``ConfigurationError`` for everything noted so far, if there is anything."""
        if self._found:
            raise self._error()

    def _error(self) -> ConfigurationError:
        found = sorted(self._found, key=lambda problem: problem.mark or Mark(0, 0))
        subject = f"{self._kind} {self.file}" if self.file else "The configuration"
        if len(found) == 1:
            only = found[0]
            message = f"{subject}{', ' if only.mark else ': '}{only}"
        else:
            count = f"{_MOST} or more" if self.full else len(found)
            message = "\n  ".join([f"{subject} has {count} problems:", *map(str, found)])
        return ConfigurationError(
            message,
            {
                "path": str(self.file) if self.file else None,
                "errors": [
                    {
                        "path": show_path(problem.path),
                        "line": problem.mark.line if problem.mark else None,
                        "column": problem.mark.column if problem.mark else None,
                        "message": problem.message,
                    }
                    for problem in found
                ],
            },
        )
