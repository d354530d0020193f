"""ResourceCache over a bounded store that comes and goes, step by step against a dict: S30, S31, S34 and S36."""

import asyncio
from collections import OrderedDict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mcp_orchestra.cache import Fetched
from mcp_orchestra_memory import MemoryStore
from plain_cache import PlainCache

TTL = 8.0
KEYS = st.sampled_from(["", "a", "b", "c", "d", "é"])
DATA = st.dictionaries(st.sampled_from("xyz"), st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=2)


class Switchable(MemoryStore):
    """A store that raises from every method while it is down."""

    down = False

    def __getattribute__(self, name: str) -> object:
        if not name.startswith("_") and name != "down" and self.down:
            raise ConnectionError
        return super().__getattribute__(name)


class SwitchableBytes(Switchable):
    get_objects = None
    set_objects = None


class CacheAgainstDict(RuleBasedStateMachine):
    """The dict holds (data, expiry) in the order of last use and knows nothing of bytes, locks or stores."""

    kind = Switchable

    @initialize(room=st.integers(1, 7))
    def start(self, room: int) -> None:
        self.now = 0.0
        self.room = room
        self.store = self.kind(max_entries=room)
        self.cache = PlainCache(TTL, store=self.store, clock=lambda: self.now)
        self.model: OrderedDict[str, tuple[dict, float]] = OrderedDict()
        self.hits = self.misses = self.evictions = 0
        self.failing_calls = 0

    def find(self, key: str) -> dict | None:
        """Return what the model serves under the key, and do to the model what looking does."""
        if self.store.down or key not in self.model:
            return None
        data, expires_at = self.model[key]
        if self.now < expires_at:
            self.model.move_to_end(key)
            return data
        del self.model[key]
        self.evictions += 1
        return None

    def count(self, found: object) -> None:
        if found is None:
            self.misses += 1
        else:
            self.hits += 1

    def keep(self, key: str, data: dict) -> None:
        self.model.pop(key, None)  # also if it cannot be replaced: what is outdated is not served
        if self.store.down:
            return
        while len(self.model) >= self.room:
            self.model.popitem(last=False)
            self.evictions += 1
        self.model[key] = (data, self.now + TTL)

    @rule(key=KEYS, data=DATA)
    def set(self, key: str, data: dict) -> None:
        self.cache.set(key, data)
        self.keep(key, data)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        expected = self.find(key)
        self.count(expected)
        found = self.cache.get(key)
        assert found == expected
        if found is not None:
            found["changed by the caller"] = True

    @rule(keys=st.lists(KEYS, unique=True, max_size=6))
    def lookup(self, keys: list[str]) -> None:
        # All keys are read before the first expired one is dropped, in the order in which they are asked for.
        expected = {key: self.find(key) for key in keys}
        for found in expected.values():
            self.count(found)
        found = asyncio.run(self.cache.lookup(keys))
        assert found == {key: data for key, data in expected.items() if data is not None}
        for data in found.values():
            data.clear()

    @rule(key=KEYS, data=DATA, cacheable=st.booleans())
    def fetch(self, key: str, data: dict, cacheable: bool) -> None:
        asked = []

        async def upstream() -> Fetched:
            asked.append(key)
            return Fetched(data=data, cacheable=cacheable)

        expected = self.find(key)
        assert asyncio.run(self.cache.fetch(key, upstream)) == (data if expected is None else expected)
        assert asked == ([key] if expected is None else [])
        if expected is None and cacheable:
            self.keep(key, data)

    @rule(key=KEYS)
    def fetch_fails(self, key: str) -> None:
        async def upstream() -> Fetched:
            raise LookupError("no")

        expected = self.find(key)
        try:
            assert asyncio.run(self.cache.fetch(key, upstream)) == expected
        except LookupError:
            assert expected is None

    @rule(key=KEYS)
    def invalidate(self, key: str) -> None:
        self.cache.invalidate(key)
        self.model.pop(key, None)

    @rule()
    def invalidate_everything(self) -> None:
        self.cache.invalidate()
        self.model.clear()

    @rule(eighths=st.integers(1, 80))
    def time_passes(self, eighths: int) -> None:
        self.now += eighths / 8

    @rule()
    def cleanup(self) -> None:
        expired = [] if self.store.down else [key for key, (_, end) in self.model.items() if end <= self.now]
        assert self.cache.cleanup_expired() == len(expired)
        for key in expired:
            del self.model[key]
        self.evictions += len(expired)

    @precondition(lambda self: not self.store.down)
    @rule()
    def store_goes_down(self) -> None:
        self.store.down = True

    @precondition(lambda self: self.store.down)
    @rule()
    def store_comes_up(self) -> None:
        self.store.down = False

    @invariant()
    def the_statistics_add_up(self) -> None:
        stats = self.cache.get_stats()
        assert stats["hits"] + stats["misses"] == stats["total_requests"]
        assert (stats["hits"], stats["misses"]) == (self.hits, self.misses)
        assert stats["evictions"] == self.evictions
        live = [] if self.store.down else [key for key, (_, end) in self.model.items() if self.now < end]
        assert stats["cached_items"] == len(live) <= self.room
        assert (stats["errors"] > self.failing_calls) == self.store.down  # the count itself is one when it is down
        self.failing_calls = stats["errors"]


class CacheOfBytesAgainstDict(CacheAgainstDict):
    """The same over a store that keeps bytes."""

    kind = SwitchableBytes


for machine in (CacheAgainstDict, CacheOfBytesAgainstDict):
    machine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
test_s30_the_cache_behaves_like_a_dict_with_expiry = CacheAgainstDict.TestCase
test_s30_the_cache_behaves_like_a_dict_with_expiry_over_bytes_too = CacheOfBytesAgainstDict.TestCase
