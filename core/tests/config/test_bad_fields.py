"""S2, S4, S5, S9: a field that is unknown, missing or wrong is named with its place, and never its value."""

import pytest
from mcp_orchestra.errors import ConfigurationError

CANARY = "canary-4f1d9b"
GOOD = "    name: A\n    url: http://localhost/sse\n"


def server(*lines: str) -> str:
    """Return a document with one valid server and these further lines, the first of which is line 5."""
    return f"mcp_servers:\n  a:\n{GOOD}" + "".join(f"    {line}\n" for line in lines)


def alone(*lines: str) -> str:
    """Return a document with one server that has these fields only, the first in line 3."""
    return "mcp_servers:\n  a:\n" + "".join(f"    {line}\n" for line in lines)


def orchestration(*lines: str) -> str:
    """Return a document whose third line is the first of these."""
    return "mcp_servers: {}\norchestration:\n" + "".join(f"  {line}\n" for line in lines)


# What it shows, the text, its place ("line:column path"), and parts of the message.
ROWS = [
    ("no servers", "orchestration: {fail_fast: true}\n", "1:1 mcp_servers", "missing", "id"),
    ("an unknown section", "mcp_servers: {}\nlogging: {}\n", "2:1 logging", "unknown field", "known are"),
    ("a misspelt section", "mcp_server: {}\n", "1:1 mcp_server", "unknown field", "did you mean 'mcp_servers'"),
    ("a misspelt second section", "mcp_servers: {}\norchestraton: {}\n", "2:1 orchestraton", "'orchestration'"),
    (
        "servers as a list",
        "mcp_servers:\n  - name: A\n",
        "1:1 mcp_servers",
        "expected a mapping from ids",
        "got a list",
    ),
    ("servers as nothing", "mcp_servers:\n", "1:1 mcp_servers", "got nothing"),
    ("a server as a text", f"mcp_servers:\n  a: {CANARY}\n", "2:3 mcp_servers.a", "expected a mapping", "got text"),
    ("a server as nothing", "mcp_servers:\n  a:\n", "2:3 mcp_servers.a", "expected a mapping", "got nothing"),
    (
        "a server that is stopped and never started again",
        server("idle_stop: 60"),
        "5:5 mcp_servers.a.idle_stop",
        "works only with 'start: on_first_use'",
    ),
    (
        "an idle time of none",
        server("start: on_first_use", "idle_stop: 0"),
        "6:5 mcp_servers.a.idle_stop",
        "more than 0",
    ),
    ("a start at some other time", server("start: lazy"), "5:5 mcp_servers.a.start", "'at_once' or 'on_first_use'"),
    ("an empty section", "mcp_servers: {}\norchestration:\n", "2:1 orchestration", "got nothing", "leave it out"),
    ("a section as a list", "mcp_servers: {}\nplugins: [a]\n", "2:1 plugins", "expected a mapping", "got a list"),
    ("no name", alone("url: http://x"), "2:3 mcp_servers.a.name", "missing"),
    (
        "no as a name",
        alone("name: no", "url: http://x"),
        "3:5 mcp_servers.a.name",
        "boolean false",
        'write "no" in quotes',
    ),
    ("Yes as a name", alone("name: Yes", "url: http://x"), "3:5 mcp_servers.a.name", "boolean true", 'write "Yes" in'),
    ("a number as a name", alone("name: 1337", "url: http://x"), "3:5 mcp_servers.a.name", "a whole number", "quotes"),
    ("a decimal as a name", alone("name: 1.5", "url: http://x"), "3:5 mcp_servers.a.name", "got a number", "quotes"),
    ("a date as a name", alone("name: 2024-01-31", "url: http://x"), "3:5 mcp_servers.a.name", "got a date", "quotes"),
    (
        "a time as a name",
        alone("name: 12:30:45", "url: http://x"),
        "3:11 mcp_servers.a.name",
        "base 60",
        "quotes",
    ),
    ("an octal number as a name", alone("name: 0777", "url: http://x"), "3:11 mcp_servers.a.name", "octal", "quotes"),
    ("an octal priority", server("priority: 010"), "5:15 mcp_servers.a.priority", "octal", "plain number"),
    ("a tagged octal priority", server("priority: !!int -0_10"), "5:15 mcp_servers.a.priority", "octal"),
    ("a timeout in minutes", server("timeout: 1:30"), "5:14 mcp_servers.a.timeout", "base 60", "plain number"),
    ("a timeout in decimal minutes", server("timeout: 1:30.5"), "5:14 mcp_servers.a.timeout", "base 60"),
    ("a priority that starts with 0", server("priority: 08"), "5:5 mcp_servers.a.priority", "whole number, got text"),
    ("nothing as a name", alone("name:", "url: http://x"), "3:5 mcp_servers.a.name", "expected text", "got nothing"),
    ("a list as a name", alone("name: [A]", "url: http://x"), "3:5 mcp_servers.a.name", "expected text", "got a list"),
    ("an empty name", alone("name: ''", "url: http://x"), "3:5 mcp_servers.a.name", "1 or more characters"),
    ("a blank name", alone("name: '  '", "url: http://x"), "3:5 mcp_servers.a.name", "blank"),
    ("a line break in a name", alone('name: "A\\nB"', "url: http://x"), "3:5 mcp_servers.a.name", "control characters"),
    ("a number as a url", alone("name: A", f"url: {10**9}"), "4:5 mcp_servers.a.url", "expected text", "whole number"),
    ("priority 0", server("priority: 0"), "5:5 mcp_servers.a.priority", "1 or more"),
    ("priority 1000", server("priority: 1000"), "5:5 mcp_servers.a.priority", "999 or less"),
    ("priority as a text", server(f"priority: {CANARY}"), "5:5 mcp_servers.a.priority", "whole number", "got text"),
    ("priority in quotes", server("priority: '5'"), "5:5 mcp_servers.a.priority", "whole number", "without quotes"),
    ("priority as a decimal", server("priority: 1.5"), "5:5 mcp_servers.a.priority", "a whole number, got a number"),
    ("priority as a boolean", server("priority: yes"), "5:5 mcp_servers.a.priority", "whole number", "boolean true"),
    ("timeout 0", server("timeout: 0"), "5:5 mcp_servers.a.timeout", "more than 0"),
    ("a negative timeout", server("timeout: -1"), "5:5 mcp_servers.a.timeout", "more than 0"),
    ("an endless timeout", server("timeout: .inf"), "5:5 mcp_servers.a.timeout", "expected"),
    ("no number as a timeout", server("timeout: .nan"), "5:5 mcp_servers.a.timeout", "expected"),
    ("timeout with a unit", server("timeout: 30s"), "5:5 mcp_servers.a.timeout", "expected a number, got text"),
    ("a misspelt field", server("timeuot: 3"), "5:5 mcp_servers.a.timeuot", "unknown", "did you mean 'timeout'"),
    ("a misspelt field of the transport", server("header: {}"), "5:5 mcp_servers.a.header", "did you mean 'headers'"),
    ("a strange field", server(f"zzz: {CANARY}"), "5:5 mcp_servers.a.zzz", "unknown", "sse", "headers, verify"),
    ("another client's field", server("disabled: true"), "5:5 mcp_servers.a.disabled", "did you mean 'enabled'"),
    ("type instead of transport", server("type: sse"), "5:5 mcp_servers.a.type", "did you mean 'transport'"),
    ("domains as a text", server("domains: products"), "5:5 mcp_servers.a.domains", "a list, got text", "brackets"),
    ("a boolean domain", server("domains: [a, off]"), "5:18 mcp_servers.a.domains[1]", 'write "off" in quotes'),
    ("a number as a capability", server("capabilities:", "- 5"), "6:7 mcp_servers.a.capabilities[0]", "expected text"),
    ("enabled in quotes", server("enabled: 'no'"), "5:5 mcp_servers.a.enabled", "true or false", "without quotes"),
    ("an unknown mode", server(f"mode: {CANARY}"), "5:5 mcp_servers.a.mode", "'auto', 'legacy' or '2026-07-28'"),
    ("a misspelt mode", server("mode: legcy"), "5:5 mcp_servers.a.mode", "did you mean 'legacy'"),
    ("a small limit", server("max_message_bytes: 5"), "5:5 mcp_servers.a.max_message_bytes", "1024 or more"),
    (
        "an unknown transport",
        server(f"transport: {CANARY}"),
        "5:5 mcp_servers.a.transport",
        "sse, stdio, streamable-http",
    ),
    (
        "a misspelt transport",
        alone("name: A", "transport: stido"),
        "4:5 mcp_servers.a.transport",
        "did you mean 'stdio'",
    ),
    (
        "a shouted transport",
        alone("name: A", "transport: STDIO"),
        "4:5 mcp_servers.a.transport",
        "did you mean 'stdio'",
    ),
    ("a boolean transport", server("transport: off"), "5:5 mcp_servers.a.transport", 'write "off" in quotes'),
    (
        "a command without a transport",
        alone("name: A", "command: x"),
        "4:5 mcp_servers.a.command",
        "'transport: stdio'",
    ),
    ("no command", alone("name: A", "transport: stdio"), "2:3 mcp_servers.a.command", "missing"),
    ("an empty command", alone("name: A", "transport: stdio", "command: ''"), "5:5 mcp_servers.a.command", "1 or more"),
    ("a url for stdio", server("transport: stdio", "command: x"), "4:5 mcp_servers.a.url", "stdio takes no url"),
    ("no url", alone("name: A"), "2:3 mcp_servers.a.url", "missing"),
    (
        "no url for a transport without options",
        alone("name: A", "transport: tcp"),
        "2:3 mcp_servers.a.url",
        "tcp needs",
    ),
    (
        "a field for a transport without",
        server("transport: tcp", "x: 1"),
        "6:5 mcp_servers.a.x",
        "its own fields: none",
    ),
    (
        "a wrong url",
        alone("name: A", f"url: ftp://{CANARY}"),
        "4:5 mcp_servers.a.url",
        "starts with http:// or https://",
    ),
    ("a boolean header", server("headers: {A: no}"), "5:15 mcp_servers.a.headers.A", 'write "no" in quotes'),
    ("a list of headers", server("headers: [a]"), "5:5 mcp_servers.a.headers", "expected a mapping, got a list"),
    (
        "a number as an argument",
        alone("name: A", "transport: stdio", "command: x", "args: [-p, 8080]"),
        "6:16 mcp_servers.a.args[1]",
        "expected text, got a whole number",
        "quotes",
    ),
    (
        "a telling validator",
        alone("name: A", "transport: careless", f"token: bad {CANARY}"),
        "5:5 mcp_servers.a.token",
        "not valid",
    ),
    (
        "a crashing validator",
        alone("name: A", "transport: careless", "token: crash"),
        "2:3 mcp_servers.a",
        "KeyError",
        "author",
    ),
    (
        "an exiting validator",
        alone("name: A", "transport: telling", "exits: true"),
        "2:3 mcp_servers.a",
        "SystemExit",
        "author",
    ),
    (
        "a validator that tells a password in disguise",
        alone("name: A", "transport: telling", f"password: {CANARY[::-1]}"),
        "5:5 mcp_servers.a.password",
        "this is not valid here",
    ),
    (
        "a validator that tells a number",
        alone("name: A", "transport: telling", "pin: 987654321"),
        "5:5 mcp_servers.a.pin",
        "this is not valid here",
    ),
    (
        "a validator that tells headers in disguise",
        alone("name: A", "transport: telling", "headers: {A: secret-value}"),
        "5:5 mcp_servers.a.headers",
        "this is not valid here",
    ),
    (
        "a validator that tells a URL's password in disguise",
        alone("name: A", "transport: telling", "url: http://me:secret-value@x"),
        "5:5 mcp_servers.a.url",
        "this is not valid here",
    ),
    (
        "a validator that says what it wants",
        alone("name: A", "transport: telling", "label: abc"),
        "5:5 mcp_servers.a.label",
        "I do not like cba",
    ),
    (
        "a validator of our own, which tells no value",
        alone("name: A", "url: http://x", "transport: checked", f"headers: {{Host: {CANARY}}}"),
        "6:5 mcp_servers.a.headers",
        "the header 'Host' is set by the transport",
    ),
    (
        "a bound of a stranger's",
        alone("name: A", "transport: careless", "size: 9"),
        "5:5 mcp_servers.a.size",
        "a multiple of 8",
    ),
    (
        "a pattern of a stranger's",
        alone("name: A", "transport: careless", "when: 9x"),
        "5:5 mcp_servers.a.when",
        "text that matches",
    ),
    (
        "a short secret of a stranger's",
        alone("name: A", "transport: careless", "pin: c"),
        "5:5 mcp_servers.a.pin",
        "expected text of 4 or more characters",
    ),
    (
        "a wrong url with a one-letter user",
        alone("name: A", "url: ftp://u:canary@x"),
        "4:5 mcp_servers.a.url",
        "not valid here",
    ),
    ("a misspelt option", orchestration("fail_fats: true"), "3:3 orchestration.fail_fats", "'fail_fast'"),
    ("an unknown option", orchestration("zzz: 1"), "3:3 orchestration.zzz", "unknown field", "known are"),
    (
        "fail_fast as a text",
        orchestration("fail_fast: maybe"),
        "3:3 orchestration.fail_fast",
        "true or false, got text",
    ),
    ("fail_fast as a number", orchestration("fail_fast: 1"), "3:3 orchestration.fail_fast", "true or false"),
    ("an unknown log level", orchestration("log_level: DEBG"), "3:3 orchestration.log_level", "did you mean 'DEBUG'"),
    ("a ttl of 0", orchestration("resource_cache_ttl: 0"), "3:3 orchestration.resource_cache_ttl", "1 or more"),
    ("a negative number of retries", orchestration("max_retries: -1"), "3:3 orchestration.max_retries", "0 or more"),
    (
        "an unknown ttl policy",
        orchestration("cache: {ttl_policy: stric}"),
        "3:11 orchestration.cache.ttl_policy",
        "'strict'",
    ),
    (
        "a negative max_stale",
        orchestration("cache: {max_stale: -5}"),
        "3:11 orchestration.cache.max_stale",
        "0 or more",
    ),
    ("a misspelt cache field", orchestration("cache: {backnd: x}"), "3:11 orchestration.cache.backnd", "'backend'"),
    ("an unknown backend", orchestration("cache: {backend: memry}"), "3:11 orchestration.cache.backend", "'memory'"),
    (
        "an unknown option of a backend",
        orchestration("cache:", "  options:", "    max_entrys: 5"),
        "5:7 orchestration.cache.options.max_entrys",
        "cache backend memory",
        "'max_entries'",
    ),
    (
        "a wrong option of a backend",
        orchestration("cache: {options: {max_entries: 0}}"),
        "3:21 orchestration.cache.options.max_entries",
        "1 or more",
    ),
    (
        "an option for a backend without",
        orchestration("cache: {backend: 'null', options: {a: 1}}"),
        "3:38 orchestration.cache.options.a",
        "its own fields: none",
    ),
    (
        "an unknown policy",
        orchestration("routing: {policy: x}"),
        "3:13 orchestration.routing.policy",
        "priority, weighted",
    ),
    (
        "an unknown policy of a domain",
        orchestration("routing:", "  domains:", "    a: {policy: wieghted}"),
        "5:11 orchestration.routing.domains.a.policy",
        "did you mean 'weighted'",
    ),
    (
        "a wrong option of a domain's policy",
        orchestration("routing: {domains: {a.b: {policy: weighted, options: {weights: {x: y}}}}}"),
        '3:67 orchestration.routing.domains["a.b"].options.weights.x',
        "expected a number",
    ),
    (
        "a misspelt field of a domain's policy",
        orchestration("routing: {domains: {a: {polcy: x}}}"),
        "3:27 orchestration.routing.domains.a.polcy",
        "did you mean 'policy'",
    ),
    ("plug-ins as a text", "mcp_servers: {}\nplugins: {disabled: redis}\n", "2:11 plugins.disabled", "expected a list"),
    ("a misspelt plug-in field", "mcp_servers: {}\nplugins: {disable: []}\n", "2:11 plugins.disable", "'disabled'"),
]


