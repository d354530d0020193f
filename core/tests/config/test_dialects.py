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
    text = (
        '{"mcp_servers": {"a": {"name": "no", "url": "http:\\/\\/x", "domains": ["\\u00e9\\ud83d\\ude00", "1", ""]}}}'
    )
    server = load(text, "x.json").config.mcp_servers["a"]
    assert (server.name, server.url, server.domains) == ("no", "http://x", ["é😀", "1", ""])


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
