"""S6: what ``${…}`` stands for, where, and what may never be told of it."""

import traceback
from base64 import b64encode

import pytest
from mcp_orchestra.errors import ConfigurationError

ENVIRON = {"A": "alpha", "EMPTY": "", "NESTED": "${A}", "N": "7", "F": "2.5", "YES": "yes", "workspaceFolder_": "x"}


def document(*lines: str) -> str:
    """Return a document with one stdio server and these further lines, the first of which is line 6."""
    start = "mcp_servers:\n  a:\n    name: A\n    transport: stdio\n    command: x\n"
    return start + "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def expanded(load, tmp_path):
    """Return what a value becomes: ``expanded(value)``."""
    (tmp_path / "secret").write_bytes(b"from file\n")

    def expand(value: str) -> str:
        loaded = load(document(f"cwd: '{value.replace('<tmp>', str(tmp_path))}'"), environ=ENVIRON)
        return loaded.transports["a"].options.cwd

    return expand


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("${A}", "alpha"),
        ("${env:A}", "alpha"),
        ("x-${A}-y-${A}", "x-alpha-y-alpha"),
        ("${A:-other}", "alpha"),
        ("${UNSET:-other}", "other"),
        ("${env:UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-http://x/y?z}", "http://x/y?z"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("$${A}", "${A}"),
        ("$${A}${A}", "${A}alpha"),
        ("$$${A}", "$alpha"),
        ("$$$${A}", "$${A}"),
        ("$$$$${A}", "$$alpha"),
        ("$${A${A}}", "${Aalpha}"),
        ("$$A $A $", "$$A $A $"),
        ("{A} }{", "{A} }{"),
        ("${NESTED}", "${A}"),
        ("${UNSET:-$A}", "$A"),
        ("${file:<tmp>/secret}", "from file"),
        ("a ${file:<tmp>/secret} b", "a from file b"),
    ],
)
def test_s6_a_placeholder_stands_for(expanded, value, result):
    assert expanded(value) == result


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        (b"x\r", "x"),
        (b" x ", " x "),
        (b"\xef\xbb\xbfx", "x"),
        (b"", ""),
    ],
)
def test_s6_a_secret_file_loses_one_final_line_break_only(load, tmp_path, content, result):
    (tmp_path / "secret").write_bytes(content)
    loaded = load(document(f"cwd: '${{file:{tmp_path}/secret}}'"))
    assert loaded.transports["a"].options.cwd == result


def test_s6_a_relative_file_starts_at_the_folder_of_the_configuration(load, plugins, tmp_path):
    from mcp_orchestra.config.loader import load_config

    (tmp_path / "secret").write_text("here")
    (tmp_path / "mcp_config.yaml").write_text(document("cwd: '${file:secret}'"))
    assert load_config(tmp_path / "mcp_config.yaml", plugins=plugins).transports["a"].options.cwd == "here"


def test_s6_keys_are_never_expanded(load):
    loaded = load(document("env: {'${A}': '${A}'}"), environ=ENVIRON)
    assert loaded.transports["a"].options.env == {"${A}": "alpha"}


def test_s6_values_everywhere_are_expanded(load):
    loaded = load(
        "mcp_servers:\n  a: {name: 'n ${A}', url: 'http://${A}/sse', domains: ['${A}']}\n"
        "orchestration: {log_level: '${L:-debug}', cache: {backend: '${B:-memory}'}}\n",
        environ=ENVIRON,
    )
    server = loaded.config.mcp_servers["a"]
    assert (server.name, server.url, server.domains) == ("n alpha", "http://alpha/sse", ["alpha"])
    assert loaded.config.orchestration.log_level == "DEBUG"
    assert loaded.cache_backend.spec.name == "memory"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("priority: ${N}", 7),
        ("priority: '${N}'", 7),
        ("priority: ${UNSET:-9}", 9),
        ("timeout: ${F}", 2.5),
        ("timeout: ${N}", 7),
        ("enabled: ${YES}", True),
        ("enabled: ${UNSET:-off}", False),
        ("name: ${N}", "7"),
    ],
)
def test_s6_a_whole_placeholder_becomes_the_number_or_boolean_that_its_field_wants(load, field, expected):
    key = field.partition(":")[0]
    text = document(field) if key != "name" else document().replace("name: A", field)
    value = getattr(load(text, environ=ENVIRON).config.mcp_servers["a"], key)
    assert value == expected
    assert type(value) is type(expected)


