"""The disk store keeps the contract of a cache store."""

from functools import partial

import pytest
from mcp_orchestra import GivesNotice, GrantsLeases
from mcp_orchestra.testing.cache_stores import CacheStoreTests, StoreFactory
from mcp_orchestra_disk import DiskStore


class TestDiskStore(CacheStoreTests):
    persistent = True
    shared = True
    abilities = (GrantsLeases, GivesNotice)

    @pytest.fixture
    def factory(self, tmp_path) -> StoreFactory:
        return partial(DiskStore, tmp_path / "cache", timeout=5.0)  # so that a busy machine is no reason to fail
