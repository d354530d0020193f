"""Steps with a ResourceCache, and what the model makes of them: all but fetching.

Each example has a cache, a clock that only steps move, and one event loop.
"""

import asyncio

from cache_model import Known, Model
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Answer, Freshness
from mcp_orchestra.stores import GrantsLeases

TTL = 8
KEYS = st.sampled_from(["", "a", "b", "é"])
DATA = st.dictionaries(st.sampled_from("xyz"), st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=2)
GRACE = st.sampled_from([0, 0, 4, 16])
EIGHTHS = st.integers(1, 80)
CHANGES = st.one_of(
    st.tuples(st.just("set"), KEYS, DATA),
    st.tuples(st.just("invalidate"), KEYS),
    st.tuples(st.just("outdate"), KEYS),
)

PATIENCE = 30.0
_REST = 6.0  # seconds: longer than the cache leaves any store alone


class CacheSteps(RuleBasedStateMachine):
    """Changing, looking up, and the store's own life; a subclass says with ``open_store`` what the cache is over."""

    steps = 0
    blocking = False
    persistent = False
    near_entries = 0

    def open_store(self, room: int):
        raise NotImplementedError

    @initialize(room=st.integers(1, 5), max_stale=GRACE, swr=GRACE, strict=st.booleans())
    def start(self, room: int, max_stale: float, swr: float, strict: bool) -> None:
        self.now = 0.0
        self.room = room
        self.freshness = Freshness(
            max_stale=max_stale, stale_while_revalidate=swr, ttl_policy="strict" if strict else "hint-or-default"
        )
        self.loop = asyncio.Runner()
        self.open()
        self.cache.invalidate()
        room = self.room if not self.blocking else 1000
        self.model = Model(room, TTL, max_stale, swr, strict, sweeping=isinstance(self.store, GrantsLeases))
        self.purged: dict[str, Known] = {}
        self.unsettled: dict[str, float] = {}
        self.numbers = 0
        self.granted = None

    def open(self) -> None:
        self.store = self.open_store(self.room)
        self.cache = ResourceCache(
            TTL,
            store=self.store,
            blocking=self.blocking,
            clock=lambda: self.now,
            store_timeout=PATIENCE,
            freshness=self.freshness,
            near_entries=self.near_entries,
        )
        self.hits = self.misses = self.stale = self.fetches = self.saved = self.errors = 0
        self.evictions_before = 0 if not hasattr(self, "model") else self.model.evictions
        self.was_in_trouble = False

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.store.down = False
            self.loop.run(self.cache.aclose())
            self.loop.close()

    # What is there.

    def look(self, *keys: str) -> dict[str, Known]:
        return {} if self.store.down else self.model.look(keys, self.now)

    def allowed(self, key: str, found: Known | None) -> list[dict | None]:
        """Return what a look-up may find; near the cache there may be what the store has dropped or cannot give."""
        expected = [found.data if found is not None else None]
        if self.near_entries and found is None:
            others = (self.model.entries.get(key) if self.store.down else None, self.purged.get(key))
            expected += [
                entry.data
                for entry in others
                if entry is not None and self.model.is_fresh(entry, self.now) and not entry.doomed
            ]
        return expected

    def count(self, found: object) -> None:
        if found is None:
            self.misses += 1
        else:
            self.hits += 1

    # What changes it.

    @property
    def is_out_of_reach(self) -> bool:
        """Whether what was just done has not even begun in the store; if it hangs, it will be done there."""
        return self.store.down or not (self.store.gate.is_set() or self.store.entered.is_set())

    def keep(self, key: str, data: dict, ttl_ms: int | None = None) -> None:
        self.purged.pop(key, None)
        if self.is_out_of_reach:
            self.model.entries.pop(key, None)  # also if it cannot be replaced: what is outdated is not served
        else:
            self.model.keep(key, data, self.now, ttl_ms)

    def drop(self, key: str) -> None:
        self.purged.pop(key, None)
        self.model.entries.pop(key, None)

    def make(self, what: str, *given) -> None:
        """Change the cache and the model."""
        match what, *given:
            case "set", key, data:
                self.numbers += 1
                data = {"number": self.numbers, **data}
                self.cache.set(key, data)
                self.keep(key, data)
            case "invalidate", key:
                self.cache.invalidate(key)
                self.drop(key)
            case "invalidate_everything", *_:
                self.cache.invalidate()
                self.model.entries.clear()
                self.purged.clear()
            case "outdate", key:
                self.cache.outdate(key)
                self.purged.pop(key, None)
                if self.is_out_of_reach and self.model.max_stale:
                    if key in self.model.entries:
                        self.model.entries[key].doomed = True
                    self.unsettled[key] = self.now  # of what is said twice, the last counts
                elif self.is_out_of_reach:
                    self.drop(key)
                else:
                    self.model.outdate(key, self.now, self.now)
            case "time_passes", eighths:
                self.now += eighths / 8
        self.settle()

    def settle(self) -> None:
        """Wait until a store that has to be waited for has done what it was told."""
        if self.blocking and not self.store.down and self.store.gate.is_set():
            self.cache._guard._worker._queue(lambda: None).result(PATIENCE)

    @rule(what=CHANGES | st.tuples(st.just("invalidate_everything")), on_loop=st.booleans())
    def change(self, what: tuple, on_loop: bool) -> None:
        """Change something; on an event loop, a store that has to be waited for is not."""

        async def make() -> None:
            self.make(*what)

        if on_loop:
            self.loop.run(make())
        else:
            self.make(*what)

    @rule(key=KEYS, data=DATA)
    def set_data(self, key: str, data: dict) -> None:
        self.make("set", key, data)

    @rule(key=KEYS, on_loop=st.booleans())
    def outdate(self, key: str, on_loop: bool) -> None:
        self.change(("outdate", key), on_loop)

    @rule(eighths=EIGHTHS)
    def time_passes(self, eighths: int) -> None:
        self.make("time_passes", eighths)

    @rule(eighths=st.integers(1, 24))
    def clock_is_put_back(self, eighths: int) -> None:
        self.now = max(0.0, self.now - eighths / 8)

    @rule()
    def cleanup(self) -> None:
        expired = [] if self.store.down else self.model.expired(self.now)
        assert self.cache.cleanup_expired() == len(expired)
        for key in expired:
            self.purged[key] = self.model.entries.pop(key)
        self.model.evictions += len(expired)

    # Looking things up.

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        entry = self.look(key).get(key)
        if entry is None and not self.store.down:
            self.model.sweep(key, self.now)
        if entry is not None and not self.model.is_fresh(entry, self.now):
            entry = None
        found = self.cache.get(key)
        assert found in self.allowed(key, entry)
        self.count(found)
        if found is not None:
            found["changed by the caller"] = True

    @rule(keys=st.lists(KEYS, max_size=6), failing=st.sets(KEYS, max_size=2))
    def lookup(self, keys: list[str], failing: set[str]) -> None:
        self.check_lookup(keys, failing, self.loop.run(self.cache.lookup(keys, failing=failing)))

    def check_lookup(self, keys: list[str], failing: set[str], answers: dict[str, Answer]) -> None:
        keys = list(dict.fromkeys(keys))
        useful = self.look(*keys)
        for key in keys:
            entry, answer = useful.get(key), answers.pop(key, None)
            fresh = entry is not None and self.model.is_fresh(entry, self.now)
            if entry is not None and not (
                fresh
                or self.model.helps_refreshing(entry, self.now)
                or (key in failing and self.model.helps_failing(entry, self.now))
            ):
                entry = None
            found = answer.copy() if answer is not None else None
            assert found in self.allowed(key, entry)
            self.count(found)
            if answer is not None:
                assert answer.stale == (entry is not None and not fresh)
                self.stale += answer.stale
                found.clear()
        assert answers == {}

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3, unique=True))
    def look_up_with_a_ticket(self, keys: list[str]) -> None:
        ticket = self.cache.ticket()
        answers = self.loop.run(self.cache.lookup(keys))
        granted = self.cache.grant(ticket, answers)
        if granted is not None:
            self.granted = granted, dict(answers)
        self.check_lookup(keys, set(), dict(answers))

    @precondition(lambda self: self.granted is not None)
    @rule()
    def show_the_ticket(self) -> None:
        ticket, answers = self.granted
        if not self.cache.honours(ticket):
            self.granted = None
            return
        for key, answer in answers.items():
            entry = self.model.entries.get(key) or self.purged.get(key)
            assert entry is not None
            assert self.model.is_fresh(entry, self.now)
            assert answer.copy() == entry.data
            self.hits += 1

    # The store's own life.

    @precondition(lambda self: not self.store.down)
    @rule()
    def store_goes_down(self) -> None:
        self.store.down = self.was_in_trouble = True

    @precondition(lambda self: self.store.down)
    @rule()
    def store_comes_up(self) -> None:
        self.store.down = False
        self.recover()

    def recover(self) -> None:
        """Let the cache find out that the store works."""
        if self.blocking:
            self.now += _REST
        self.cache.describe(["not there"])
        assert self.cache.get_stats()["available"]
        for key, said_at in self.unsettled.items():
            self.model.outdate(key, self.now, said_at)
        self.unsettled.clear()

    @precondition(lambda self: self.blocking and not self.store.down)
    @rule(first=CHANGES | st.tuples(st.just("get"), KEYS), then=st.lists(CHANGES, max_size=2))
    def store_hangs(self, first: tuple, then: list[tuple]) -> None:
        """Let the store hang in one call, and things change meanwhile."""
        worker = self.cache._guard._worker
        worker._patience = 0.01
        self.was_in_trouble = True
        self.store.entered.clear()
        self.store.gate.clear()
        if first[0] == "get":
            found = self.cache.get(first[1])
            entry = self.look(first[1]).get(first[1])  # for it is looked up once the store goes on
            fresh = entry if entry is not None and self.model.is_fresh(entry, self.now) else None
            assert found is None or (self.near_entries and found in self.allowed(first[1], fresh))
            self.count(found)
        else:
            self.make(*first)  # which is done once the store goes on
        for change in then:
            self.store.down = True  # for the model: these do not get at the store
            self.make(*change)
        self.store.down = False
        self.store.gate.set()
        worker._patience = PATIENCE
        self.settle()
        self.recover()

    @precondition(lambda self: not self.store.down)
    @rule()
    def reopen(self) -> None:
        self.loop.run(self.cache.aclose())
        self.open()
        self.granted = None
        self.purged.clear()
        if not self.persistent:
            self.model.entries.clear()

    @invariant()
    def the_statistics_add_up(self) -> None:
        type(self).steps += 1
        stats = self.cache.get_stats()
        assert stats["hits"] + stats["misses"] == stats["total_requests"]
        counted = (self.hits, self.misses, self.stale, self.fetches, self.saved)
        assert tuple(stats[name] for name in ("hits", "misses", "stale", "fetches", "fetches_saved")) == counted
        assert stats["evictions"] == self.model.evictions - self.evictions_before
        live = 0 if self.store.down else self.model.live(self.now)
        assert stats["cached_items"] == live <= self.model.room
        if not self.was_in_trouble:
            assert stats["errors"] == 0
        elif not self.blocking:
            assert (stats["errors"] > self.errors) == self.store.down  # the count itself is one when it is down
        self.errors = stats["errors"]
