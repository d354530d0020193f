"""The script of the continuous integration ends as what it runs ends, and says last how the suite went."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LOG = """\
===== 27 passed in 1.00s =====
{verdict}
nox > Ran multiple sessions
"""


def run(root: Path, folder: Path, pip: int, nox: int, verdict: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script, with a pip and a uv that only say what they would."""
    programs = {"pip": f"exit {pip}", "uv": f"cat {folder}/log; exit {nox}"}
    (folder / "log").write_text(LOG.format(verdict=verdict), encoding="utf-8")
    (folder / "bin").mkdir()
    for name, text in programs.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(root / ".ci" / "run", folder / ".ci" / "run")
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", ".ci/run"], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_success_ends_with_the_verdict_of_the_whole_suite(root, tmp_path) -> None:
    done = run(root, tmp_path, pip=0, nox=0, verdict="===== 2208 passed in 330.82s (0:05:30) =====")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "===== 2208 passed in 330.82s (0:05:30) ====="


@pytest.mark.parametrize(("pip", "nox"), [(0, 1), (1, 0)])
def test_failure_is_a_failure(root, tmp_path, pip: int, nox: int) -> None:
    done = run(root, tmp_path, pip, nox, verdict="===== 1 failed, 2207 passed in 330.82s (0:05:30) =====")
    assert done.returncode == 1


def test_the_script_can_be_run(root) -> None:
    assert os.access(root / ".ci" / "run", os.X_OK)
