"""S2: whatever a file holds, it becomes a checked configuration or one error, within a second and without secrets."""

import copy
import json
import time
import traceback

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.errors import ConfigurationError

SECRET = "canary-4f1d9b"
NAMES = ["mcp_config.yaml", "mcp.json", "config"]

settings.register_profile("config", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

GOOD = {
    "mcp_servers": {
        "products": {
            "name": "Products",
            "url": f"https://user:{SECRET}@example.com/sse?key={SECRET}",
            "priority": 1,
            "domains": ["products", "metadata"],
            "capabilities": ["list_resources"],
            "transport": "sse",
            "timeout": 30,
            "headers": {"Authorization": f"Bearer {SECRET}"},
        },
        "files": {
            "name": "Files",
            "transport": "stdio",
            "command": "run",
            "args": ["--token", SECRET, "${SECRET}", "${UNSET:-x}"],
            "env": {"TOKEN": SECRET, "OTHER": "${SECRET}"},
            "enabled": True,
        },
        "careless": {"name": "Careless", "transport": "careless", "token": SECRET, "size": 16},
    },
    "orchestration": {
        "resource_cache_ttl": 300,
        "fail_fast": False,
        "log_level": "INFO",
        "cache": {"backend": "redis", "options": {"url": f"redis://:{SECRET}@localhost"}},
        "routing": {"policy": "weighted", "options": {"weights": {"files": 1.5}}, "domains": {"products": {}}},
    },
    "plugins": {"disabled": []},
}
THEIRS = {
    "mcpServers": {
        "remote": {
            "type": "http",
            "url": f"https://x/mcp?key={SECRET}",
            "headers": {"X": "${SECRET}"},
            "timeout": 5000,
        },
        "local": {"command": "run", "args": [SECRET], "env": {"T": SECRET}, "disabled": True, "trust": False},
    }
}


def within_a_second(load, text: str | bytes, name: str) -> LoadedConfig | ConfigurationError:
    """Load a text; the time is that of this thread alone, so that a busy machine does not count."""
    started = time.thread_time()
    try:
        return load(text, name, {"SECRET": SECRET})
    except ConfigurationError as error:
        return error
    finally:
        assert time.thread_time() - started < 1


def told_by(result: LoadedConfig | ConfigurationError) -> str:
    """Return everything that somebody may log of a result."""
    if isinstance(result, ConfigurationError):
        assert result.context["path"] in result.message
        assert 1 <= len(result.context["errors"]) <= 20
        return "".join([str(result), repr(result), repr(result.context), *traceback.format_exception(result)])
    return f"{result!r}{result}{result.config!r}{result.transports!r}{result.warnings}"


@settings(settings.get_profile("config"))
@given(text=st.one_of(st.binary(max_size=300), st.text(max_size=300)), name=st.sampled_from(NAMES))
@example(text="mcp_servers: &a {x: *a}", name=NAMES[0])
@example(text="? : ? - : -", name=NAMES[0])
@example(text='{"a": 1e999, "mcp_servers": {}}', name=NAMES[1])
@example(text="mcp_servers: {a: {name: 'A', url: '${A:-${B}}'}}", name=NAMES[0])
@example(text="\ufeff\ufeff", name=NAMES[0])
@example(text="!!timestamp 2001-99-99", name=NAMES[0])
@example(text="!!float 1:1:1", name=NAMES[0])
@example(text="!!bool maybe", name=NAMES[0])
@example(text="!!int ''", name=NAMES[0])
@example(text="!!timestamp x", name=NAMES[0])
@example(text="1:99999999999999999999999999999999999999999999999999", name=NAMES[0])
@example(text="\ud800", name=NAMES[0])
def test_s2_any_text_is_a_configuration_or_one_error(load, text, name):
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    told_by(within_a_second(load, text, name))


YAML_PIECES = st.sampled_from(
    [
        *(
            "mcp_servers",
            "mcpServers",
            "servers",
            "orchestration",
            "a",
            "name",
            "url",
            "transport",
            "args",
            "stdio",
            "no",
        ),
        *(
            ": ",
            ":",
            "- ",
            ",",
            "[",
            "]",
            "{",
            "}",
            "\n",
            "\n  ",
            "\n    ",
            "\n\t",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "!x ",
            "|\n",
        ),
        *(
            "'",
            '"',
            "\\",
            "#",
            "//",
            "/*",
            "*/",
            "---",
            "...",
            "%",
            "@",
            "`",
            "?",
            "? ",
            "~",
            "0",
            "1:2",
            "1.5e3",
            ".inf",
            "2001-01-01",
        ),
        *("${", "}", "${SECRET}", "$${", "${file:/x}", "${env:A}", "\r", "\x85", "\u2028", "\ufeff", "é", "😀", "\x00"),
    ]
)


@settings(settings.get_profile("config"))
@given(pieces=st.lists(YAML_PIECES, max_size=40), name=st.sampled_from(NAMES))
def test_s2_any_pieces_of_yaml_and_json_are_a_configuration_or_one_error(load, pieces, name):
    assert SECRET not in told_by(within_a_second(load, "".join(pieces), name))


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, member in members for found in paths(member, (*path, key)))]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        [SECRET, f"${{file:/{'x' * 9}}}", "${SECRET}", f"bad {SECRET}", "crash", "stido", "${UNSET}", "${SECRET"]
    ),
    st.lists(st.just(SECRET), max_size=2),
    st.dictionaries(st.sampled_from(["a", "name", "url", "x y", ""]), st.just(SECRET), max_size=2),
)


