"""S7: the files of other clients are read as those write them."""

import json
from pathlib import Path

import pytest

CLAUDE_DESKTOP = """
{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "C:\\\\Users\\\\me\\\\Desktop"]
    },
    "github": {
      "command": "docker",
      "args": ["run", "-i", "--rm", "-e", "GITHUB_PERSONAL_ACCESS_TOKEN", "ghcr.io/github/github-mcp-server"],
      "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_something"}
    }
  },
  "preferences": {"menuBarEnabled": false}
}
"""

CLAUDE_CODE = """
{
  "mcpServers": {
    "sentry": {"type": "http", "url": "https://mcp.sentry.dev/mcp"},
    "asana": {"type": "sse", "url": "https://mcp.asana.com/sse"},
    "api": {
      "type": "http",
      "url": "${API_BASE_URL:-https://api.example.com}/mcp",
      "headers": {"Authorization": "Bearer ${API_KEY}"}
    },
    "db": {
      "type": "stdio",
      "command": "npx",
      "args": ["-y", "@bytebase/dbhub", "--dsn", "postgresql://readonly:pass@prod:5432/analytics"],
      "env": {}
    }
  }
}
"""

CURSOR = """
{
  "mcpServers": {
    "Framelink MCP for Figma": {
      "command": "npx",
      "args": ["-y", "figma-developer-mcp", "--stdio"],
      "env": {"FIGMA_API_KEY": "${env:FIGMA_API_KEY}"}
    },
    "linear": {"url": "https://mcp.linear.app/sse"},
    "notion": {"url": "https://mcp.notion.com/mcp", "headers": {"X-Key": "${env:NOTION}"}, "disabled": true}
  }
}
"""

VS_CODE = """
// Settings of this workspace
{
  "inputs": [
    {"type": "promptString", "id": "perplexity-key", "description": "API Key", "password": true,},
  ],
  "servers": {
    /* local */
    "Perplexity": {
      "type": "stdio",
      "command": "npx", // needs node
      "args": ["-y", "server-perplexity-ask", "https://not//a/comment"],
      "env": {"PERPLEXITY_API_KEY": "${env:PERPLEXITY_API_KEY}"},
    },
    "microsoft/playwright": {"command": "npx", "args": ["@playwright/mcp@latest"], "gallery": true, "version": "0.0.1"},
    "github": {"type": "http", "url": "https://api.githubcopilot.com/mcp/"},
  },
}
"""

GEMINI = """
{
  "theme": "GitHub",
  "selectedAuthType": "oauth-personal",
  "mcp": {"allowed": ["pythonTools"]},
  "mcpServers": {
    "pythonTools": {
      "command": "python",
      "args": ["-m", "my_mcp_server", "--port", "8080"],
      "cwd": "./mcp-servers/python",
      "env": {"DATABASE_URL": "$DB_CONNECTION_STRING"},
      "timeout": 15000,
      "trust": true
    },
    "httpServer": {
      "httpUrl": "http://localhost:3000/sse",
      "headers": {"X-Custom-Header": "custom-value"},
      "timeout": 5000,
      "includeTools": ["safe_tool"]
    },
    "sseServer": {"url": "http://localhost:8080/sse", "timeout": 45}
  }
}
"""


def transports(loaded) -> dict[str, str]:
    return {server_id: bound.spec.name for server_id, bound in loaded.transports.items()}


def test_s7_claude_desktop(load):
    loaded = load(CLAUDE_DESKTOP, "claude_desktop_config.json")
    assert transports(loaded) == {"filesystem": "stdio", "github": "stdio"}
    assert loaded.transports["filesystem"].options.args[2] == "C:\\Users\\me\\Desktop"
    assert loaded.transports["github"].options.env == {"GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_something"}
    assert "ghp_something" in loaded.secrets
    assert loaded.warnings == ()


def test_s7_claude_code(load):
    loaded = load(CLAUDE_CODE, ".mcp.json", environ={"API_KEY": "k-123"})
    assert transports(loaded) == {"sentry": "streamable-http", "asana": "sse", "api": "streamable-http", "db": "stdio"}
    assert loaded.config.mcp_servers["api"].url == "https://api.example.com/mcp"
    assert loaded.transports["api"].options.headers == {"Authorization": "Bearer k-123"}
    assert loaded.transports["db"].options.env == {}


def test_s7_cursor(load):
    loaded = load(CURSOR, "mcp.json", environ={"FIGMA_API_KEY": "f-1", "NOTION": "n-1"})
    assert transports(loaded) == {"Framelink_MCP_for_Figma": "stdio", "linear": "sse", "notion": "streamable-http"}
    servers = loaded.config.mcp_servers
    assert servers["Framelink_MCP_for_Figma"].name == "Framelink MCP for Figma"
    assert [server.enabled for server in servers.values()] == [True, True, False]
    assert loaded.warnings == (
        'mcpServers["Framelink MCP for Figma"] (line 4): its id here is "Framelink_MCP_for_Figma"',
    )


