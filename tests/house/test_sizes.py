"""Modules stay small enough to be read in one go."""

from statistics import median


def lines(path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_has_more_than_400_lines(member, root) -> None:
    assert {str(path.relative_to(root)): lines(path) for path in member.modules if lines(path) > 400} == {}


def test_half_of_the_modules_have_fewer_than_120_lines(members) -> None:
    assert median(lines(path) for member in members for path in member.modules) < 120


def test_the_example_of_a_transport_has_fewer_than_40_lines_of_code(root) -> None:
    (module,) = (root / "docs/examples/mcp-orchestra-tcp/src").rglob("*.py")
    assert len([line for line in module.read_text(encoding="utf-8").splitlines() if line.strip()]) < 40
