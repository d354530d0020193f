"""The memory store keeps the contract of cache stores, with room for much and with room for little."""

from functools import partial

import pytest
from mcp_orchestra import KeepsObjects
from mcp_orchestra.testing.cache_stores import CacheStoreTests, StoreFactory
from mcp_orchestra_memory import MemoryStore


class TestMemoryStore(CacheStoreTests):
    abilities = (KeepsObjects,)
    steps = 4000

    @pytest.fixture
    def factory(self) -> StoreFactory:
        return MemoryStore


class TestMemoryStoreThatIsNearlyFull(CacheStoreTests):
    """What is evicted while the tests run is never missed."""

    abilities = (KeepsObjects,)

    @pytest.fixture
    def factory(self) -> StoreFactory:
        return partial(MemoryStore, max_entries=25, max_bytes=2 * 1024 * 1024)
