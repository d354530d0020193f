"""Pieces of YAML with comments, which no YAML library writes."""

import textwrap
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

__all__ = ["comment", "disabled", "entry", "indented", "value"]

_WIDTH = 110


def value(data: object) -> str:
    """Return plain data as YAML in one line, quoted where YAML would misread it."""
    import yaml

    text = yaml.dump(
        data, Dumper=_one_line_dumper(), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**9
    )
    return text.removesuffix("...\n").strip()


def entry(key: str, data: object) -> str:
    """Return one ``key: value`` line."""
    return f"{value(key)}: {value(data)}"


def comment(text: str) -> list[str]:
    """Return a text as comment lines."""
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def disabled(lines: Iterable[str]) -> list[str]:
    """Return lines of YAML commented out."""
    return [f"# {line}".rstrip() for line in lines]


def indented(lines: Iterable[str], levels: int = 1) -> list[str]:
    """Return lines moved to the right."""
    return [f"{'  ' * levels}{line}".rstrip() for line in lines]


@cache
def _one_line_dumper() -> "type[yaml.SafeDumper]":
    import yaml

    class OneLine(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # an anchor would only puzzle the reader
            return True

    def text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
        # Any other style would break the line where the text does.
        node = dumper.represent_str(data)
        if not data.isprintable():
            node.style = '"'
        return node

    OneLine.add_representer(str, text)
    return OneLine