def test_s7_vs_code_with_comments_and_trailing_commas(load):
    loaded = load(VS_CODE, "mcp.json", environ={"PERPLEXITY_API_KEY": "p-1"})
    assert transports(loaded) == {"Perplexity": "stdio", "microsoft_playwright": "stdio", "github": "streamable-http"}
    assert loaded.transports["Perplexity"].options.args[2] == "https://not//a/comment"
    assert loaded.warnings == (
        'servers["microsoft/playwright"] (line 15): its id here is "microsoft_playwright"',
        'servers["microsoft/playwright"] (line 15): not used here: gallery, version',
    )


def test_s7_gemini_cli(load):
    loaded = load(GEMINI, "settings.json")
    assert transports(loaded) == {"pythonTools": "stdio", "httpServer": "streamable-http", "sseServer": "sse"}
    assert loaded.transports["pythonTools"].options.cwd == "./mcp-servers/python"
    assert [server.timeout for server in loaded.config.mcp_servers.values()] == [15, 5, 45]
    milliseconds = "1000 or more is taken for milliseconds; here a timeout is in seconds"
    assert loaded.warnings == (
        "mcpServers.pythonTools (line 7): not used here: trust",
        f"mcpServers.pythonTools.timeout (line 12): {milliseconds}",
        "mcpServers.httpServer (line 15): not used here: includeTools",
        f"mcpServers.httpServer.timeout (line 18): {milliseconds}",
    )


def test_s7_our_fields_may_be_given_there_and_have_defaults(load):
    loaded = load(
        json.dumps(
            {
                "mcpServers": {
                    "a": {"command": "x"},
                    "b": {
                        "command": "x",
                        "name": "Bee",
                        "priority": 5,
                        "domains": ["d"],
                        "capabilities": ["c"],
                        "timeout": 2.5,
                        "request_timeout": 9,
                        "max_pages": 3,
                        "mode": "legacy",
                        "enabled": False,
                    },
                },
                "orchestration": {"fail_fast": False},
                "plugins": {"disabled": ["x"]},
            }
        ),
        ".mcp.json",
    )
    a, b = loaded.config.mcp_servers.values()
    assert (a.name, a.priority, a.domains, a.capabilities, a.timeout, a.enabled) == ("a", 100, [], [], 30, True)
    assert (b.name, b.priority, b.domains, b.capabilities, b.timeout) == ("Bee", 5, ["d"], ["c"], 2.5)
    assert (b.request_timeout, b.max_pages, b.mode, b.enabled) == (9, 3, "legacy", False)
    assert loaded.config.orchestration.fail_fast is False
    assert loaded.config.plugins.disabled == ["x"]


@pytest.mark.parametrize(
    ("fields", "transport"),
    [
        ({"command": "x"}, "stdio"),
        ({"command": "x", "type": "stdio"}, "stdio"),
        ({"url": "http://h/mcp"}, "streamable-http"),
        ({"url": "http://h/sse"}, "sse"),
        ({"url": "http://h/sse/?token=/x"}, "sse"),
        ({"url": "http://h/mcp?next=/sse"}, "streamable-http"),
        ({"url": "http://h/assess"}, "streamable-http"),
        ({"url": "${BASE:-http://h}/sse"}, "sse"),
        ({"serverUrl": "http://h/mcp"}, "streamable-http"),
        ({"httpUrl": "http://h/sse"}, "streamable-http"),
        ({"url": "http://h/sse", "type": "http"}, "streamable-http"),
        ({"url": "http://h/sse", "type": "streamable-http"}, "streamable-http"),
        ({"url": "http://h/sse", "type": "streamableHttp"}, "streamable-http"),
        ({"url": "http://h/sse", "transport": "streamable_http"}, "streamable-http"),
        ({"url": "http://h/mcp", "type": "sse"}, "sse"),
        ({"url": "tcp://h", "type": "tcp"}, "tcp"),
    ],
)
@pytest.mark.parametrize("root", ["mcpServers", "servers"])
def test_s7_the_transport_is_told_or_inferred(load, root, fields, transport):
    assert transports(load(json.dumps({root: {"a": fields}}), ".mcp.json")) == {"a": transport}


