"""The store keeps the contract."""

from functools import partial

import pytest
from mcp_orchestra.stores import GrantsLeases, TellsOfChanges
from mcp_orchestra.testing.cache_stores import CacheStoreTests
from mcp_orchestra_redis import RedisOptions, RedisStore


class TestRedisStore(CacheStoreTests):
    persistent = True
    shared = True
    abilities = (GrantsLeases, TellsOfChanges)

    @pytest.fixture
    def factory(self, shared_server, namespace):
        return partial(RedisStore, RedisOptions(url=shared_server.url, namespace=namespace, socket_timeout=5.0))

    @pytest.fixture
    def interrupt(self, shared_server):
        return shared_server.paused
