"""S2: a file that is no YAML, or uses what a configuration has no use for, is one error that names the place."""

import pytest
from mcp_orchestra.errors import ConfigurationError

CANARY = "canary-4f1d9b"
GOOD = "    name: A\n    url: http://localhost/sse\n"


def alone(*lines: str) -> str:
    """Return a document with one server that has these fields only, the first in line 3."""
    return "mcp_servers:\n  a:\n" + "".join(f"    {line}\n" for line in lines)


def server(*lines: str) -> str:
    """Return a document with one valid server and these further lines, the first of which is line 5."""
    return f"mcp_servers:\n  a:\n{GOOD}" + "".join(f"    {line}\n" for line in lines)


# What it shows, the text, its place ("line:column path"), and parts of the message.
ROWS = [
    ("empty", "", "", "empty", "mcp_servers"),
    ("only comments", "# nothing\n\n", "", "empty"),
    ("only a null", "---\n~\n", "", "empty"),
    ("a list", "- a\n- b\n", "1:1", "expected a mapping", "got a list"),
    ("a text", "\nhello\n", "2:1", "expected a mapping", "got text"),
    ("a number", "42\n", "1:1", "expected a mapping", "got a whole number"),
    ("two documents", "mcp_servers: {}\n---\nmcp_servers: {}\n", "2:1", "second YAML document", "one document"),
    ("a python tag", alone(f"name: !!python/object/apply:os.system ['{CANARY}']"), "3:11 mcp_servers.a.name", "Python"),
    ("a python name", alone("name: !!python/name:os.system"), "3:11 mcp_servers.a.name", "Python tags"),
    ("a custom tag", alone(f"name: !{CANARY} x"), "3:11 mcp_servers.a.name", "tag", "plain value"),
    ("a set", alone("domains: !!set {a, b}"), "3:14 mcp_servers.a.domains", "tag"),
    ("a binary", alone("name: !!binary aGk="), "3:11 mcp_servers.a.name", "tag"),
    ("a self-reference", "mcp_servers: &a [*a]\n", "1:18 mcp_servers[0]", "itself part of"),
    ("a self-reference as a mapping", "mcp_servers: &a {b: {c: *a}}\n", "1:25 mcp_servers.b.c", "itself part of"),
    ("an unknown alias", f"mcp_servers: *{CANARY}\n", "1:14 mcp_servers", "no such anchor"),
    ("a merge key", "mcp_servers:\n  a: &a {name: A}\n  b:\n    <<: *a\n", "4:5 mcp_servers.b", "merge keys", "<<"),
    ("too deep", "a: " + "[" * 60 + "]" * 60, "1:53 a[0][0][0][0]", "nested deeper than 50"),
    ("900 deep", "[" * 900 + "]" * 900, "1:51 [0][0][0][0][0]", "nested deeper than 50"),
    ("a tab", "mcp_servers:\n\ta: 1\n", "2:1", "spaces"),
    ("a tab in an indented block", "mcp_servers:\n  a:\n    name: A\n\turl: x\n", "4:1", "spaces"),
    ("no space after a colon", "mcp_servers:\n  a:\n    name:A\n    url: http://x\n", "4:8", '":"'),
    ("a colon in a text", alone(f"name: A: {CANARY}"), "3:12", '":" is not expected', "quote"),
    ("wrong indentation", "mcp_servers:\n  a:\n    name: A\n   url: x\n", "2:3", "indentation"),
    ("an open quote", alone(f'name: "{CANARY}'), "3:11", "closing quote"),
    ("an open single quote", alone(f"name: '{CANARY}"), "3:11", "closing quote"),
    ("an open list", alone("domains: [a, b", "name: A"), "3:14", '"," or "]"'),
    ("an open mapping", alone("headers: {a: b", "name: A"), "3:14", '"," or "}"'),
    ("a Windows path", alone('name: "C:\\mcp\\server"'), "3:14", "escape", "backslash"),
    ("a bad hexadecimal escape", alone('name: "\\xZZ"'), "3:14", "escape"),
    ("an at sign", alone(f"name: @{CANARY}"), "3:11", "cannot start a value", "quotes"),
    ("a percent sign", "%oops\nmcp_servers: {}\n", "1:6", "directive"),
    ("an anchor without a name", alone("name: & x"), "3:12", "anchor"),
    ("a list in a mapping", "mcp_servers:\n  a: - x\n", "2:6", '"- "'),
    ("a key without a value", "mcp_servers:\n  a\n  b: 1\n", "3:4", '":"'),
    ("text after the document", "{a: 1} {b: 2}\n", "1:8", "after the end"),
    ("a control character", "mcp_servers:\n  a: \x07\n", "2:6", "control characters"),
    ("a control character after old line ends", "a:\r  b:\r\n c: \x07\n", "3:5", "control characters"),
    ("a null byte", "mcp_servers:\0 {}\n", "1:13", "control characters"),
    ("5000 digits", alone("priority: " + "9" * 5000), "3:15 mcp_servers.a.priority", "number is too long", "quotes"),
    ("a date that is none", alone("name: 2024-13-45"), "3:11 mcp_servers.a.name", "number or date", "quotes"),
    ("a number that is none", alone("name: !!int x"), "3:11 mcp_servers.a.name", "number or date"),
    (
        "a repeated server",
        "mcp_servers:\n  a:\n" + GOOD + "  a:\n    name: B\n",
        "5:3 mcp_servers.a",
        "line 2, column 3",
    ),
    ("a repeated field", server("name: B"), "5:5 mcp_servers.a.name", "already there", "line 3, column 5"),
    ("a repeated section", "mcp_servers: {}\n\nmcp_servers: {}\n", "3:1 mcp_servers", "line 1, column 1"),
    ("a repeated key far down", server("headers: {A: x, A: y}"), "5:21 mcp_servers.a.headers.A", "line 5, column 15"),
    ("a boolean key", "mcp_servers:\n  on: {name: A}\n", "2:3 mcp_servers", "the boolean true", '"on" in quotes'),
    ("a number as a key", "mcp_servers:\n  1: {name: A}\n", "2:3 mcp_servers", "a whole number", '"1" in quotes'),
    ("a null key", "mcp_servers:\n  ~: {name: A}\n", "2:3 mcp_servers", "got nothing"),
    ("a list as a key", "? [a]\n: b\n", "1:3", "expected text as the key"),
    ("an alias as a key", "x: &x a\n*x : b\n", "2:1", "expected text as the key"),
]


