"""S5, S9: what only plug-ins can check, in files and in configurations made in Python."""

import threading
from types import SimpleNamespace

import pytest
from mcp_orchestra.config.loader import bind_config
from mcp_orchestra.config.models import (
    CacheConfig,
    MCPConfig,
    MCPServerConfig,
    OrchestrationConfig,
    RoutingConfig,
    RoutingRule,
)
from mcp_orchestra.errors import ConfigurationError
from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra.types import TransportSpec


def configured(*servers: MCPServerConfig, **orchestration: object) -> MCPConfig:
    """Return a configuration of these servers, whose ids are s0, s1, …"""
    return MCPConfig(
        mcp_servers={f"s{number}": server for number, server in enumerate(servers)},
        orchestration=OrchestrationConfig(**orchestration),
    )


def problems(caught: pytest.ExceptionInfo[ConfigurationError]) -> dict[str, str]:
    return {one["path"]: one["message"] for one in caught.value.context["errors"]}


def test_s5_without_a_transport_a_server_is_an_sse_server(load):
    bound = load("mcp_servers: {a: {name: A, url: http://x}}").transports["a"]
    assert bound.spec.name == "sse"
    assert bound.options.url == "http://x"


@pytest.mark.parametrize("alias", ["streamable-http", "http", "streamable_http", "streamableHttp"])
def test_s5_an_alias_stands_for_its_transport(load, alias):
    loaded = load(f"mcp_servers: {{a: {{name: A, url: http://x, transport: {alias}}}}}")
    assert loaded.transports["a"].spec.name == "streamable-http"
    assert loaded.config.mcp_servers["a"].transport == alias


def test_s5_fields_beyond_the_common_ones_are_the_transports(load):
    loaded = load(
        "mcp_servers:\n  a:\n    name: A\n    transport: stdio\n    priority: 5\n    command: run\n    args: [x]\n"
        "    env: {K: v}\n    timeout: 3\n"
    )
    options = loaded.transports["a"].options
    assert (options.command, options.args, options.env) == ("run", ["x"], {"K": "v"})


def test_s5_a_transport_without_options_takes_a_url_and_nothing_else(load):
    bound = load("mcp_servers: {a: {name: A, url: 'tcp://x', transport: tcp}}").transports["a"]
    assert bound.spec.name == "tcp"
    assert bound.options is None


def test_s5_a_transport_may_take_any_field(load):
    bound = load("mcp_servers: {a: {name: A, transport: anything, url: u, x: 1, y: [2]}}").transports["a"]
    assert bound.options.model_extra == {"url": "u", "x": 1, "y": [2]}


def test_the_options_are_a_copy_that_the_transport_may_change(load):
    loaded = load("mcp_servers: {a: {name: A, transport: anything, y: [2]}}")
    loaded.transports["a"].options.y.append(3)
    assert loaded.config.mcp_servers["a"].model_extra == {"y": [2]}


def test_s5_an_unknown_transport_lists_those_installed_with_their_aliases(load):
    with pytest.raises(ConfigurationError) as caught:
        load("mcp_servers: {a: {name: A, url: x, transport: carrier-pigeon}}")
    assert problems(caught) == {
        "mcp_servers.a.transport": "expected the name of an installed transport; installed: anything, careless, "
        "checked, sse, stdio, streamable-http (or http, streamable_http, streamableHttp), tcp, telling; "
        "installed plug-ins have not been looked for: call discover()"
    }


def test_s5_a_broken_plugin_that_may_have_offered_the_transport_is_named():
    plugins = PluginManager(disabled=["pigeons"])
    plugins.register(SimpleNamespace(), "pigeons")
    with pytest.raises(ConfigurationError) as caught:
        bind_config(configured(MCPServerConfig(name="A", transport="carrier-pigeon")), plugins=plugins)
    message = problems(caught)["mcp_servers.s0.transport"]
    assert "installed: none" in message
    assert "the plug-in 'pigeons' (registered in this process) is disabled" in message


