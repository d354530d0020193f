"""`probe`: whether the store has done what it was asked."""

import pytest
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra_memory import MemoryStore


class Fragile(MemoryStore):
    """A store of bytes that can be out of order."""

    get_objects = None
    broken = False

    def get_many(self, keys):
        self._work()
        return super().get_many(keys)

    def delete_many(self, keys):
        self._work()
        return super().delete_many(keys)

    def clear(self):
        self._work()
        super().clear()

    def _work(self) -> None:
        if self.broken:
            raise RuntimeError("out of order")


@pytest.fixture(params=[False, True], ids=["here", "in a thread"])
def blocking(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def store() -> Fragile:
    return Fragile()


@pytest.fixture
def cache(store: Fragile, blocking: bool) -> ResourceCache:
    return ResourceCache(store=store, blocking=blocking, clock=lambda: 100.0, store_timeout=20)


def test_without_a_failure_what_was_invalidated_is_gone_from_the_store(store: Fragile, cache: ResourceCache) -> None:
    store.set_many({"a": StoredEntry(b"x", 200.0), "b": StoredEntry(b"x", 200.0)})
    cache.invalidate("a")
    assert cache.probe() == 0
    assert list(store.get_many(["a", "b"])) == ["b"]


@pytest.mark.parametrize("key", ["a", None])
def test_an_invalidation_that_is_still_to_be_made_shows(store: Fragile, cache: ResourceCache, key: str | None) -> None:
    store.set_many({"a": StoredEntry(b"x", 200.0)})
    store.broken = True
    cache.invalidate(key)
    failed = cache.probe()
    assert failed > 0
    store.broken = False
    assert cache.probe() == failed
    assert store.get_many(["a"]) == {}


def test_a_store_that_cannot_be_read_shows_although_nothing_was_asked(store: Fragile, cache: ResourceCache) -> None:
    store.broken = True
    assert cache.probe() == 1


def test_it_counts_neither_hit_nor_miss(cache: ResourceCache) -> None:
    cache.probe()
    assert cache.get_stats()["total_requests"] == 0
