"""What a step of the demo says, to a person as it happens or to a program at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.tables import Table

__all__ = ["Narrator", "Step", "milliseconds"]


@dataclass
class Step:
    """One thing that the demo does."""

    name: str
    """For programs."""
    title: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What was measured and seen, for programs."""

    def as_document(self) -> dict[str, Any]:
        """Return the step for JSON."""
        return {"step": self.name, "title": self.title, **self.facts}


class Narrator:
    """Tells the story.

    Args:
        screen: Where a person reads it.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.steps: list[Step] = []
        self.progress: Callable[..., Any] = screen.progress

    def step(self, name: str, title: str) -> Step:
        """Begin a step."""
        step = Step(name, title)
        self.steps.append(step)
        self._screen.line()
        self._screen.line(f"{len(self.steps)}. {title}")
        return step

    def say(self, text: str) -> None:
        """Say something within a step."""
        for line in text.splitlines() or [""]:
            self._screen.line(f"   {line}".rstrip())

    def table(self, table: Table) -> None:
        """Show a table."""
        self._screen.line()
        self._screen.table(table)


def milliseconds(seconds: float) -> str:
    """Return a duration as people read it."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.{0 if seconds >= 0.01 else 2}f} ms"
