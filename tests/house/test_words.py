"""What must not stand in a product's repository, and what must."""

import re

import pytest

LOCK = "uv.lock"
"""Made by uv, which writes down where each file is from."""

OVERRIDING = "core/tests/testing/test_cache_stores_overriding.py"
"""Proves that the conformance class does not let itself be switched off."""

FORBIDDEN = {
    "the path of somebody's machine": r"/(?:home|Users|root|work|opt/wheels|opt/pypi)/[\w.-]+",
    "the host of a package registry": r"(?:pypi|pythonhosted|npmjs)\.(?:org|com)",
    "a place left for later": r"\b(?:TODO|FIXME|XXX|HACK)\b",
    "a test that does not run": r'(?m)^\s*pytest\.(?:skip\((?!"\w+ is not installed)|xfail\()|importorskip'
    r"|mark\.(?:skip|xfail)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_has(texts, what: str) -> None:
    this = "tests/house/test_words.py"
    found = {
        path: match[0]
        for path, text in texts.items()
        if path not in (LOCK, OVERRIDING, this) and (match := re.search(FORBIDDEN[what], text))
    }
    assert found == {}


def test_a_silenced_check_names_the_check_and_the_reason(texts) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        if path.endswith(".py") and "/src/" in path
        for number, line in enumerate(text.splitlines(), 1)
        if (comment := re.search(r"#\s*(?:type: ignore|pyright: ignore|noqa)\S*(.*)$", line))
        and not re.search(r"\[?[\w-]+\]?.*(?: - |  # )\w", comment[0])
    ]
    assert found == []


def test_a_text_is_read_and_written_as_utf_8(texts) -> None:
    found = [
        f"{path}: {match[0]}"
        for path, text in texts.items()
        if path.endswith(".py") and "/src/" in path
        for match in re.finditer(r"\.(?:read|write)_text\((?:[^()]|\([^()]*\))*\)", text)
        if "encoding" not in match[0]
    ]
    assert found == []


def test_a_fragment_of_the_changelog_is_named_by_its_kind(root, workspace) -> None:
    kinds = "|".join(kind["directory"] for kind in workspace["tool"]["towncrier"]["type"])
    names = [path.name for path in (root / "changelog.d").iterdir() if path.name != "README.md"]
    assert [name for name in names if not re.fullmatch(rf"(?:\d+|\+[a-z0-9-]+)\.(?:{kinds})(?:\.\d+)?\.md", name)] == []


def test_every_library_that_is_used_has_a_reason(root, workspace, members) -> None:
    groups = workspace["dependency-groups"].values()
    requirements = [one for group in groups for one in group if isinstance(one, str)]
    requirements += [one for member in members for one in member.requirements]
    used = {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}
    reasons = (root / "docs" / "design" / "dependencies.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^\| ([^|]+) \|", reasons, re.MULTILINE))))
    assert sorted(name for name in used if not name.startswith("mcp-orchestra") and name not in named) == []
