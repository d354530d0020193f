"""The registry on its own, as documented (S40)."""

from datetime import UTC, datetime, timedelta

import pytest
from mcp_orchestra import MCPOrchestratorException, MCPRegistry, MCPServerConfig, UnknownServerError


def config(name: str = "Server", **fields) -> MCPServerConfig:
    return MCPServerConfig(name=name, url="http://localhost:9000/sse", **fields)


def registry_of(**servers: MCPServerConfig) -> MCPRegistry:
    registry = MCPRegistry()
    for server_id, server in servers.items():
        registry.register_server(server_id, server)
    return registry


def ids(servers) -> list[str]:
    return [info.server_id for info in servers]


def test_s40_the_documented_example_works():
    registry = MCPRegistry()
    custom = MCPServerConfig(
        name="Custom Server",
        url="http://localhost:9000/sse",
        priority=5,
        domains=["custom"],
        capabilities=["query"],
        transport="sse",
        timeout=30,
    )
    registry.register_server("custom_server", custom)
    info = registry.get_server("custom_server")
    assert info is not None
    assert (info.name, info.config, info.client, info.connected) == ("Custom Server", custom, None, False)
    assert (info.last_connected, info.connection_error, info.state) == (None, None, "pending")


def test_s40_an_id_that_nobody_registered_has_no_server():
    assert registry_of(a=config()).get_server("b") is None


def test_s40_lists_are_sorted_by_priority_and_then_by_registration():
    registry = registry_of(
        late=config(priority=20), first=config(priority=10), second=config(priority=10), top=config(priority=1)
    )
    assert ids(registry.get_all_servers()) == ["top", "first", "second", "late"]


def test_s40_registering_an_id_again_replaces_the_server_and_its_connection():
    registry = registry_of(a=config("Old", domains=["old", "both"], capabilities=["x"]), b=config())
    registry.mark_connected("a", object())
    registry.register_server("a", config("New", domains=["both", "new"]))
    info = registry.get_server("a")
    assert info is not None
    assert (info.name, info.connected, info.client, info.last_connected) == ("New", False, None, None)
    assert len(registry.get_all_servers()) == 2
    assert ids(registry.get_servers_by_domain("old")) == []
    assert ids(registry.get_servers_by_domain("both")) == ["a"]
    assert ids(registry.get_servers_by_domain("new")) == ["a"]
    assert registry.get_servers_by_capability("x") == []
    assert registry.get_domains() == ["both", "new"]


def test_s40_a_replaced_server_goes_behind_its_equals_because_it_was_registered_last():
    registry = registry_of(a=config(), b=config())
    registry.register_server("a", config())
    assert ids(registry.get_all_servers()) == ["b", "a"]


@pytest.mark.parametrize("mark", ["mark_connected", "mark_disconnected"])
def test_s40_marking_an_unknown_id_is_a_key_error_of_ours_that_says_what_was_meant(mark: str):
    registry = registry_of(products=config(), orders=config())
    with pytest.raises(UnknownServerError) as caught:
        getattr(registry, mark)("product", None)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, MCPOrchestratorException)
    assert str(caught.value) == "no server is registered under 'product'; did you mean 'products'?"
    assert caught.value.context == {"server_id": "product", "known": ["products", "orders"]}


def test_s40_servers_of_a_domain_include_the_disconnected():
    registry = registry_of(
        a=config(priority=2, domains=["d"]), b=config(priority=1, domains=["d", "e"]), c=config(domains=["e"])
    )
    registry.mark_connected("a", object())
    registry.mark_disconnected("b", "gone")
    assert ids(registry.get_servers_by_domain("d")) == ["b", "a"]
    assert registry.get_servers_by_domain("nobody's") == []


def test_s40_a_domain_that_a_server_declares_twice_lists_it_once():
    assert ids(registry_of(a=config(domains=["d", "d"])).get_servers_by_domain("d")) == ["a"]