def test_s6_a_whole_placeholder_becomes_what_a_field_of_the_transport_wants(load):
    options = load(document("umask: ${N}", "nice: ${F}", "args: ['${N}']"), environ=ENVIRON).transports["a"].options
    assert (options.umask, options.nice, options.args) == (7, 2.5, ["7"])


@pytest.mark.parametrize(
    ("field", "path", "words"),
    [
        ("priority: ${A}", "priority", ("expected a whole number", "other text for ${…}")),
        ("priority: 1${N}", "priority", ("expected a whole number, got text",)),
        ("priority: ${BIG:-1000}", "priority", ("999 or less",)),
        ("timeout: ${UNSET:-nan}", "timeout", ("expected",)),
        ("umask: ${F}", "umask", ("expected a whole number", "other text for ${…}")),
        ("cwd: ${UNSET}", "cwd", ("environment variable UNSET is not set", "${UNSET:-default}")),
        ("cwd: ${env:UNSET}", "cwd", ("environment variable UNSET is not set",)),
        ("cwd: ${input:canary}", "cwd", ("${input:…}", "editor", "${NAME}")),
        ("cwd: ${workspaceFolder}", "cwd", ("only an editor knows workspaceFolder",)),
        ("cwd: ${config:canary}", "cwd", ("only an editor",)),
        ("cwd: '${}'", "cwd", ("not a placeholder", "$${ for a literal")),
        ("cwd: '${canary key}'", "cwd", ("not a placeholder",)),
        ("cwd: '${secret:canary}'", "cwd", ("not a placeholder", "${file:/path}")),
        ("cwd: '${file:}'", "cwd", ("not a placeholder",)),
        ("cwd: '${A'", "cwd", ("without its }",)),
        ("cwd: '${UNSET:-${A}}'", "cwd", ("inside another",)),
        ("cwd: ${file:/nowhere/x}", "cwd", ('the file "/nowhere/x" does not exist',)),
        ("cwd: ${file:/tmp}", "cwd", ('the file "/tmp" is a directory',)),
        ("cwd: ${file:/dev/zero}", "cwd", ('the file "/dev/zero" is not a regular file',)),
    ],
)
def test_s6_what_cannot_be_put_in_is_an_error_that_names_the_field(refused, field, path, words):
    refused(document(field), f"6:5 mcp_servers.a.{path}", *words, environ=ENVIRON)


@pytest.mark.parametrize(("content", "reason"), [(b"\xff", "not UTF-8"), (b"x" * 70_000, "larger than 65 536 bytes")])
def test_s6_a_secret_file_that_cannot_be_used_is_named_with_its_field(refused, tmp_path, content, reason):
    (tmp_path / "secret").write_bytes(content)
    refused(document(f"cwd: ${{file:{tmp_path}/secret}}"), "6:5 mcp_servers.a.cwd", f"{tmp_path}/secret", reason)


def test_s6_a_variable_that_is_not_utf8_is_named(refused):
    refused(document("cwd: ${BYTES}"), "6:5 mcp_servers.a.cwd", "BYTES is not UTF-8", environ={"BYTES": "\udcff"})


def test_s6_every_unset_variable_is_reported_at_once(load):
    with pytest.raises(ConfigurationError) as caught:
        load(document("cwd: ${ONE}", "args: ['${TWO}', '${A}', 'x${THREE}']"), environ=ENVIRON)
    assert [one["path"] for one in caught.value.context["errors"]] == [
        "mcp_servers.a.cwd",
        "mcp_servers.a.args[0]",
        "mcp_servers.a.args[2]",
    ]


def test_s6_a_small_file_cannot_stand_for_gigabytes(refused):
    refused(document(f"cwd: {'${BIG}' * 100}"), "6:5 mcp_servers.a.cwd", "characters", environ={"BIG": "x" * 100_000})


def test_s6_what_was_put_in_is_secret_wherever_it_may_be_one(load):
    environ = {name: f"{name.lower()}-value" for name in ("TOKEN", "ARG", "HOST", "NAME", "DOMAIN", "PW")}
    loaded = load(
        "mcp_servers:\n"
        "  a:\n    name: ${NAME}\n    url: https://${HOST}/x\n    domains: ['${DOMAIN}']\n"
        "    headers: {Authorization: 'Bearer ${TOKEN}'}\n"
        "  b: {name: B, transport: stdio, command: x, args: ['--key=${ARG}']}\n"
        "orchestration: {cache: {backend: redis, options: {url: 'redis://:${PW}@h'}}}\n",
        environ=environ,
    )
    assert loaded.secrets >= {environ[name] for name in ("TOKEN", "ARG", "HOST", "PW")}
    assert loaded.secrets.isdisjoint({environ["NAME"], environ["DOMAIN"]})