def test_plugins_that_nobody_has_looked_for_are_told_from_plugins_that_are_not_there():
    with pytest.raises(ConfigurationError) as caught:
        bind_config(configured(MCPServerConfig(name="A", url="http://x")), plugins=PluginManager())
    assert len(problems(caught)) == 3
    assert [message for message in problems(caught).values() if "call discover()" not in message] == []
    discovered = PluginManager()
    discovered.discover()
    with pytest.raises(ConfigurationError) as caught:
        bind_config(configured(MCPServerConfig(name="A", transport="pigeon")), plugins=discovered)
    assert "discover" not in caught.value.message


def test_what_cannot_be_copied_is_passed_on_as_it_is(plugins):
    lock, headers = threading.Lock(), {"A": ["b"]}
    config = configured(MCPServerConfig(name="A", transport="anything", lock=lock, headers=headers))
    options = bind_config(config, plugins=plugins).transports["s0"].options
    assert options.lock is lock
    options.headers["A"].append("c")
    assert headers == {"A": ["b"]}


def test_s5_a_disabled_server_must_be_right_too(load):
    with pytest.raises(ConfigurationError, match=r"mcp_servers\.a\.zzz"):
        load("mcp_servers: {a: {name: A, url: http://x, enabled: false, zzz: 1}}")
    assert "a" in load("mcp_servers: {a: {name: A, url: http://x, enabled: false}}").transports


def test_deprecation_is_told_by_the_record_and_not_as_a_warning(load):
    loaded = load("mcp_servers: {a: {name: A, url: http://x}}")
    assert loaded.transports["a"].spec.deprecated
    assert loaded.warnings == ()


def test_s9_defaults_need_no_section(load):
    loaded = load("mcp_servers: {}")
    assert loaded.cache_backend.spec.name == "memory"
    assert loaded.cache_backend.options.max_entries == 1000
    assert loaded.routing.default.spec.name == "priority"
    assert loaded.routing.default.options is None
    assert loaded.routing.domains == {}
    assert loaded.config.orchestration.resource_cache_ttl == 300
    assert loaded.config.orchestration.fail_fast is True
    assert loaded.config.orchestration.log_level == "INFO"


def test_s9_options_stand_where_the_rules_say(load):
    loaded = load(
        "mcp_servers:\n  a: {name: A, url: http://x, domains: [fast], max_pages: 7}\n"
        "orchestration:\n  max_pages: 5\n  max_items: 6\n"
        "  cache: {backend: redis, options: {url: redis://x}, ttl_policy: strict, max_stale: 60, "
        "stale_while_revalidate: 1.5}\n"
        "  routing:\n    policy: weighted\n    options: {weights: {a: 1}}\n"
        "    domains: {fast: {policy: priority}}\n"
        "plugins: {disabled: [other]}\n"
    )
    orchestration = loaded.config.orchestration
    limits = loaded.config.mcp_servers["a"].limits(orchestration)
    assert (limits.max_pages, limits.max_items, orchestration.max_pages) == (7, 6, 5)
    assert loaded.cache_backend.options.url == "redis://x"
    assert (orchestration.cache.ttl_policy, orchestration.cache.max_stale) == ("strict", 60)
    assert orchestration.cache.stale_while_revalidate == 1.5
    assert loaded.routing.default.options.weights == {"a": 1.0}
    assert loaded.routing.domains["fast"].spec.name == "priority"
    assert loaded.config.plugins.disabled == ["other"]
    assert loaded.warnings == ()


def test_s9_a_server_may_be_supervised_in_a_way_of_its_own(load):
    loaded = load(
        "mcp_servers:\n  a: {name: A, url: http://x, failure_threshold: 2, health_check_interval: 0, "
        "start: on_first_use, idle_stop: 60}\n"
        "orchestration: {failure_threshold: 3, slow_start: 0, max_concurrent_requests: 7}\n"
    )
    config, orchestration = loaded.config.mcp_servers["a"], loaded.config.orchestration
    assert config.supervision(orchestration).model_dump() == {
        "failure_threshold": 2,
        "health_check_interval": 0,
        "slow_start": 0,
        "max_concurrent_requests": 7,
        "max_restarts_per_minute": 10,
    }
    assert (config.start, config.idle_stop) == ("on_first_use", 60)


