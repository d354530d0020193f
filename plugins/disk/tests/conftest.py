"""What the tests of the disk store share."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mcp_orchestra_disk import DiskStore

Open = Callable[..., DiskStore]


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def open_store(directory) -> Iterator[Open]:
    """Open stores on one directory, with the patience of a busy machine, and close them at the end."""
    stores = []

    def open_one(**options) -> DiskStore:
        stores.append(DiskStore(**{"directory": directory, "timeout": 5.0, **options}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def sql(directory) -> Callable[..., list[tuple]]:
    """Do with the database what somebody else would."""

    def execute(statement: str, *parameters) -> list[tuple]:
        with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as connection:
            return connection.execute(statement, parameters).fetchall()

    return execute


@pytest.fixture
def run_elsewhere() -> Callable[..., str]:
    """Run a program in a process of its own, with warnings as errors, and return what it printed."""

    def run(program: str, *arguments: object) -> str:
        command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run
