from functools import partial
from pathlib import Path

import pytest
from mcp_orchestra.testing.cache_stores import CacheStoreTests, StoreFactory
from mcp_orchestra_sqlite import SqliteStore


class TestSqliteStore(CacheStoreTests):
    persistent = True  # closed and opened again, it has its entries still
    shared = True  # several may be open on one file, in this process and in others

    @pytest.fixture
    def factory(self, tmp_path: Path) -> StoreFactory:
        return partial(SqliteStore, tmp_path / "cache.db", timeout=5.0)  # a busy machine is no reason to fail
