# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2025.11.12"]
# ///
"""Everything that has to hold before a change goes in: ``nox`` runs it all, ``nox -s tests`` one session.

Works with uv, which installs what ``uv.lock`` says, and without it, when pip takes what the requirements allow.
"""

import os
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.11.12"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLES = sorted(path.parent for path in ROOT.glob("docs/examples/*/pyproject.toml"))
SOURCES = [str(member / "src") for member in [*MEMBERS, *EXAMPLES]]
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")
# One process more than there are processors, for tests mostly wait. Each begins with tests that stand side by side, and
# share servers; one that is through with its own takes from others.
PYTEST = ("pytest", f"--numprocesses={min(8, 1 + (os.cpu_count() or 1))}", "--dist=worksteal")


def install(session: nox.Session, *groups: str) -> None:
    """Install every member, editable, and what the dependency groups name."""
    if session.venv_backend == "uv":
        session.run_install(
            *("uv", "sync", "--locked", "--quiet", "--no-default-groups"),
            *(f"--group={group}" for group in groups),
            f"--python={session.virtualenv.location}",
            env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
            external=True,
        )
    else:
        members = [part for member in MEMBERS for part in ("-e", str(member))]
        session.install(*members, *nox.project.dependency_groups(GROUPS, *groups))


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run tests side by side; what fails is run once more, alone: a defect fails again, want of time does not."""
    try:
        session.run(*PYTEST, *arguments)
    except CommandFailed:
        session.warn("once more, alone: what failed")
        session.run("pytest", "--last-failed", "--last-failed-no-failures=none", *arguments)


def run_tests(session: nox.Session) -> None:
    """Run the suite, or what the command line names after ``--``."""
    install(session, "test")
    run_pytest(session, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, layering, and the names of the changelog's fragments."""
    install(session, "lint", "release")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("towncrier", "build", "--draft", "--version=unreleased", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Strict types in the sources, and a type for every public name."""
    install(session, "type", "dev")
    python = f"--pythonpath={session.virtualenv.bin}/python"
    session.run("mypy", *SOURCES, "noxfile.py", "docs/configuration_reference.py", "docs/check_links.py")
    session.run("pyright", python)
    session.run("pyright", python, "--verifytypes=mcp_orchestra", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation builds, and no link or reference in it is dead."""
    install(session, "docs")
    session.run("zensical", "build", "--strict", "--clean")
    session.run("python", "docs/check_links.py", "site")


@nox.session
def wheels(session: nox.Session) -> None:
    """What is published works away from this folder, and a third party's plug-in beside it."""
    dist = Path(session.create_tmp()) / "dist"
    session.run_install("uv", "build", "--all-packages", "--wheel", "--clear", f"--out-dir={dist}", external=True)
    for example in EXAMPLES:
        session.run_install("uv", "build", "--wheel", f"--out-dir={dist}", str(example), external=True)
    core, *others = sorted(dist.glob("*.whl"))
    session.install(f"{core}[all,testing]", *map(str, others))
    folder = Path(session.create_tmp()) / "elsewhere"
    folder.mkdir(exist_ok=True)
    example, *_ = EXAMPLES
    with session.chdir(folder):
        session.run(
            *("pytest", f"--config-file={example / 'pyproject.toml'}", f"--rootdir={ROOT}"),
            *(str(ROOT / "tests" / "wheels"), str(example / "tests")),
        )


@nox.session
def minimums(session: nox.Session) -> None:
    """The oldest dependencies that the packages claim to work with."""
    if session.venv_backend != "uv":
        session.skip("pip cannot install the lowest versions")
    members = [part for member in MEMBERS for part in ("-e", f"{member}")]
    session.install("--resolution=lowest-direct", *members, *nox.project.dependency_groups(GROUPS, "test"))
    fast = ["core/tests", "plugins/memory", "plugins/routing", "plugins/sse", "tests/documented", "docs/examples"]
    # The tests of the conformance class take two minutes and need nothing that could be too old.
    run_pytest(session, *(session.posargs or [*fast, "--ignore=core/tests/testing"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, on this interpreter, with the versions in uv.lock."""
    run_tests(session)


@nox.session(name="tests-3.12", python="3.12", default=False)
def tests_on_3_12(session: nox.Session) -> None:
    """Every test, on Python 3.12."""
    run_tests(session)


@nox.session(name="tests-3.13", python="3.13", default=False)
def tests_on_3_13(session: nox.Session) -> None:
    """Every test, on Python 3.13."""
    run_tests(session)


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """How fast it is beside what else there is: numbers to compare, not to pass."""
    install(session, "benchmark")
    with session.chdir("tests"):
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """The long runs: faults for ten minutes, the cache's state machine for a million steps, a minute of histories."""
    install(session, "test")
    short = {
        "MCP_ORCHESTRA_TEST_STEPS": "20000",
        "MCP_ORCHESTRA_TEST_SECONDS": "60",
        "MCP_ORCHESTRA_TEST_SOAK_SECONDS": "600",
    }
    pytest = ("pytest", "-s", "-o", "faulthandler_timeout=0")  # nothing here is quick, and nothing hangs for that
    session.run(*pytest, "tests/soak", *session.posargs, env=short)
    memory = ("-k", "over_objects or over_bytes", "core/tests/cache/test_machine.py")
    session.run(*pytest, *memory, *session.posargs, env={"MCP_ORCHESTRA_TEST_STEPS": "1000000"})
    waiting = ("-k", "not over_objects and not over_bytes", "core/tests/cache/test_machine.py")
    session.run(*pytest, *waiting, *session.posargs, env={"MCP_ORCHESTRA_TEST_STEPS": "100000"})


if __name__ == "__main__":
    nox.main()
