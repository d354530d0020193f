"""Replaces ``${…}`` in values by environment variables and the contents of files.

===================  ==========================================================================================
``${NAME}``          the environment variable; unset without a default is an error
``${NAME:-text}``    the same, or ``text`` if it is unset or empty
``${env:NAME}``      the same as ``${NAME}``, as editors write it; takes a default too
``${file:/path}``    a file's text without one final line break; a relative path starts at the configuration's folder
``$${``              a literal ``${``; in front of a ``{``, every ``$$`` stands for one ``$``
===================  ==========================================================================================

What was put in is not searched again, and keys are never touched. Inside YAML's ``{…}`` and ``[…]`` a placeholder
needs quotes, because its braces have a meaning there. A value that is wholly one placeholder is a text,
but becomes a number or a boolean where the field wants one (``timeout: ${TIMEOUT}``).
"""

import pathlib
import re
from collections.abc import Callable, Mapping

from mcp_orchestra.config.files import FileProblemError, read_text
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Node, show_key

__all__ = ["Expander"]

_PLACEHOLDER = re.compile(r"(?<!\$)(\$++)\{(?:([^{}]*)\})?")
_VARIABLE = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_EDITOR = re.compile(
    r"(?:config|command):.*|workspaceFolder.*|workspaceRoot.*|userHome|pathSeparator|/|__dirname", re.DOTALL
)
_LAST_BREAK = re.compile(r"(?:\r\n?|\n)\Z")
_EXPECTED = "expected ${NAME}, ${NAME:-default}, ${env:NAME} or ${file:/path}; write $${ for a literal ${"
_MAX_FILE_BYTES = 64 * 1024
_MAX_CHARACTERS = 4_000_000  # a small file of many placeholders could stand for gigabytes


class _UnresolvedError(Exception):
    """A placeholder stands for nothing; the message says why, and never a value."""


class Expander:
    """Expands the values of one configuration.

    Args:
        environ: The environment variables.
        folder: Where relative paths of files start.
        problems: Receives what cannot be resolved; such a value stays as it was written.
    """

    def __init__(self, environ: Mapping[str, str], folder: pathlib.Path, problems: Problems) -> None:
        self._environ = environ
        self._folder = folder
        self._problems = problems
        self._files: dict[str, str | _UnresolvedError] = {}
        self._characters = 0
        self.resolved: set[str] = set()
        """What was put in for placeholders of values that may be secret."""

    def expand(self, node: Node, is_public: Callable[[Node], bool]) -> None:
        """Expand a subtree in place.

        Args:
            node: Its top.
            is_public: Tells values that everybody sees anyhow, such as a display name: they are no secrets.
        """
        value = node.value
        if isinstance(value, dict):
            for child in value.values():
                self.expand(child, is_public)
        elif isinstance(value, list):
            for child in value:
                self.expand(child, is_public)
        elif isinstance(value, str) and "${" in value:
            self._expand_text(node, value, is_public(node))

    def _expand_text(self, node: Node, text: str, public: bool) -> None:
        inserted: list[str] = []

        def replace(found: re.Match[str]) -> str:
            dollars, body = found.groups()
            literal = "$" * (len(dollars) // 2)
            if len(dollars) % 2 == 0:
                return literal + found[0][len(dollars) :]
            inserted.append(value := self._resolve(body))
            self._characters += len(value)
            if self._characters > _MAX_CHARACTERS:
                self._problems.fatal(node.mark, node.path, f"more than {_MAX_CHARACTERS} characters put in for ${{…}}")
            return literal + value

        try:
            expanded = _PLACEHOLDER.sub(replace, text)
        except _UnresolvedError as problem:
            self._problems.at(node.mark, node.path, str(problem))
            return
        node.value = expanded
        node.placeholder = inserted == [expanded]
        node.resolved = any(inserted)
        if not public:
            self.resolved.update(value for value in inserted if value)

    def _resolve(self, body: str | None) -> str:
        if body is None:
            raise _UnresolvedError(f"a ${{ without its }}, or one inside another; {_EXPECTED}")
        if found := _VARIABLE.fullmatch(body):
            return self._variable(found[1], found[2])
        kind, _, rest = body.partition(":")
        if kind == "file" and rest:
            return self._file(rest)
        if kind == "input":
            raise _UnresolvedError("${input:…} asks a person, which only an editor can do; use a variable: ${NAME}")
        if _EDITOR.fullmatch(body):
            raise _UnresolvedError("only an editor knows this placeholder; write its value, or use ${NAME}")
        raise _UnresolvedError(f"this ${{…}} is not a placeholder; {_EXPECTED}")

    def _variable(self, name: str, default: str | None) -> str:
        value = self._environ.get(name)
        if value is None and default is None:
            if _EDITOR.fullmatch(name):
                raise _UnresolvedError(f"only an editor knows {name}; write its value, or set a variable of that name")
            name = show_key(name)
            raise _UnresolvedError(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        value = (value or default or "") if default is not None else value or ""
        if any("\ud800" <= character <= "\udfff" for character in value):  # how Python passes bytes on that are no text
            raise _UnresolvedError(f"the environment variable {show_key(name)} is not UTF-8")
        return value

    def _file(self, name: str) -> str:
        if name not in self._files:
            shown = show_key(name, longest=300)
            try:
                text = read_text(self._folder / name, _MAX_FILE_BYTES)
                self._files[name] = _LAST_BREAK.sub("", text)
            except FileProblemError as error:
                self._files[name] = _UnresolvedError(f"the file {shown} {error.reason}")
        if isinstance(content := self._files[name], _UnresolvedError):
            raise _UnresolvedError(*content.args)
        return content
