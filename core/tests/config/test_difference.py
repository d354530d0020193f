"""What of two configurations is different, beyond what the tests of reloading show."""

from dataclasses import replace

import pytest
from mcp_orchestra.config.difference import ReloadResult, compare, refuse_other_plugins, same_cache_store
from mcp_orchestra.errors import ConfigurationError

SERVER = "mcp_servers: {a: {name: A, url: http://x, transport: http, headers: {X: y}}}\n"


def test_without_a_configuration_before_everything_is_new(load):
    assert compare(None, load(SERVER)) == ReloadResult(added=("a",))


def test_another_spelling_is_no_difference(load):
    other = "mcp_servers: {a: {transport: streamable_http, name: A, headers: {X: y}, url: http://x}}\n"
    assert not compare(load(SERVER), load(other)).changed


@pytest.mark.parametrize("changed", ["url: http://y", "headers: {X: z}", "timeout: 4", "verify: false"])
def test_what_the_transport_is_given_takes_a_new_connection(load, changed):
    field = changed.partition(":")[0]
    fields = {"name": "A", "url": "http://x", "transport": "http", "headers": "{X: y}"}
    fields |= {field: changed.partition(": ")[2]}
    other = "mcp_servers: {a: {" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}}"
    assert compare(load(SERVER), load(other)).changed == ("a",)


@pytest.mark.parametrize(
    ("limits", "result"),
    [
        ("max_items: 7", ReloadResult(updated=("a",))),
        ("max_message_bytes: 2048", ReloadResult(changed=("a",))),
        ("resource_cache_ttl: 7", ReloadResult(unchanged=("a",))),
        ("security: {allowed_networks: [10.0.0.0/8]}", ReloadResult(changed=("a",))),
    ],
)
def test_a_limit_for_all_is_one_of_each(load, limits, result):
    assert compare(load(SERVER), load(f"{SERVER}orchestration: {{{limits}}}")) == result


def cached(load, blocking, rules):
    loaded = load(f"mcp_servers: {{}}\norchestration: {{cache: {{backend: memory, {rules}}}}}")
    spec = replace(loaded.cache_backend.spec, blocking=blocking)
    return replace(loaded, cache_backend=replace(loaded.cache_backend, spec=spec))


@pytest.mark.parametrize(
    ("blocking", "changed", "same"),
    [
        (False, "timeout: 2", True),  # which nobody waits for
        (False, "max_stale: 2", True),
        (False, "options: {max_entries: 7}", False),
        (True, "max_stale: 2", True),
        (True, "timeout: 2", False),
        (True, "near_entries: 2", False),
    ],
)
def test_a_cache_store_stays_as_long_as_it_is_called_in_the_same_way(load, blocking, changed, same):
    assert same_cache_store(cached(load, blocking, ""), cached(load, blocking, changed)) is same


def test_other_plug_ins_are_refused_and_the_same_in_another_order_are_not(load):
    first, second, third = (
        load(f"mcp_servers: {{}}\nplugins: {{disabled: {names}}}") for names in ("[disk, sse]", "[sse, disk]", "[]")
    )
    refuse_other_plugins(first, second)
    with pytest.raises(ConfigurationError, match=r"plugins\.disabled: expected the same names") as caught:
        refuse_other_plugins(first, third)
    assert caught.value.context["field"] == "plugins.disabled"
