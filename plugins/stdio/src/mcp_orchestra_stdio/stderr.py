"""Keeps the last lines of what a server writes to its standard error."""

import anyio
from anyio.abc import ByteReceiveStream
from mcp_orchestra.diagnostics import Diagnostics

from mcp_orchestra_stdio.framing import CutLine, Lines

__all__ = ["collect"]

_LONGEST = 4096  # bytes of one line that are kept


async def collect(stderr: ByteReceiveStream, diagnostics: Diagnostics) -> None:
    """Write every line to the diagnostics until the stream ends; the server never waits for a reader."""
    lines = Lines(_LONGEST)
    try:
        while True:
            for line in lines.feed(await stderr.receive()):
                diagnostics.write(_text(line))
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        if (last := lines.rest()) is not None:
            diagnostics.write(_text(last))


def _text(line: bytes | CutLine) -> str:
    if isinstance(line, CutLine):
        return line.head.decode(errors="replace") + " …"
    return line.decode(errors="replace")
