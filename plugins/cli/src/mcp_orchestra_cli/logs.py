"""Shows what the library logs: its warnings in short, or with ``--debug`` everything."""

import logging
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["shown_logs"]

_LIBRARY = "mcp_orchestra"
# A command says itself, once and with a hint, which servers are not there.
_SAID_OTHERWISE = ("mcp_orchestra.connection.", "mcp_orchestra.connections")


class _Notes(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._note(self.format(record))
        except Exception:  # noqa: BLE001 - logging must not end what it tells about
            self.handleError(record)


class _Short(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


@contextmanager
def shown_logs(note: Callable[[str], None], *, debug: bool) -> Generator[Callable[[], None]]:
    """Route the library's log to ``note`` for the length of the block.

    Args:
        note: Writes a line to standard error.
        debug: Show everything in the long form, with other libraries' warnings.

    Yields:
        What to call after a configuration was loaded, since that sets the level that it asks for.
    """
    library, root = logging.getLogger(_LIBRARY), logging.getLogger()
    before = library.level, library.propagate
    handler = _Notes(note)
    foreign: logging.Handler = handler if debug else logging.NullHandler()  # else Python shows their warnings raw
    if debug:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    else:
        handler.setLevel(logging.WARNING)
        handler.setFormatter(_Short())
        handler.addFilter(lambda record: not record.name.startswith(_SAID_OTHERWISE))

    def raise_level() -> None:
        if debug:
            library.setLevel(logging.DEBUG)

    library.propagate = False
    library.addHandler(handler)
    root.addHandler(foreign)
    raise_level()
    try:
        with warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                warnings.simplefilter("ignore")  # they are for developers
            yield raise_level
    finally:
        root.removeHandler(foreign)
        library.removeHandler(handler)
        library.setLevel(before[0])
        library.propagate = before[1]