@pytest.mark.parametrize(
    ("text", "place", "words"), [pytest.param(text, place, words, id=name) for name, text, place, *words in ROWS]
)
def test_s2_yaml_that_cannot_be_read_is_refused_with_its_place(refused, text, place, words):
    refused(text, place, *words)


def test_an_alias_stands_for_an_own_copy_of_its_value(load):
    loaded = load(
        "mcp_servers:\n  a: {name: A, url: http://x, domains: &d [x, y]}\n  b: {name: B, url: http://y, domains: *d}\n"
    )
    a, b = loaded.config.mcp_servers.values()
    assert a.domains == b.domains == ["x", "y"]
    a.domains.append("z")
    assert b.domains == ["x", "y"]


def test_s2_what_an_alias_stands_for_is_reported_where_it_was_written(load):
    with pytest.raises(ConfigurationError) as caught:
        load(
            "mcp_servers:\n  a: {name: A, url: http://x, domains: &d [x, no]}\n"
            "  b: {name: B, url: http://y, domains: *d}\n"
        )
    assert [(one["path"], one["line"], one["column"]) for one in caught.value.context["errors"]] == [
        ("mcp_servers.a.domains[1]", 2, 47),
        ("mcp_servers.b.domains[1]", 2, 47),
    ]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("1e3", "1e3"),
        ("=", "="),
        ("<<", "<<"),
        ("'no'", "no"),
        ('"1"', "1"),
        ("!!str no", "no"),
        ("|-\n      yes", "yes"),
    ],
)
def test_what_yaml_takes_for_text_is_text(load, written, name):
    assert load(alone(f"name: {written}", "url: http://x")).config.mcp_servers["a"].name == name
