"""Where a command writes: answers to standard output, everything else to standard error."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from mcp_orchestra_cli.jsons import dumps
from mcp_orchestra_cli.tables import Table, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen"]


class Screen:
    """Standard output for a person at a terminal, for a pipe, or for a program.

    Args:
        as_json: A program reads: standard output gets nothing but one JSON document.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._stdout = sys.stdout
        self._stderr = sys.stderr
        self._live: Console | None = None
        for stream in (sys.stdout, sys.stderr):
            # What the terminal's encoding lacks must not end a command. In JSON it is a valid escape, too.
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="backslashreplace")

    @property
    def on_terminal(self) -> bool:
        """Whether a person looks at standard output."""
        return not self.as_json and self._stdout.isatty()

    def line(self, text: str = "") -> None:
        """Write a line for people; to a program nothing is written."""
        if not self.as_json:
            self._stdout.write(f"{printable(text)}\n")
            self._stdout.flush()

    def text(self, text: str) -> None:
        """Write exactly this text."""
        self._stdout.write(text)

    def data(self, data: bytes) -> None:
        """Write exactly these bytes."""
        self._stdout.flush()
        self._stdout.buffer.write(data)

    def document(self, value: object) -> None:
        """Write the one JSON document that is the answer."""
        encoding = (self._stdout.encoding or "").lower().replace("-", "")
        self._stdout.write(dumps(value, ascii_only=encoding != "utf8") + "\n")

    def table(self, table: Table) -> None:
        """Write a table for people."""
        if self.as_json:
            return
        if self.on_terminal:
            self._console(self._stdout).print(table.rich())
        else:
            self._stdout.write(table.plain() + "\n")
        self._stdout.flush()

    def note(self, text: str) -> None:
        """Write a line to standard error, above a progress display if there is one."""
        if self._live is not None:
            self._live.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            self._stderr.write(f"{printable(text)}\n")
            self._stderr.flush()

    @contextmanager
    def progress(self, text: str) -> Generator[None]:
        """Show on a terminal that something is being done; in a pipe nothing is shown."""
        if self._live is not None or not self._animated:
            yield
            return
        from rich.text import Text

        console = self._console(self._stderr)
        with console.status(Text(printable(text))):
            self._live = console
            try:
                yield
            finally:
                self._live = None

    def flush(self) -> None:
        """Hand over everything written."""
        self._stdout.flush()

    @property
    def _animated(self) -> bool:
        return self._stdout.isatty() and self._stderr.isatty() and os.environ.get("TERM") != "dumb"

    def _console(self, stream: TextIO) -> "Console":
        from rich.console import Console

        plain = bool(os.environ.get("NO_COLOR"))
        return Console(file=stream, color_system=None if plain else "auto", markup=False, emoji=False, highlight=False)
