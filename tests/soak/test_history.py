"""Three processes share a Redis, are killed at random and have wrong clocks: a recorded history shows what they served.

S30 (nothing older than its time to live), S33 (nothing outdated, nothing of another principal's), S34 and S36.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from mcp_orchestra.testing.valkey import ValkeyServer
from mcp_orchestra_redis import RedisStore

from .history import History, Promise

PROGRAM = Path(__file__).with_name("history_process.py")
PROCESSES = 3
SKEW = 1.0


class Company:
    """The processes; each has a name of its own, also the one that takes another one's place."""

    def __init__(self, folder: Path, url: str, **arguments: object) -> None:
        self.folder = folder
        self.seed = int(os.environ.get("MCP_ORCHESTRA_TEST_SEED", random.randrange(2**32)))
        self._random = random.Random(self.seed)
        self._arguments = {"folder": str(folder), "url": url, "skew": SKEW, "deaf": False, **arguments}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0
        self.deaths: list[dict[str, object]] = []

    def start(self) -> None:
        name = f"process {self._started}"
        self._started += 1
        arguments = {**self._arguments, "process": name, "seed": self._random.randrange(2**32)}
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, PROGRAM, json.dumps(arguments)]
            self._running[name] = subprocess.Popen(command, stderr=log)
        end = time.monotonic() + 60
        while not (self.folder / f"{name}.jsonl").exists():  # a busy machine must not leave them no time to work
            assert self._running[name].poll() is None, self.last_words(name)
            assert time.monotonic() < end, f"{name} does not begin"
            time.sleep(0.01)

    def last_words(self, name: str) -> str:
        return f"{name} ended by itself:\n{(self.folder / f'{name}.log').read_text(encoding='utf-8')}"

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        assert process.poll() is None, self.last_words(name)
        process.kill()
        process.wait()
        self.deaths.append({"what": "killed", "process": name, "at": time.monotonic()})

    def work(self, seconds: float, *, lifetime: float) -> None:
        """Let them work for a while, and now and then kill one at random and start another."""
        try:
            for _ in range(PROCESSES):
                self.start()
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, self._random.uniform(0.5, 1.5) * lifetime / PROCESSES))
                if end - time.monotonic() > 0:
                    self.kill(self._random.choice(list(self._running)))
                    self.start()
        finally:
            for name in list(self._running):
                self.kill(name)


def recorded(folder: Path, seconds: float, promise: Promise, *, lifetime: float, **arguments: object) -> History:
    with ValkeyServer() as server:
        given = {"ttl": promise.ttl, "max_stale": promise.max_stale, **arguments}
        company = Company(folder, server.url, **given)
        company.work(seconds, lifetime=lifetime)
    history = History.read(folder, promise, company.deaths)
    seen = Counter(read["how"] for read in history.reads)
    print(f"seed {company.seed}: {dict(seen)}, {len(history.changes)} changes, {len(company.deaths)} kills")
    return history


@pytest.mark.parametrize("near_entries", [0, 100], ids=["without a near cache", "with a near cache"])
def test_s33_nothing_outdated_too_old_or_of_another_principal_is_served(
    tmp_path: Path, seconds: float, near_entries: int
) -> None:
    delay = RedisStore.push_delay if near_entries else 0.0
    promise = Promise(ttl=3, max_stale=1, skew=SKEW, push_delay=delay)
    history = recorded(tmp_path, seconds, promise, lifetime=min(5.0, seconds), near_entries=near_entries)
    assert history.violations() == []
    assert len(history.reads) > 100
    assert len(history.changes) > 5


def test_a_store_that_does_not_tell_of_changes_is_found_out(tmp_path: Path, seconds: float) -> None:
    promise = Promise(ttl=60, max_stale=0, skew=SKEW, push_delay=0.5)
    history = recorded(tmp_path, max(seconds, 5), promise, lifetime=60, near_entries=100, deaf=True)
    assert any(violation.startswith("outdated by another") for violation in history.violations())
