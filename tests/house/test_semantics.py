"""Every rule of behaviour has a test that names it."""

import re

PAGE = "docs/reference/semantics.md"


def rules(text: str) -> set[int]:
    return {int(number) for number in re.findall(r"^- \(S(\d+)\)", text, re.MULTILINE)}


def test_every_rule_is_named_by_a_test(texts) -> None:
    named = {
        int(number)
        for path, text in texts.items()
        if re.search(r"(?:^|/)tests/.*\.py$", path) and not path.startswith("tests/house/")
        for number in re.findall(r"(?<![A-Za-z0-9])[sS](\d{1,2})(?![0-9A-Za-z])", text)
    }
    missing = rules(texts[PAGE]) - named
    assert sorted(missing) == [], f"no test names {', '.join(f'S{number}' for number in sorted(missing))}"
