"""Tables: drawn on a terminal, plain columns without a single escape sequence anywhere else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Cell", "Table", "printable"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_KEPT = "\n\t"
_EMPTY = "-"


def printable(text: str, kept: str = _KEPT) -> str:
    """Return the text with control characters spelt out: a server must not steer the reader's terminal.

    Args:
        text: What a server said.
        kept: Control characters that stay.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in kept else ascii(found[0])[1:-1], text)


@dataclass(frozen=True)
class Cell:
    """A text with a colour for terminals that have one."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, still without a form."""

    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list[list[Cell]])
    title: str = ""

    def add(self, *cells: object) -> None:
        """Add a row: texts, `Cell`s, numbers, lists of texts, and None for what is not known."""
        self.rows.append([_cell(cell) for cell in cells])

    def plain(self) -> str:
        """Return aligned columns, each row in one line however long."""
        lines = [[column.upper() for column in self.columns], *([cell.text for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([f"{self.title}:", *body] if self.title else body)

    def rich(self) -> "RichTable":
        """Return the table for a rich console."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            box=box.ROUNDED, header_style="bold", title=self.title or None, title_justify="left", title_style="bold"
        )
        for column in self.columns:
            table.add_column(column, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
        return table


def _cell(value: object) -> Cell:
    match value:
        case Cell():
            return Cell(_one_line(value.text), value.style)
        case None | "":
            return Cell(_EMPTY)
        case str():
            return Cell(_one_line(value))
        case float():
            return Cell(f"{value:.3f}")
        case list() | tuple():
            return Cell(", ".join(_one_line(str(item)) for item in cast("Sequence[object]", value)) or _EMPTY)
        case _:
            return Cell(str(value))


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()), "") or _EMPTY