@pytest.mark.parametrize(("disabled", "enabled"), [(True, False), (False, True), ("${OFF}", False)])
def test_s7_disabled_is_the_opposite_of_enabled(load, disabled, enabled):
    text = json.dumps({"mcpServers": {"a": {"command": "x", "disabled": disabled}}})
    assert load(text, ".mcp.json", environ={"OFF": "true"}).config.mcp_servers["a"].enabled is enabled


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(999, 999), (1000, 1), (1500, 1.5), (60_000, 60), (0.5, 0.5), ("${T}", 20)]
)
def test_s7_a_timeout_of_1000_or_more_is_in_milliseconds(load, timeout, seconds):
    text = json.dumps({"mcpServers": {"a": {"command": "x", "timeout": timeout}}})
    loaded = load(text, ".mcp.json", environ={"T": "20000"})
    assert loaded.config.mcp_servers["a"].timeout == seconds
    assert bool(loaded.warnings) is (seconds != timeout)


def test_a_timeout_in_the_documents_shape_is_always_in_seconds(load):
    loaded = load("mcp_servers: {a: {name: A, url: http://x, timeout: 1500}}")
    assert loaded.config.mcp_servers["a"].timeout == 1500
    assert loaded.warnings == ()


@pytest.mark.parametrize("text", [CLAUDE_DESKTOP, CLAUDE_CODE, CURSOR, GEMINI])
def test_s7_other_clients_files_may_be_yaml_as_well(load, text):
    environ = {"API_KEY": "k", "FIGMA_API_KEY": "f", "NOTION": "n"}
    assert transports(load(text, "mcp.yaml", environ)) == transports(load(text, "mcp.json", environ))


def test_s7_the_documents_shape_may_be_json_as_well(load):
    config = {"mcp_servers": {"a": {"name": "A", "url": "http://x/sse"}}, "orchestration": {"max_retries": 1}}
    loaded = load(json.dumps(config), "mcp.json")
    assert transports(loaded) == {"a": "sse"}
    assert loaded.config.orchestration.max_retries == 1


@pytest.mark.parametrize("name", ["config", "mcp.conf"])
@pytest.mark.parametrize("text", [VS_CODE.replace("${env:", "${A:-"), "servers:\n  a: {command: x}\n"])
def test_a_file_with_another_ending_is_told_by_its_first_character(load, name, text):
    assert "stdio" in transports(load(text, name)).values()


def test_json_keeps_what_yaml_would_take_otherwise(load):
    text = '{"mcp_servers": {"a": {"name": "no", "url": "http:\\/\\/x", "domains": ["\\u00e9\\ud83d\\ude00", "1"]}}}'
    server = load(text, "x.json").config.mcp_servers["a"]
    assert (server.name, server.url, server.domains) == ("no", "http://x", ["é😀", "1"])


@pytest.mark.parametrize(("number", "value"), [("5", 5), ("5.0", 5.0), ("1e1", 10.0), ("25e-1", 2.5)])
def test_json_numbers(load, number, value):
    text = f'{{"mcp_servers": {{"a": {{"name": "A", "url": "http://x", "timeout": {number}}}}}}}'
    assert load(text, "x.json").config.mcp_servers["a"].timeout == value


def test_the_documents_own_example_is_read(load, tmp_path: Path):
    import yaml

    config = {
        "mcp_servers": {
            "custom_server": {
                "name": "Custom MCP",
                "url": "http://localhost:9000/sse",
                "priority": 1,
                "domains": ["custom"],
                "capabilities": ["special_query"],
                "transport": "sse",
                "timeout": 60,
            }
        },
        "orchestration": {
            "resource_cache_ttl": 600,
            "fail_fast": False,
            "enable_logging": True,
            "log_level": "DEBUG",
            "max_retries": 5,
        },
    }
    loaded = load(yaml.dump(config))
    assert (
        loaded.config.mcp_servers["custom_server"].model_dump(exclude_unset=True)
        == config["mcp_servers"]["custom_server"]
    )
    assert loaded.config.orchestration.model_dump(exclude_unset=True) == config["orchestration"]


CLAUDE_STATE = """
{
  "numStartups": 184,
  "tipsHistory": {"${UNSET}": "${UNSET}"},
  "projects": {"/p": {"mcpServers": {}}},
  "oauthAccount": {"emailAddress": "a@b"},
  "mcpServers": {"gh": {"type": "http", "url": "https://api.githubcopilot.com/mcp/"}}
}
"""

SETTINGS = """
{
  "editor.fontSize": 12, // the user's settings of VS Code
  "mcp": {"inputs": [], "servers": {"a": {"command": "x", "env": {"TOKEN": "${TOKEN}"}, "args": ["${ARG}"]}}}
}
"""


def test_s7_what_another_client_keeps_beside_its_servers_is_its_own(load):
    loaded = load(CLAUDE_STATE, ".claude.json")
    assert transports(loaded) == {"gh": "streamable-http"}
    assert loaded.warnings == ()


