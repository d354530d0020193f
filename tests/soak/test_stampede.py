"""S34 between real processes: one of them asks upstream, and if it is killed another one does."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp_orchestra.testing.valkey import ValkeyServer

PROGRAM = Path(__file__).with_name("stampede_process.py")
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(params=["disk", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Say to a process which store it shares with others."""
    with ExitStack() as stack:
        if request.param == "disk":
            options: dict[str, Any] = {"directory": str(tmp_path / "cache"), "timeout": 5.0}
        else:
            server = stack.enter_context(ValkeyServer())
            options = {"url": server.url, "connect_timeout": 5.0, "socket_timeout": 5.0}
        yield {"backend": request.param, "options": options}


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Return the file in which every fetch leaves the name of its process."""
    return tmp_path / "asked"


@pytest.fixture
def start(shared: dict[str, Any], asked: Path) -> Iterator[Start]:
    """Start processes that fetch; what is left of them is killed at the end."""
    started = []

    def start_one(name: str, *, seconds: float, callers: int = 500) -> "subprocess.Popen[bytes]":
        arguments = {**shared, "name": name, "seconds": seconds, "callers": callers, "asked": str(asked)}
        process = subprocess.Popen([sys.executable, PROGRAM, json.dumps(arguments)], stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def answers(process: "subprocess.Popen[bytes]") -> dict[str, int]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return dict(json.loads(output))


def wait_for(asked: Path, name: str) -> None:
    end = time.monotonic() + 30
    while not asked.exists() or name not in asked.read_text(encoding="utf-8").split():
        assert time.monotonic() < end, f"{name} did not ask upstream"
        time.sleep(0.01)


def test_s34_a_thousand_callers_in_two_processes_cause_one_fetch(start: Start, asked: Path) -> None:
    both = [start("one", seconds=1.0), start("two", seconds=1.0)]
    found = [answers(process) for process in both]
    (who,) = asked.read_text(encoding="utf-8").split()
    assert found == [{who: 500}, {who: 500}]


def test_s34_when_the_process_that_fetches_is_killed_the_others_still_get_an_answer(start: Start, asked: Path) -> None:
    leader = start("leader", seconds=3600)
    wait_for(asked, "leader")
    others = [start("one", seconds=0.2), start("two", seconds=0.2)]
    time.sleep(0.5)  # either way the outcome is the same; like this they wait for the leader most of the time
    leader.kill()
    found = [answers(process) for process in others]
    _, who = asked.read_text(encoding="utf-8").split()
    assert found == [{who: 500}, {who: 500}]
