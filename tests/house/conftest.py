"""What the repository consists of."""

import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Member:
    """One distribution of the workspace."""

    folder: Path

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return str(self.pyproject["project"]["name"])

    @property
    def requirements(self) -> list[str]:
        """What it needs, and what its extras do."""
        project = self.pyproject["project"]
        extras = project.get("optional-dependencies", {}).values()
        return [*project["dependencies"], *(one for extra in extras for one in extra)]

    @property
    def modules(self) -> list[Path]:
        return sorted((self.folder / "src").rglob("*.py"))


MEMBERS = [Member(ROOT / "core"), *(Member(path.parent) for path in sorted(ROOT.glob("plugins/*/pyproject.toml")))]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def members() -> list[Member]:
    """Core and the plug-ins."""
    return MEMBERS


@pytest.fixture(params=MEMBERS, ids=lambda member: member.folder.name)
def member(request: pytest.FixtureRequest) -> Member:
    """Core and each plug-in in turn."""
    found = request.param
    assert isinstance(found, Member)
    return found


@pytest.fixture(scope="session")
def workspace() -> dict[str, Any]:
    """The root pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """The text of every file that belongs to the repository, by its path from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