def test_s7_a_misspelt_section_of_ours_in_another_clients_file_is_warned_about(load):
    loaded = load('{"servers": {},\n"orchestraton": {"fail_fast": false}}', "mcp.json")
    assert loaded.warnings == ("orchestraton (line 2): not used here; did you mean 'orchestration'?",)


def test_s7_the_settings_of_vs_code(load):
    loaded = load(SETTINGS, "settings.json", environ={"TOKEN": "t-123", "ARG": "a-123"})
    assert transports(loaded) == {"a": "stdio"}
    assert loaded.transports["a"].options.env == {"TOKEN": "t-123"}
    assert loaded.secrets >= {"t-123", "a-123"}
    assert loaded.warnings == ()


def server(load, environ=None, **fields):
    """Load one server of another client's file; return its options and the warnings, but for the place."""
    loaded = load(json.dumps({"mcpServers": {"a": fields}}), "mcp.json", environ=environ)
    warnings = [warning.removeprefix("mcpServers.a (line 1): ") for warning in loaded.warnings]
    return loaded.transports["a"].options, warnings


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"oauth": {"clientId": "c"}}, "oauth (the server is reached without it)"),
        ({"auth": {"CLIENT_ID": "c"}}, "auth (the server is reached without it)"),
        ({"authProviderType": "google_credentials"}, "authProviderType (the server is reached without it)"),
        ({"headersHelper": "/opt/x.sh"}, "headersHelper (the server is reached without it)"),
        ({"env": {"A": "b"}}, "env (its variables are not set)"),
        ({"trust": True, "alwaysAllow": []}, "trust, alwaysAllow"),
        ({"prioritty": 5}, "prioritty (did you mean 'priority'?)"),
        ({"what ever\n": 5}, '"what ever\\n"'),
    ],
)
def test_s7_a_field_that_nobody_knows_is_left_out_and_said(load, fields, warning):
    options, warnings = server(load, url="http://x/mcp", headers={"A": "b"}, **fields)
    assert (options.url, options.headers) == ("http://x/mcp", {"A": "b"})
    assert warnings == [f"not used here: {warning}"]


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"envFile": "${workspaceFolder}/.env"}, "envFile (its variables are not set)"),
        ({"sandboxEnabled": True}, "sandboxEnabled (the server is not confined)"),
        ({"headers": {"A": "b"}}, "headers (the server is reached without it)"),
        ({"dev": {"watch": "x"}, "watchPaths": ["/x"], "network": {}}, "dev, watchPaths, network"),
    ],
)
def test_s7_a_field_that_nobody_knows_of_a_process_is_left_out_and_said(load, fields, warning):
    options, warnings = server(load, command="x", args=["a"], **fields)
    assert (options.command, options.args) == ("x", ["a"])
    assert warnings == [f"not used here: {warning}"]


def test_s7_what_is_left_out_needs_no_variable_and_no_plugin_that_knows_it(load):
    options, warnings = server(load, command="x", env={"A": "${A}"}, oauth="${UNSET}", environ={"A": "b"})
    assert options.env == {"A": "b"}
    assert len(warnings) == 1


def test_s7_many_unknown_fields_are_one_short_warning(load):
    _, warnings = server(load, command="x", **{f"f{number}": 1 for number in range(25)})
    assert warnings == [f"not used here: {', '.join(f'f{number}' for number in range(20))}, and 5 more"]


def test_s7_variables_may_be_any_scalar(load):
    environment = {"A": 1, "B": None, "C": True, "D": 1.5, "E": "e"}
    options, warnings = server(load, command="x", args=None, env=environment)
    assert options.env == {"A": "1", "C": "true", "D": "1.5", "E": "e"}
    assert (options.args, warnings) == ([], [])
    loaded = load("mcpServers: {a: {command: x, env: {A: no, B: 5}}}", "mcp.yaml")
    assert loaded.transports["a"].options.env == {"A": "no", "B": "5"}


def test_s2_in_the_documents_shape_an_unknown_field_stays_an_error(refused):
    refused("mcp_servers:\n  a:\n    name: A\n    url: http://x\n    oauth: {}\n", "5:5 mcp_servers.a.oauth", "unknown")
    refused("mcp_servers: {}\nnumStartups: 5\n", "2:1 numStartups", "unknown field")


def test_s7_a_server_is_not_expanded_twice(load):
    options, _ = server(load, url="http://$${A}/sse", headers={"A": "$${A}", "B": "${B}"}, environ={"B": "${A}"})
    assert (options.url, options.headers) == ("http://${A}/sse", {"A": "${A}", "B": "${A}"})