def test_secrets_that_are_written_out_are_known_too(load):
    loaded = load(
        "mcp_servers:\n"
        "  a:\n    name: A\n    url: https://us%65r:p%40ss@h/x?key=k%20ey&flag=true#frag\n"
        "    headers: {Authorization: Bearer abc, X-Key: def}\n"
        "  b: {name: B, transport: stdio, command: run, args: [--verbose], env: {TOKEN: ghi, MODE: 'true'}}\n"
        "  c: {name: C, transport: anything, auth: {client_secret: jkl, kind: basic}}\n"
        "orchestration: {cache: {backend: redis, options: {url: 'redis://:mno@h'}}}\n"
    )
    assert loaded.secrets >= {"us%65r", "user", "p%40ss", "p@ss", "k%20ey", "k ey", "frag"}
    assert loaded.secrets >= {"Bearer abc", "abc", "def", "ghi", "jkl", "mno"}
    assert loaded.secrets.isdisjoint({"", "true", "run", "--verbose", "basic", "h", "A"})


@pytest.mark.parametrize(
    ("variable", "value", "secrets"),
    [
        ("HTTPS_PROXY", "http://user:p%40ss@proxy:3128", {"p%40ss", "p@ss", b64encode(b"user:p@ss").decode()}),
        ("http_proxy", "user:pass/wo@rd@proxy:3128", {"pass/wo@rd"}),
        ("ALL_PROXY", "socks5://a-token@proxy", {"a-token"}),
    ],
)
def test_s6_the_password_of_a_proxy_that_the_environment_names_is_known_too(
    load, monkeypatch, variable, value, secrets
):
    monkeypatch.setenv(variable, value)
    loaded = load("mcp_servers:\n  a: {name: A, url: 'http://h/x'}\n")
    assert loaded.secrets >= secrets
    assert loaded.secrets.isdisjoint({"user", "proxy", "proxy:3128"})


def test_s6_no_repr_of_what_is_loaded_tells_a_secret(load):
    loaded = load(
        "mcp_servers:\n"
        "  a: {name: A, url: 'https://u:${T}@${T}.example/${T}/x?k=${T}', headers: {A: '${T}'}}\n"
        "  c: {name: C, url: 'https://hooks.example/canary/sse'}\n"
        "  b: {name: B, transport: stdio, command: x, args: ['${T}'], env: {A: '${T}'}}\n"
        "orchestration:\n"
        "  cache: {backend: redis, options: {url: 'redis://:${T}@h'}}\n"
        "  routing: {policy: weighted, options: {weights: {a: 1.5}}}\n",
        environ={"T": "canary"},
    )
    assert loaded.transports["b"].options.args == ["canary"]
    config = loaded.config
    for shown in (
        loaded,
        config,
        config.mcp_servers["a"],
        config.orchestration,
        loaded.transports,
        loaded.cache_backend,
    ):
        assert "canary" not in f"{shown!r}{shown}"
    assert "weights" in repr(config)
    assert "1.5" not in repr(config)


@pytest.mark.parametrize("value", ["${T}", "x-${T}-y"])
def test_s6_no_validator_of_a_plugin_tells_what_was_put_in(refused, value):
    refused(
        f"mcp_servers:\n  a:\n    name: A\n    transport: telling\n    label: '{value}'\n",
        "5:5 mcp_servers.a.label",
        "this is not valid here",
        environ={"T": "yranac"},
    )


def test_s6_no_error_tells_a_secret_that_was_put_in(load):
    with pytest.raises(ConfigurationError) as caught:
        load(
            "mcp_servers:\n"
            "  a: {name: A, url: 'ftp://${T}', headers: '${T}', priority: '${T}', mode: '${T}', zzz: '${T}'}\n"
            "  b: {name: B, transport: '${T}'}\n"
            "  c: {name: C, transport: careless, token: 'bad ${T}', when: '${T}'}\n"
            "orchestration: {log_level: '${T}', fail_fast: '${T}', routing: {policy: '${T}'}}\n",
            environ={"T": "canary-4f1d9b"},
        )
    assert len(caught.value.context["errors"]) >= 10
    told = [caught.value.message, repr(caught.value), caught.value.context, *traceback.format_exception(caught.value)]
    assert "canary" not in str(told)