def test_s40_the_server_for_a_capability_is_the_first_of_the_connected():
    registry = registry_of(
        down=config(priority=1, capabilities=["query"]),
        up=config(priority=2, capabilities=["query"]),
        last=config(priority=3, capabilities=["query"]),
    )
    assert registry.get_server_by_capability("query") is None
    registry.mark_connected("last", object())
    registry.mark_connected("up", object())
    chosen = registry.get_server_by_capability("query")
    assert chosen is registry.get_server("up")
    assert registry.get_server_by_capability("fly") is None
    assert ids(registry.get_servers_by_capability("query")) == ["down", "up", "last"]


def test_s40_connected_servers_are_only_the_connected_in_order():
    registry = registry_of(a=config(priority=3), b=config(priority=2), c=config(priority=1))
    for server_id in ("a", "b", "c"):
        registry.mark_connected(server_id, object())
    registry.mark_disconnected("b")
    assert ids(registry.get_connected_servers()) == ["c", "a"]


def test_s40_a_connected_server_has_its_client_and_the_time_in_utc():
    registry = registry_of(a=config())
    registry.mark_disconnected("a", "refused", state="backing_off", retry_at=12.5)
    client = object()
    before = datetime.now(UTC)
    registry.mark_connected("a", client)
    info = registry.get_server("a")
    assert info is not None
    assert info.client is client
    assert info.connected
    assert (info.connection_error, info.state, info.retry_at) == (None, "ready", None)
    assert info.last_connected is not None
    assert info.last_connected.utcoffset() == timedelta(0)
    assert before <= info.last_connected <= datetime.now(UTC)


def test_s40_a_disconnected_server_keeps_the_time_of_its_last_connection_and_says_why():
    registry = registry_of(a=config())
    registry.mark_connected("a", object())
    info = registry.get_server("a")
    assert info is not None
    last = info.last_connected
    registry.mark_disconnected("a", "connection reset", state="backing_off", retry_at=3.0)
    assert (info.client, info.connected, info.connection_error) == (None, False, "connection reset")
    assert (info.state, info.retry_at, info.last_connected) == ("backing_off", 3.0, last)


def test_s40_disconnecting_without_an_error_clears_an_earlier_one():
    registry = registry_of(a=config())
    registry.mark_disconnected("a", "refused")
    info = registry.get_server("a")
    assert info is not None
    assert (info.connection_error, info.state) == ("refused", "failed")
    registry.mark_disconnected("a", None)
    assert (info.connection_error, info.state) == (None, "closed")


def test_an_exchange_keeps_what_is_known_of_those_that_stay():
    registry = registry_of(a=config("A"), b=config("B"), c=config("C", domains=["old"]))
    registry.mark_connected("b", "client")
    kept, gone, version = registry.get_server("b"), registry.get_server("c"), registry.version
    configs = {"d": config("D", domains=["new"]), "b": config("Bee", priority=3), "a": config("A", timeout=9)}
    incoming = registry_of(d=configs["d"], a=configs["a"])
    incoming.mark_connected("a", "other client")
    before = registry.exchange(configs, incoming)

    assert ids(registry.get_all_servers()) == ["b", "d", "a"]
    assert [info.position for info in registry.get_all_servers()] == [1, 0, 2]
    assert registry.get_server("b") is kept
    assert (kept.name, kept.config, kept.client) == ("Bee", configs["b"], "client")
    assert registry.get_server("a") is incoming.get_server("a")
    assert registry.get_domains() == ["new"]
    assert registry.version > version
    assert ids(before.get_all_servers()) == ["a", "b", "c"]
    assert before.get_server("c") is gone
    registry.register_server("e", config("E"))
    assert registry.get_server("e").position == 3


def test_an_exchange_needs_to_know_every_server():
    registry = registry_of(a=config("A"))
    with pytest.raises(UnknownServerError):
        registry.exchange({"a": config("A"), "b": config("B")}, MCPRegistry())
    assert ids(registry.get_all_servers()) == ["a"]
