"""What recorded histories have shown once, step by step."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra.cache import Fetched, Freshness
from mcp_orchestra_disk import DiskStore

pytestmark = pytest.mark.anyio

PATIENT = 10.0


class Interrupted(DiskStore):
    """A store in which something happens right after it was read."""

    then: Callable[[], None] | None = None

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        found = super().get_many(keys)
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return found


def over(store: DiskStore) -> ResourceCache:
    rules = Freshness(max_stale=100)
    return ResourceCache(100, store=store, blocking=True, store_timeout=PATIENT, freshness=rules, near_entries=0)


@pytest.mark.parametrize("key", ["k", None], ids=["one", "all"])
async def test_s33_outdating_does_not_bring_back_what_another_process_invalidates_meanwhile(
    tmp_path: Path, key: str | None
) -> None:
    store = Interrupted(tmp_path / "cache", timeout=PATIENT)
    ours, theirs = over(store), over(DiskStore(tmp_path / "cache", timeout=PATIENT))

    async def upstream() -> Fetched:
        return Fetched(data={"version": 1})

    async with asyncio.timeout(60):
        await ours.fetch("k", upstream)
        store.then = lambda: theirs.invalidate(key)
        await asyncio.to_thread(ours.outdate, "k")
        assert store.then is None
        assert await theirs.lookup(["k"], failing={"k"}) == {}
        assert await ours.lookup(["k"], failing={"k"}) == {}
        await ours.aclose()
        await theirs.aclose()
