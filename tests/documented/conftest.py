"""Reads the API document, so that what is tested is what it says, unchanged."""

import logging
import re
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Run = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "orchestrator-api.md"


@dataclass(frozen=True)
class Block:
    """One fenced block of Python, and the headings above it, the outermost first."""

    headings: tuple[str, ...]
    code: str


class Document:
    """The API document, as the blocks of Python in it and the lines under each heading."""

    def __init__(self, text: str) -> None:
        self.blocks = list(_blocks(text))

    def under(self, *headings: str) -> list[str]:
        """Return the blocks under a heading, given from the outside in; those of its subsections too."""
        found = [block.code for block in self.blocks if set(headings) <= set(block.headings)]
        assert found, f"the document has no example under {headings}"
        return found


def _blocks(text: str) -> Iterator[Block]:
    headings: list[tuple[int, str]] = []
    for match in re.finditer(r"^(#+) (.+?)$|^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        marks, heading, code = match.groups()
        if code is not None:
            yield Block(tuple(name for _, name in headings), code)
        else:
            headings = [(level, name) for level, name in headings if level < len(marks)]
            headings.append((len(marks), heading.replace("`", "")))


@pytest.fixture(scope="session")
def document() -> Document:
    """The API document."""
    return Document(DOCUMENT.read_text(encoding="utf-8"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs blocks unchanged, with ``await`` at the top as the document has it, in the temporary folder."""
    monkeypatch.chdir(tmp_path)

    async def run_block(code: str, names: dict[str, Any]) -> dict[str, Any]:
        compiled = compile(code, "<the document>", "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (coroutine := eval(compiled, names)) is not None:
            await coroutine
        return names

    return run_block


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    """Undo what ``log_level`` did to the library's logger."""
    logger = logging.getLogger("mcp_orchestra")
    level = logger.level
    yield
    logger.setLevel(level)
