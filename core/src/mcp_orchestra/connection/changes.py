"""What may change at a server, as far as what is kept of it is concerned."""

from typing import Final, Literal

__all__ = ["EVERYTHING", "Change"]

Change = Literal["resources", "tools"]
"""A part of what a server offers: its resources (which there are, and their contents), or its tools."""

EVERYTHING: Final[frozenset[Change]] = frozenset({"resources", "tools"})
"""All that may change."""