@st.composite
def mutations(draw: st.DrawFn) -> object:
    """A good configuration with a few members replaced, removed, renamed, moved or repeated."""
    config: dict[str, object] = copy.deepcopy(draw(st.sampled_from([GOOD, THEIRS])))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(config)[1:] or [()]))
        if not path:
            break
        holder: object = config
        for step in path[:-1]:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "remove", "rename", "move"])):
            case "replace":
                holder[path[-1]] = draw(VALUES)
            case "remove":
                del holder[path[-1]]
            case "rename" if isinstance(holder, dict):
                holder[f"{path[-1]}{draw(st.sampled_from(['s', '_', '__', ' x', 'é']))}"] = holder.pop(path[-1])
            case "rename" | "move":
                config[draw(st.sampled_from(["extra", "orchestration", "servers"]))] = holder[path[-1]]
    return config


@settings(settings.get_profile("config"), max_examples=300)
@given(config=mutations(), as_json=st.booleans())
def test_s2_a_good_configuration_with_mistakes_is_one_error_without_secrets(load, config, as_json):
    text = json.dumps(config) if as_json else yaml.safe_dump(config, allow_unicode=True)
    result = within_a_second(load, text, NAMES[1] if as_json else NAMES[0])
    # Where it is valid, a secret may have landed in a name or domain, which everybody sees.
    assert SECRET not in (told_by(result) if isinstance(result, ConfigurationError) else str(result.warnings))


@pytest.mark.parametrize("config", [GOOD, THEIRS], ids=["ours", "theirs"])
def test_the_configuration_that_is_mutated_is_good(load, config):
    result = within_a_second(load, yaml.safe_dump(config), NAMES[0])
    assert isinstance(result, LoadedConfig), result
    assert result.secrets >= {SECRET, f"Bearer {SECRET}"} - ({f"Bearer {SECRET}"} if config is THEIRS else set())
    assert SECRET not in told_by(result)


