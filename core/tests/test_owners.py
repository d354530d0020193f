"""Who lists a resource: looked up when the cache has changed, and not for every question."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.cache import ResourceCache, resources_key
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.derived import Derived
from mcp_orchestra.owners import Owners
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra_memory import MemoryStore

pytestmark = pytest.mark.anyio


class Store(MemoryStore):
    """A store that counts how often it is asked."""

    asked = 0

    def get_many(self, keys):
        self.asked += 1
        return super().get_many(keys)

    def get_objects(self, keys):
        self.asked += 1
        return super().get_objects(keys)


def listing(*uris):
    return {uri: {"uri": uri, "name": uri} for uri in uris}


def owners_over(store, *server_ids):
    registry, cache = MCPRegistry(), ResourceCache(store=store)
    for server_id in server_ids:
        registry.register_server(server_id, MCPServerConfig(name=server_id.upper()))
    return Owners(registry, cache), registry, cache


async def test_nobody_looks_into_the_store_while_nothing_changes():
    store = Store()
    owners, _, cache = owners_over(store, "a", "b")
    cache.set(resources_key("a"), listing("x://1", "x://both"))
    cache.set(resources_key("b"), listing("x://both"))
    before, counted = store.asked, cache.get_stats()
    assert await owners.of("x://1") == {"a"}
    assert await owners.of("x://both") == {"a", "b"}
    assert await owners.of("x://none") == set()
    assert store.asked == before + 1
    assert cache.get_stats() == counted  # it is asked where to ask, and not for an answer


async def test_what_is_cached_dropped_or_registered_is_known_at_once():
    owners, registry, cache = owners_over(Store(), "a")
    cache.set(resources_key("a"), listing("x://1"))
    assert await owners.of("x://1") == {"a"}
    cache.set(resources_key("a"), listing("x://2"))
    assert (await owners.of("x://1"), await owners.of("x://2")) == (set(), {"a"})
    cache.set(resources_key("b"), listing("x://2"))
    assert await owners.of("x://2") == {"a"}
    registry.register_server("b", MCPServerConfig(name="B"))
    assert await owners.of("x://2") == {"a", "b"}
    cache.invalidate(resources_key("a"))
    assert await owners.of("x://2") == {"b"}


async def test_the_index_is_rebuilt_only_when_somebody_lists_something_else():
    owners, registry, cache = owners_over(Store(), "a", "b")
    assert await owners.of("x://1") == set()
    cache.set(resources_key("a"), listing("x://1"))
    assert await owners.of("x://1") == {"a"}
    index = owners._by_uri
    registry.mark_connected("b", object())
    cache.set("something else", {})
    assert await owners.of("x://1") == {"a"}
    assert owners._by_uri is index
    cache.invalidate(resources_key("a"))
    assert await owners.of("x://1") == set()
    assert owners._uris.kept == {}


async def test_whatever_somebody_put_under_a_servers_key_does_no_harm():
    owners, _, cache = owners_over(Store(), "a")
    cache.set(resources_key("a"), {"x": 1, "y": {"name": "no uri"}, "z": {"uri": ["x://1"]}, "w": {"uri": "x://1"}})
    assert await owners.of("x://1") == {"a"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([{"n": 1}, {"n": 1, "m": 2}])), max_size=12))
def test_what_follows_from_data_is_worked_out_once_for_each_object(steps):
    worked_out = count()
    derived = Derived(lambda _, data: (next(worked_out), len(data)))
    changes, last = 0, {}
    for server_id, data in steps:
        changes += last.get(server_id) is not data
        last[server_id] = data
        assert derived.of(server_id, data)[1] == len(data)
        assert derived.last(server_id) == derived.of(server_id, data)
    assert next(worked_out) == changes
    derived.keep_only({"a"})
    assert derived.last("b") is None
    assert (derived.last("a") is not None) == ("a" in last)