def test_s9_routing_for_a_domain_that_no_server_declares_is_warned_about(load):
    loaded = load(
        "mcp_servers: {a: {name: A, url: http://x, domains: [products]}}\n"
        "orchestration: {routing: {domains: {prodcts: {}}}}\n"
    )
    assert loaded.warnings == (
        "orchestration.routing.domains.prodcts: no server declares this domain; did you mean 'products'?",
    )


def test_what_is_loaded_cannot_be_changed_by_accident(load):
    loaded = load("mcp_servers: {a: {name: A, url: http://x}}")
    with pytest.raises(AttributeError):
        loaded.path = None
    with pytest.raises(TypeError):
        loaded.transports["b"] = loaded.transports["a"]


def test_a_configuration_made_in_python_is_bound_as_a_file_is(plugins):
    config = configured(
        MCPServerConfig(name="A", url="http://u:secret-1@x/sse"),
        MCPServerConfig(name="B", transport="stdio", command="run", env={"K": "secret-2"}),
        cache=CacheConfig(options={"max_entries": 5}),
        routing=RoutingConfig(domains={"d": RoutingRule(policy="weighted", options={"weights": {}})}),
    )
    loaded = bind_config(config, plugins=plugins)
    assert loaded.config is config
    assert loaded.transports["s1"].options.command == "run"
    assert loaded.cache_backend.options.max_entries == 5
    assert loaded.routing.domains["d"].spec.name == "weighted"
    assert loaded.secrets >= {"secret-1", "secret-2"}


def test_placeholders_in_a_configuration_made_in_python_are_plain_text(plugins, monkeypatch):
    monkeypatch.setenv("HOME_OF_MINE", "x")
    config = configured(MCPServerConfig(name="A", transport="stdio", command="${HOME_OF_MINE}"))
    assert bind_config(config, plugins=plugins).transports["s0"].options.command == "${HOME_OF_MINE}"


def test_a_configuration_made_in_python_is_checked_completely_and_at_once(plugins):
    config = configured(
        MCPServerConfig(name="A", url="http://x", headrs={}),
        MCPServerConfig(name="A", transport="stdoi"),
        MCPServerConfig(name="C", transport="stdio", command=5),
        cache=CacheConfig(backend="rediss"),
        routing=RoutingConfig(policy="prio", domains={"d": RoutingRule(options={"x": 1})}),
    )
    config.mcp_servers["s__3"] = MCPServerConfig(name="\n", url="http://x")
    with pytest.raises(ConfigurationError) as caught:
        bind_config(config, plugins=plugins)
    found = problems(caught)
    assert found.keys() == {
        "mcp_servers.s0.headrs",
        "mcp_servers.s1.name",
        "mcp_servers.s1.transport",
        "mcp_servers.s2.command",
        "mcp_servers.s__3",
        "mcp_servers.s__3.name",
        "orchestration.cache.backend",
        "orchestration.routing.policy",
        "orchestration.routing.domains.d.options.x",
    }
    assert found["mcp_servers.s1.name"] == "names are unique, and mcp_servers.s0.name has the same one"
    assert caught.value.context["path"] is None
    assert {one["line"] for one in caught.value.context["errors"]} == {None}
    assert caught.value.message.startswith("The configuration has 9 problems:\n  mcp_servers.")


def test_a_strangers_model_with_aliases_is_known_by_them():
    from pydantic import BaseModel, ConfigDict, Field

    class Aliased(BaseModel):
        model_config = ConfigDict(extra="forbid")

        api_key: str = Field(alias="apiKey")

    class Plugin:
        @hookimpl
        def mcp_orchestra_transports(self):
            yield TransportSpec(name="aliased", open=print, options=Aliased)

    plugins = PluginManager()
    plugins.register(Plugin(), "aliased")
    with pytest.raises(ConfigurationError) as caught:
        bind_config(configured(MCPServerConfig(name="A", transport="aliased", apikey="x")), plugins=plugins)
    assert "did you mean 'apiKey'" in problems(caught)["mcp_servers.s0.apikey"]
    with pytest.raises(ConfigurationError) as caught:
        bind_config(configured(MCPServerConfig(name="A", transport="aliased", apiKey=5)), plugins=plugins)
    assert problems(caught)["mcp_servers.s0.apiKey"].startswith("expected text, got a whole number")
