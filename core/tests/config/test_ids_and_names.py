"""S3: which ids and display names there may be."""

import pytest

GOOD = "    name: A\n    url: http://localhost/sse\n"

IDS = [
    ("a space in an id", "a b", '["a b"]', 'did you mean "a_b"'),
    ("two underscores in an id", "a__b", ".a__b", 'the first "__" in <id>__<tool>'),
    ("an underscore at the end of an id", "a_", ".a_", 'does not end in "_"'),
    ("an id that is too long", "a" * 65, "." + "a" * 65, "1 to 64"),
    ("an empty id", '""', '[""]', "expected an id"),
    ("a slash in an id", "github.com/x", '["github.com/x"]', 'did you mean "github.com_x"'),
    ("an umlaut in an id", "büro", '["büro"]', 'did you mean "b_ro"'),
    ("a hyphen in front of an id", "-a", ".-a", 'did you mean "a"'),
]


@pytest.mark.parametrize(("key", "path", "words"), [pytest.param(*row[1:], id=row[0]) for row in IDS])
def test_s3_an_id_must_be_usable_in_the_names_of_tools(refused, key, path, words):
    refused(f"mcp_servers:\n  {key}:\n{GOOD}", f"2:3 mcp_servers{path}", words)


@pytest.mark.parametrize("key", ["a", "A-1", "_a", "a.b", "0", "a_b", "a" * 64, "x-_-y", "on_"[:2] + "x"])
def test_s3_an_id_may_have_letters_digits_underscores_hyphens_and_dots(load, key):
    assert [*load(f"mcp_servers:\n  '{key}':\n{GOOD}").config.mcp_servers] == [key]


def test_s3_a_repeated_display_name_names_both_places(refused):
    refused(
        f"mcp_servers:\n  a:\n{GOOD}  b:\n    url: http://x\n    name: A\n",
        "7:5 mcp_servers.b.name",
        *("unique", "mcp_servers.a.name (line 3, column 5)"),
    )


@pytest.mark.parametrize("name", ["A\u00a0B", "A  B", "\uff21 B"])
def test_s3_names_that_look_alike_are_the_same(refused, name):
    text = f'mcp_servers:\n  a: {{name: A B, url: http://x}}\n  b: {{name: "{name}", url: http://x}}\n'
    refused(text, "3:7 mcp_servers.b.name", "unique", "mcp_servers.a.name (line 2, column 7)")


@pytest.mark.parametrize(
    ("word", "flaw"),
    [
        ("", "blank"),
        (" ", "blank"),
        ("\\u00a0", "blank"),
        ("a ", "start or end"),
        ("\\u2003a", "start or end"),
        ("a\\e[31m", "control characters"),
        ("a\\nb", "line breaks"),
        ("a\\u200b", "invisible"),
        ("\\u202eab", "invisible"),
        ("a\\ufeffb", "invisible"),
    ],
)
@pytest.mark.parametrize("field", ["name", "domains", "capabilities"])
def test_s3_what_people_see_must_be_visible(refused, field, word, flaw):
    if field == "name":
        text, place = f'name: "{word}"', "5:5 mcp_servers.a.name"
        flaw = flaw if word else "1 or more characters"
    else:
        text, place = f'name: A\n    {field}: [ok, "{word}"]', f"6:{len(field) + 12} mcp_servers.a.{field}[1]"
    refused(f"mcp_servers:\n  a:\n    url: http://x\n    timeout: 3\n    {text}\n", place, flaw)


def test_s3_a_repeated_id_names_both_places(refused):
    refused(f"mcp_servers:\n  a:\n{GOOD}  a:\n    name: B\n", "5:3 mcp_servers.a", "line 2, column 3")


def test_s3_a_name_may_be_written_in_any_script(load):
    text = 'mcp_servers: {a: {name: "Größe & 数据 🚀", url: "http://x"}}'
    assert load(text).config.mcp_servers["a"].name == "Größe & 数据 🚀"
