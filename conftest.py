"""What every test of the workspace shares."""

from collections.abc import Iterator

# Hypothesis imports this in the middle of a test, where CPython 3.11 may fail to parse it ("AST constructor recursion
# depth mismatch", cpython #106905): the recursion limit, which Hypothesis raises for a test, changes meanwhile.
import hypothesis.internal.conjecture.optimiser  # noqa: F401
import psutil
import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio alone: connections are tasks of asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Fail a test that leaves a child process running, wherever it was started."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    _, alive = psutil.wait_procs(left, timeout=5)
    names = [_describe(process) for process in alive]
    for process in alive:
        process.kill()
    if names:
        pytest.fail(f"processes left running: {names}")


def _describe(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return str(process.pid)