@pytest.mark.parametrize(
    ("text", "place", "words"), [pytest.param(text, place, words, id=name) for name, text, place, *words in ROWS]
)
def test_s2_a_wrong_field_is_refused_with_its_place(refused, text, place, words):
    refused(text, place, *words)


def test_numbers_that_only_look_like_octal_ones_are_read(load):
    server_ = load(server("priority: 10", "timeout: 0.5", "max_resources_read: 0")).config.mcp_servers["a"]
    assert (server_.priority, server_.timeout, server_.max_resources_read) == (10, 0.5, 0)


def test_s2_all_mistakes_are_reported_at_once_in_the_order_of_the_file(load):
    with pytest.raises(ConfigurationError) as caught:
        load(
            "plugin: 1\nmcp_servers:\n  a:\n    name: no\n    url: http://x\n    priority: 0\n    headrs: {}\n"
            "  b: {name: B, transport: stido}\norchestration: {fail_fast: 3, cache: {backend: memry}}\n"
        )
    assert [(one["line"], one["path"]) for one in caught.value.context["errors"]] == [
        (1, "plugin"),
        (4, "mcp_servers.a.name"),
        (6, "mcp_servers.a.priority"),
        (7, "mcp_servers.a.headrs"),
        (8, "mcp_servers.b.transport"),
        (9, "orchestration.fail_fast"),
    ]
    assert "6 problems" in caught.value.message
    assert caught.value.message.count("\n") == 6


def test_s2_a_flood_of_mistakes_is_cut_off_at_twenty(load):
    with pytest.raises(ConfigurationError) as caught:
        load(server(f"domains: [{'1, ' * 1000}]"))
    assert len(caught.value.context["errors"]) == 20
    assert "20 or more problems" in caught.value.message
