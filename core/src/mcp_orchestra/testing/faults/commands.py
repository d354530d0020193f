"""Command lines of servers that misbehave over stdio."""

import sys
from typing import Literal

__all__ = ["StdioFault", "sick_command"]

StdioFault = Literal[
    "silent",
    "exits-at-once",
    "stops-reading",
    "ignores-shutdown",
    "leaves-child",
    "floods-stderr",
    "banner",
    "hangs",
    "crashes",
    "exits",
    "closes-stdout",
    "closes-stdin",
    "notifies-endlessly",
    "garbage",
    "half-line",
    "invalid-utf8",
    "huge-line",
    "deep-json",
    "not-a-number",
    "foreign-id",
    "malformed",
    "endless-cursor",
    "repeated-cursor",
]
"""What a server does wrong: the functions of `mcp_orchestra.testing.faults.stdio` say what each is."""


def sick_command(fault: StdioFault, *, on: str = "", size: int = 0) -> list[str]:
    """Return the command line of a server with one tool (``echo``), one resource (``fault://0``) and one fault.

    It is a modern server without any dependency, so it starts fast.

    Args:
        fault: What it does wrong.
        on: The methods, with commas between, that it does so on (``tools/call``); by default on every request but
            ``server/discover``. What concerns the process as a whole happens anyway.
        size: The bytes of ``huge-line`` and ``floods-stderr``, 20 000 000 by default, or the depth of ``deep-json``,
            100 000 by default.
    """
    return [sys.executable, "-m", "mcp_orchestra.testing.faults.stdio", fault, f"--on={on}", f"--size={size}"]
