"""How long, and a deadline round everything."""

import logging
import os
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def seconds() -> float:
    """Return for how long to go on."""
    return float(os.environ.get("MCP_ORCHESTRA_TEST_SECONDS", "4"))


@pytest.fixture(autouse=True)
def deadline(seconds: float) -> Iterator[None]:
    """End a test that hangs, whatever it hangs in."""
    limit = int(3600 + seconds * 4 if "MCP_ORCHESTRA_TEST_STEPS" in os.environ else 600 + seconds * 4)

    def expire(*_: object) -> None:
        raise TimeoutError(f"the test took longer than {limit} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def nothing_is_written_down() -> Iterator[None]:
    """Undo what a test does to the library's logger."""
    logger = logging.getLogger("mcp_orchestra")
    level = logger.level
    yield
    logger.setLevel(level)
