"""S2, S7: mistakes in JSON, and in the files of other clients, are named with their place too."""

import pytest

# What it shows, the text, its place ("line:column path"), and parts of the message.
ROWS = [
    ("JSON that is empty", "", "", "empty"),
    ("JSON with an open object", '{"mcpServers": {\n', "1:16 mcpServers", 'no "}" closes'),
    ("JSON with an open list", '{"mcpServers": {"a": {"args": ["x"', "1:31 mcpServers.a.args", 'no "]" closes'),
    ("JSON with an open text", '{"mcpServers": "abc\n"}', "1:16 mcpServers", "closing quote"),
    ("JSON without quotes", "{mcpServers: {}}", "1:2", 'key in "double quotes"'),
    ("JSON with single quotes", "{'mcpServers': {}}", "1:2", 'key in "double quotes"'),
    ("JSON without a colon", '{"mcpServers" {}}', "1:15 mcpServers", 'expected ":"'),
    ("JSON without a comma", '{"mcpServers": {}\n "x": 1}', "2:2", 'expected "," or "}"'),
    ("JSON without a value", '{"mcpServers": }', "1:16 mcpServers", "expected a value"),
    ("JSON with two commas", '{"mcpServers": {},,}', "1:19", "expected a key"),
    ("JSON with text behind", '{"mcpServers": {}} x', "1:20", "after the end"),
    ("JSON with an open comment", '{"mcpServers": {}} /* x', "1:20", "closes this comment"),
    ("JSON with a bad escape", '{"mcpServers": "\\x"}', "1:16 mcpServers", "escape"),
    ("JSON with half a character", '{"mcpServers": "\\ud83d"}', "1:16 mcpServers", "escape"),
    ("JSON with NaN", '{"mcpServers": NaN}', "1:16 mcpServers", "expected a value"),
    ("JSON with 5000 digits", '{"mcpServers": ' + "9" * 5000 + "}", "1:16 mcpServers", "too long"),
    ("JSON that is deep", '{"a": ' * 60 + "1" + "}" * 60, "1:301 a.a.a.a.a", "nested deeper than 50"),
    (
        "JSON with a repeated key",
        '{"mcpServers": {\n  "a": {"command": "x"},\n  "a": {}}}',
        "3:3 mcpServers.a",
        "line 2, column 3",
    ),
    ("JSON that is a list", "[]", "1:1", "got a list"),
    ("no command and no url", '{"mcpServers": {\n "a": {"args": []}}}', "2:2 mcpServers.a", '"command"', '"url"'),
    ("a command and a url", '{"servers": {"a": {"command": "x", "url": "http://y"}}}', "1:14 servers.a", "keep one"),
    (
        "a url twice",
        '{"mcpServers": {"a": {"url": "http://x", "httpUrl": "http://x"}}}',
        "1:42 mcpServers.a.httpUrl",
        "keep one",
    ),
    (
        "a type twice",
        '{"mcpServers": {"a": {"type": "http", "transport": "http", "url": "http://x"}}}',
        "1:39 mcpServers.a.transport",
        '"type"',
    ),
    (
        "a type that is unknown",
        '{"servers": {"a": {"type": "websocket", "url": "ws://x"}}}',
        "1:20 servers.a.type",
        "installed",
    ),
    (
        "disabled as a text",
        '{"mcpServers": {"a": {"command": "x", "disabled": "yes"}}}',
        "1:39 mcpServers.a.disabled",
        "true or false",
    ),
    ("a server as a list", '{"mcpServers": {"a": []}}', "1:17 mcpServers.a", "expected a mapping", "got a list"),
    (
        "two ids that become one",
        '{"mcpServers": {\n"a b": {"command": "x"},\n"a/b": {"command": "x"}}}',
        '3:1 mcpServers["a/b"]',
        '"a_b"',
        "line 2",
    ),
    ("an unknown section beside", '{"mcp_servers": {},\n"zzz": 1}', "2:1 zzz", "unknown field"),
    ("old line ends", '{"mcpServers":\r{"a":\r{"command": 1}}}', "3:2 mcpServers.a.command", "expected text"),
    ("mixed line ends", '{"mcpServers":\r\n{"a": // x\r  {"command": 1}}}', "3:4 mcpServers.a.command", "text"),
    ("our servers beside theirs", '{"mcpServers": {},\n"mcp_servers": {}}', "1:2 mcpServers", "one place"),
    ("two clients' servers", '{"mcpServers": {},\n"servers": {}}', "2:1 servers", "one place"),
    (
        "a wrong field under another name",
        '{"mcpServers": {"a": {"httpUrl": 5}}}',
        "1:23 mcpServers.a.httpUrl",
        "expected text",
    ),
    (
        "a wrong header",
        '{"mcpServers": {"a": {"url": "http://x",\n"headers": {"A": 1}}}}',
        "2:13 mcpServers.a.headers.A",
        "text",
    ),
]


@pytest.mark.parametrize(
    ("text", "place", "words"), [pytest.param(text, place, words, id=name) for name, text, place, *words in ROWS]
)
def test_s2_a_mistake_in_json_is_refused_with_its_place(refused, text, place, words):
    refused(text, place, *words, name=".mcp.json")