def bomb(levels: int, width: int) -> str:
    """Return a text in which each of the levels stands for the one before it several times."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join([*lines, "mcp_servers: {}"])


MEGABYTE = 1_000_000
FLOODS = {
    "one letter": "a" * MEGABYTE,
    "an open text": '"' + "x" * (MEGABYTE - 1),
    "an open list": "[" * MEGABYTE,
    "empty lists": "[" + "[]," * 300_000 + "]",
    "many keys": "".join(f"k{number}: 1\n" for number in range(90_000)),
    "many keys in a line": "{" + ", ".join(f"k{number}: 1" for number in range(80_000)) + "}",
    "one key many times": "mcp_servers:\n" + "  a: 1\n" * 100_000,
    "many servers": "mcp_servers:\n" + "".join(f"  a{number}: {{}}\n" for number in range(19_000)),
    "many fields": "mcp_servers:\n  a:\n    name: A\n" + "".join(f"    k{number}: 1\n" for number in range(19_000)),
    "many items": f"mcp_servers: {{a: {{name: A, url: http://x, domains: [{'1,' * 19_000}]}}}}",
    "many headers": f"mcp_servers: {{a: {{name: A, headers: {{{','.join(f'k{n}: 1' for n in range(19_000))}}}}}}}",
    "many unknown transports": "mcp_servers:\n"
    + "".join(f"  a{n}: {{name: n{n}, url: http://x, transport: ss{n}}}\n" for n in range(4_900)),
    "many misspelt fields": "mcp_servers:\n"
    + "".join(f"  a{n}: {{name: n{n}, url: http://x, prioritty: 3}}\n" for n in range(4_900)),
    "many misspelt words": "mcp_servers:\n"
    + "".join(f"  a{n}: {{name: n{n}, url: http://x, mode: legac{n}}}\n" for n in range(4_900)),
    "many unknown policies": "mcp_servers: {}\norchestration:\n  routing:\n    domains:\n"
    + "".join(f"      d{n}: {{policy: priorit{n}}}\n" for n in range(9_000)),
    "many options of policies": "mcp_servers: {}\norchestration:\n  routing:\n    domains:\n"
    + "".join(f"      d{n}: {{policy: weighted, options: {{weight{n}: 1}}}}\n" for n in range(4_900)),
    "many options of a backend": "mcp_servers: {}\norchestration:\n  cache:\n    options:\n"
    + "".join(f"      max_entrie{n}: 1\n" for n in range(19_000)),
    "many dashes": "- " * 500_000,
    "many lines of dashes": "-\n" * 500_000,
    "many questions": "? " * 500_000,
    "many documents": "---\n" * 250_000,
    "many anchors": "".join(f"- &a{number} x\n" for number in range(60_000)),
    "many comments": "# x\n" * 250_000,
    "deep blocks": "".join(f"{' ' * level}a:\n" for level in range(1_400)),
    "a long number": "mcp_servers: " + "9" * 900_000,
    "a long time": "mcp_servers: " + "1:" * 400_000 + "1",
    "a long key": "? " + "a" * 900_000 + "\n: b",
    "a long transport": f"mcp_servers: {{a: {{name: A, transport: {'stdi' * 200_000}}}}}",
    "a long level": f"mcp_servers: {{}}\norchestration: {{log_level: {'DEBU' * 200_000}}}",
    "a long name": f"mcp_servers: {{a: {{name: {'ab' * 400_000}, url: x}}}}",
    "many placeholders": f"mcp_servers: {{a: {{name: A, url: '{'${SECRET}' * 90_000}'}}}}",
    "many open placeholders": f"mcp_servers: {{a: {{name: A, url: '{'${' * 400_000}'}}}}",
    "a bomb": bomb(12, 9),
    "a flat bomb": bomb(3, 4_000),
    "a tall bomb": bomb(400, 2),
    "open comments": "/*" * 500_000,
    "slashes": "/" * MEGABYTE,
    "backslashes": '{"' + "\\" * (MEGABYTE - 3),
}


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("text", [pytest.param(text, id=kind) for kind, text in FLOODS.items()])
def test_s2_a_megabyte_of_anything_is_refused_within_a_second(load, text, name):
    assert len(text) <= MEGABYTE
    result = within_a_second(load, text, name)
    assert isinstance(result, ConfigurationError)
    assert len(str(result)) < 10_000
    told_by(result)


def domains(declared: list[str], routed: list[str]) -> str:
    routing = {"domains": {domain: {} for domain in routed}}
    server = {"name": "A", "url": "http://x", "domains": declared}
    return json.dumps({"mcp_servers": {"a": server}, "orchestration": {"routing": routing}})


LIKELY = "abcdefghij" * 4
MANY_HINTS = {
    "many domains that no server declares": domains(
        [f"dom{number}abc" for number in range(6_000)], [f"dim{number}abc" for number in range(6_000)]
    ),
    "domains that differ little": domains(
        [f"{LIKELY[: number % 30]}{number}{LIKELY[:9]}" for number in range(200)],
        [f"{LIKELY[: number % 30]}{number}x{LIKELY[:8]}" for number in range(6_000)],
    ),
    "long domains": domains(["ab" * 200_000], ["ba" * 200_000]),
    "another client's fields": json.dumps(
        {"mcpServers": {f"a{n}": {"command": "x", f"commnad{n}": 1, "z": 2} for n in range(4_900)}}
    ),
    "another client's many fields": json.dumps(
        {"mcpServers": {"a": {"command": "x"} | dict.fromkeys(map(str, range(19_000)))}}
    ),
    "another client's sections": json.dumps({"mcpServers": {}} | {f"plugin{n}": 1 for n in range(19_000)}),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=kind) for kind, text in MANY_HINTS.items()])
def test_s2_a_flood_of_what_is_only_warned_about_is_read_within_a_second(load, text):
    result = within_a_second(load, text, NAMES[1])
    assert isinstance(result, LoadedConfig)
    assert max(map(len, result.warnings), default=0) < 10_000


def test_no_more_than_twenty_unknown_domains_are_named(load):
    config = domains(["products"], ["prodcts", *(f"d{number}" for number in range(30))])
    warnings = load(config, NAMES[1]).warnings
    assert len(warnings) == 21
    assert warnings[0].endswith("prodcts: no server declares this domain; did you mean 'products'?")
    assert warnings[20] == "orchestration.routing.domains: 11 more domains that no server declares"
    assert len(load(domains([], [f"d{number}" for number in range(20)]), NAMES[1]).warnings) == 20


def test_a_thousand_servers_are_not_too_many(load):
    config = {
        "mcp_servers": {
            f"server-{number}": {"name": f"Server {number}", "url": f"http://host-{number}/sse", "domains": ["a", "b"]}
            for number in range(1_000)
        }
    }
    assert len(load(yaml.safe_dump(config)).transports) == 1_000
