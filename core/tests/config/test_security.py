"""What a configuration allows its servers: programs to start, networks to lead to, credentials to show."""

import pytest
from mcp_orchestra.config.loader import bind_config
from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.errors import ConfigurationError
from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra.types import TransportSpec

LISTED = ["npx", "/usr/bin/python3"]


def config(server: dict[str, object], **security: object) -> MCPConfig:
    return MCPConfig.model_validate(
        {"mcp_servers": {"a": {"name": "A", **server}}, "orchestration": {"security": security}}
    )


@pytest.mark.parametrize("command", LISTED)
def test_a_command_on_the_list_may_be_started(command):
    bind_config(config({"transport": "stdio", "command": command}, allowed_commands=LISTED))


def test_without_a_list_any_command_may_be_started():
    bind_config(config({"transport": "stdio", "command": "anything"}))


@pytest.mark.parametrize(
    "command",
    ["sh", "./npx", "/tmp/npx", "npx ", "NPX", "/usr/bin/../bin/python3", "python3", "npx; rm -rf /", "npx\n"],
)
def test_any_other_command_is_refused_naming_the_field_and_the_rule(command):
    with pytest.raises(ConfigurationError) as caught:
        bind_config(config({"transport": "stdio", "command": command}, allowed_commands=LISTED))
    (error,) = caught.value.context["errors"]
    assert error["path"] == "mcp_servers.a.command"
    assert "orchestration.security.allowed_commands" in error["message"]
    assert 'npx, "/usr/bin/python3"' in error["message"]


def test_an_empty_list_allows_none_not_even_to_a_disabled_server():
    server = {"transport": "stdio", "command": "npx", "enabled": False}
    with pytest.raises(ConfigurationError, match=r"allowed_commands.*none"):
        bind_config(config(server, allowed_commands=[]))


def test_a_server_that_starts_nothing_is_none_of_the_list_s_business():
    bind_config(config({"transport": "http", "url": "https://a.example/mcp"}, allowed_commands=[]))


def test_a_transport_that_does_not_say_what_it_starts_is_refused_where_there_is_a_list():
    class Secretive:
        @hookimpl
        def mcp_orchestra_transports(self) -> list[TransportSpec]:
            return [TransportSpec(name="secretive", open=lambda _: None, spawns_process=True)]  # type: ignore[arg-type, return-value]

    plugins = PluginManager()
    plugins.discover()
    plugins.register(Secretive(), name="secretive")
    server = {"transport": "secretive", "url": "x:y"}
    bind_config(config(server), plugins=plugins)
    with pytest.raises(ConfigurationError, match="does not say which program it starts"):
        bind_config(config(server, allowed_commands=["npx"]), plugins=plugins)


@pytest.mark.parametrize(
    ("section", "place", "expected"),
    [
        ("allowed_commands: [./npx]", "4:24 .allowed_commands[0]", "an absolute path"),
        ('allowed_commands: [""]', "4:24 .allowed_commands[0]", "a name"),
        ("allowed_commands: npx", "4:5 .allowed_commands", "a list"),
        ("allowed_networks: [10.0.0.1/8]", "4:24 .allowed_networks[0]", "without host bits"),
        ("allowed_networks: [localhost]", "4:24 .allowed_networks[0]", "a network such as"),
        ("allowed_networks: [10]", "4:24 .allowed_networks[0]", "expected text"),
        ("allowed_network: []", "4:5 .allowed_network", "did you mean 'allowed_networks'"),
    ],
)
def test_what_cannot_be_meant_is_refused(refused, section, place, expected):
    text = f"mcp_servers: {{}}\norchestration:\n  security:\n    {section}\n"
    refused(text, place.replace(" .", " orchestration.security."), expected)


@pytest.mark.parametrize(
    ("auth", "place", "expected"),
    [
        ("{type: beerer, token: canary}", "6:5 ", "whose 'type' is one of 'bearer', 'oauth-client-credentials'"),
        ("{token: canary}", "6:5 ", "a mapping that has 'type'"),
        ("canary", "6:5 ", "expected a mapping, got text"),
        ("{type: bearer, token: [canary]}", "6:26 .token", "expected text, got a list"),
        ("{type: bearer, tokenfile: canary}", "6:26 .tokenfile", "did you mean 'token_file'"),
        ("{type: bearer, token: canary, token_env: A}", "6:5 ", "exactly one of token, token_file, token_env"),
        ("{type: bearer, token_env: canary-canary}", "6:26 .token_env", "the name of an environment variable"),
    ],
)
def test_s6_a_mistake_in_credentials_is_named_and_not_shown(refused, auth, place, expected):
    text = f"mcp_servers:\n  a:\n    name: A\n    transport: checked\n    url: https://a.example\n    auth: {auth}\n"
    refused(text, place.replace(" ", " mcp_servers.a.auth"), expected)


def test_s6_what_credentials_hold_is_hidden_and_where_they_are_is_not(load):
    auth = "{type: oauth-client-credentials, client_id: us, client_secret: s3cret, token_url: 'https://b.example/t?k=qu3ry'}"
    bearer = "{type: bearer, token_file: /run/token}"
    lines = ["mcp_servers:"]
    for server_id, fields in (("a", auth), ("b", bearer)):
        lines.append(
            f"  {server_id}: {{name: {server_id}, transport: checked, url: 'https://a.example', auth: {fields}}}"
        )
    secrets = load("\n".join(lines)).secrets
    assert {"s3cret", "qu3ry"} <= secrets
    assert not {"/run/token", "client_secret_basic", "us"} & secrets


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (["--token", "s3cret"], {"s3cret"}),
        (["--api-key=s3cret", "plain"], {"s3cret"}),
        (["-p", "plain", "--db-password", "s3cret", "plain"], {"s3cret"}),
        (["--token", "--verbose", "plain"], set()),
        (["--token-file", "plain", "--port=1234"], set()),
        (["token", "plain"], set()),
    ],
)
def test_s6_what_is_given_for_an_option_like_token_is_hidden(arguments, secrets):
    loaded = bind_config(config({"transport": "stdio", "command": "x", "args": arguments}))
    assert loaded.secrets == secrets
