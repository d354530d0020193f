"""Every distribution of the workspace is complete, and they fit together."""

import re

import pytest


def test_the_root_installs_every_member(workspace, members) -> None:
    names = {member.name for member in members}
    assert set(workspace["project"]["dependencies"]) == names
    assert {name for name, source in workspace["tool"]["uv"]["sources"].items() if source["workspace"]} == names


def test_the_root_is_never_published(workspace) -> None:
    assert workspace["tool"]["uv"]["package"] is False
    assert "build-system" not in workspace


def test_all_members_have_one_version(members) -> None:
    assert len({member.pyproject["project"]["version"] for member in members}) == 1


def test_members_depend_on_each_other_by_the_range_of_this_version(member, members) -> None:
    project = member.pyproject["project"]
    major, minor, _ = project["version"].split(".")
    expected = f">={major}.{minor},<{major}.{int(minor) + 1}"
    names = {other.name for other in members}
    for requirement in member.requirements:
        parsed = re.match(r"([\w-]+)(\[[^\]]*\])?(.*)", requirement)
        assert parsed is not None
        name, extra, versions = parsed.groups()
        if name in names - {project["name"]}:
            assert versions == expected, requirement
        elif name == project["name"]:
            assert (bool(extra), versions) == (True, ""), requirement


def test_the_extras_name_every_plugin(members) -> None:
    core, *plugins = members
    extras = core.pyproject["project"]["optional-dependencies"]
    named = {re.split(r"[\[>]", requirement)[0] for requirement in [*extras["standard"], *extras["all"]]}
    assert named == {core.name, *(plugin.name for plugin in plugins)}


def test_a_member_is_named_after_its_folder(member) -> None:
    folder = member.folder.name
    name = "mcp-orchestra" if folder == "core" else f"mcp-orchestra-{folder}"
    package = name.replace("-", "_")
    assert member.name == name
    assert (member.folder / "src" / package / "__init__.py").is_file()


@pytest.mark.parametrize("part", ["pyproject.toml", "README.md", "src", "tests"])
def test_a_member_has_all_its_parts(member, part: str) -> None:
    assert (member.folder / part).exists()


def test_a_member_has_tests(member) -> None:
    assert list((member.folder / "tests").glob("test_*.py"))


def test_every_package_says_that_it_is_typed(member) -> None:
    packages = [
        member.folder / path for path in member.pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ]
    assert sorted(packages) == sorted(path.parent for path in member.folder.glob("src/*/__init__.py"))
    assert all((package / "py.typed").is_file() for package in packages)


def test_a_member_is_described_as_the_others(member) -> None:
    project = member.pyproject["project"]
    assert project["license"] == "MIT"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"
    assert project["description"].endswith(".")


def test_the_readme_of_a_member_says_more_than_its_description(member) -> None:
    text = (member.folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {member.name}\n")
    assert "```" in text


def test_the_readme_of_a_member_can_be_read_anywhere(member) -> None:
    text = (member.folder / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\((?!https?://|#)([^)]*)\)", text)
    assert relative == [], "it is shown on the package index and in the documentation, where these lead nowhere"


def test_a_plugin_is_found_by_the_name_of_its_folder(member) -> None:
    if points := member.pyproject["project"].get("entry-points", {}).get("mcp_orchestra"):
        folder = member.folder.name
        assert points == {folder: f"mcp_orchestra_{folder.replace('-', '_')}"}


def test_the_layers_name_every_member(workspace, members) -> None:
    roots = workspace["tool"]["importlinter"]["root_packages"]
    packages = {path.parent.name for member in members for path in member.folder.glob("src/*/__init__.py")}
    assert set(roots) == packages
    core, independent, *_ = workspace["tool"]["importlinter"]["contracts"]
    assert set(core["forbidden_modules"]) == packages - {"mcp_orchestra"}
    assert set(independent["modules"]) == packages - {"mcp_orchestra", "fastapi_server"}
