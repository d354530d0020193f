"""ResourceCache over a store that comes and goes, step by step against a model: S30, S31, S33, S34, S35 and S36.

Each example has a cache, a clock that only steps move, and one event loop. A machine is a subclass that says over which
store it is; ``run_machine`` runs one for as many steps as ``MCP_ORCHESTRA_TEST_STEPS`` says.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from unittest.mock import patch

from cache_model import Known, Model
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Answer, Fetched, Freshness, leases
from mcp_orchestra.stores import GrantsLeases

TTL = 8
KEYS = st.sampled_from(["", "a", "b", "é"])
DATA = st.dictionaries(st.sampled_from("xyz"), st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=2)
GRACE = st.sampled_from([0, 0, 4, 16])
HINTS = st.sampled_from([None, None, 0, 3_000, 30_000])
EIGHTHS = st.integers(1, 80)
CHANGES = st.one_of(
    st.tuples(st.just("set"), KEYS, DATA),
    st.tuples(st.just("invalidate"), KEYS),
    st.tuples(st.just("outdate"), KEYS),
)
MEANWHILE = st.lists(
    CHANGES | st.tuples(st.just("invalidate_everything")) | st.tuples(st.just("time_passes"), EIGHTHS), max_size=2
)

STEPS_PER_EXAMPLE = 50
_REST = 6.0  # seconds: longer than the cache leaves any store alone
_PATIENCE = 30.0
_EXAMPLES_AT_ONCE = 1_000  # what they drew is remembered for as long as a run goes on


class RefusedError(Exception):
    """What an upstream answers that is out of order."""


@dataclass(eq=False)
class Asking:
    """A fetch that is under way."""

    key: str
    number: int
    current: bool = True
    callers: list["asyncio.Task[Answer]"] = field(default_factory=list)


class CacheMachine(RuleBasedStateMachine):
    """The rules; a subclass says with ``open_store`` what the cache is over."""

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
            store_timeout=_PATIENCE,
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

    def keep(self, key: str, data: dict, ttl_ms: int | None = None) -> None:
        self.purged.pop(key, None)
        if self.store.down:
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
                if self.store.down and self.model.max_stale:
                    if key in self.model.entries:
                        self.model.entries[key].doomed = True
                    self.unsettled[key] = self.now  # of what is said twice, the last counts
                elif self.store.down:
                    self.drop(key)
                else:
                    self.model.outdate(key, self.now, self.now)
            case "time_passes", eighths:
                self.now += eighths / 8
        self.settle()

    def settle(self) -> None:
        """Wait until a store that has to be waited for has done what it was told."""
        if self.blocking and not self.store.down and self.store.gate.is_set():
            self.cache._guard._worker._queue(lambda: None).result(_PATIENCE)

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

    # Fetching.

    @rule(
        callers=st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=4),
        failing=st.sets(KEYS, max_size=2),
        hint=HINTS,
        cacheable=st.sampled_from([True, True, True, False]),
        meanwhile=MEANWHILE,
        late=st.lists(KEYS, max_size=2),
    )
    def fetch(
        self,
        callers: list[tuple[str, bool]],
        failing: set[str],
        hint: int | None,
        cacheable: bool,
        meanwhile: list[tuple],
        late: list[str],
    ) -> None:
        """Let several fetch at once: some are cancelled, things change meanwhile, and others join them late."""
        self.loop.run(
            self.fetch_together(callers, failing, Fetched(data={}, ttl_ms=hint, cacheable=cacheable), meanwhile, late)
        )

    async def fetch_together(
        self,
        callers: list[tuple[str, bool]],
        failing: set[str],
        template: Fetched,
        meanwhile: list[tuple],
        late: list[str],
    ) -> None:
        gate = asyncio.Event()
        asked: list[tuple[str, int]] = []

        async def upstream(key: str) -> Fetched:
            self.numbers += 1
            number = self.numbers
            asked.append((key, number))
            await gate.wait()
            if key in failing:
                raise RefusedError
            return Fetched(data={"number": number}, ttl_ms=template.ttl_ms, cacheable=template.cacheable)

        flights: dict[str, Asking] = {}
        landing: list[Asking] = []
        tasks: list[tuple[str, asyncio.Task[Answer], Asking | None, dict | None]] = []

        async def call(keys: list[str]) -> None:
            """Have the keys fetched, and wait until upstream is asked or the answer is there."""
            begun: list[Asking] = []
            served: dict[str, dict] = {}
            for key in keys:
                if key in served or key in flights:
                    self.saved += 1
                    continue
                entry = self.look(key).get(key)
                if entry is not None and self.model.is_fresh(entry, self.now):
                    served[key] = entry.data
                    self.saved += 1
                else:
                    flights[key] = Asking(key, 0)
                    begun.append(flights[key])
                    self.fetches += 1
            before = len(asked)
            started = [asyncio.create_task(self.cache.fetch(key, lambda key=key: upstream(key))) for key in keys]
            async with asyncio.timeout(_PATIENCE):
                while len(asked) < before + len(begun):
                    await asyncio.sleep(0 if not self.blocking else 0.0002)
                await asyncio.gather(*(task for key, task in zip(keys, started, strict=True) if key in served))
            for _ in range(3):
                await asyncio.sleep(0)
            numbers = asked[before:]
            assert Counter(key for key, _ in numbers) == Counter(one.key for one in begun)
            for one in begun:
                one.number = dict(numbers)[one.key]
            landing.extend(sorted(begun, key=lambda one: one.number))
            for key, task in zip(keys, started, strict=True):
                if key not in served:
                    flights[key].callers.append(task)
                tasks.append((key, task, flights.get(key) if key not in served else None, served.get(key)))

        await call([key for key, _ in callers])
        cancelled = {task for (_, gone), (_, task, flight, _) in zip(callers, tasks, strict=True) if gone and flight}
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled)
            for _ in range(3):
                await asyncio.sleep(0)
            self.settle()
        for key, flight in list(flights.items()):
            if cancelled.issuperset(flight.callers):
                landing.remove(flights.pop(key))
        for change in meanwhile:
            self.make(*change)
            for key in list(flights):
                if change[0] == "invalidate_everything" or (change[0] != "time_passes" and change[1] == key):
                    flights.pop(key).current = False
        await call(late)
        gate.set()
        async with asyncio.timeout(_PATIENCE):
            outcomes = await asyncio.gather(*(task for _, task, _, _ in tasks), return_exceptions=True)
        self.settle()
        for flight in landing:
            keeps = template.cacheable and self.model.keeps(template.ttl_ms) and flight.key not in failing
            if keeps and flight.current:
                self.keep(flight.key, {"number": flight.number}, template.ttl_ms)
        ends = dict(zip([task for _, task, _, _ in tasks], outcomes, strict=True))
        for key, task, flight, served in tasks:
            if served is not None:
                assert ends[task].copy() == served
                assert not ends[task].stale
            elif task in cancelled:
                assert isinstance(ends[task], asyncio.CancelledError)
            elif key not in failing:
                assert ends[task].copy() == {"number": flight.number}
                assert not ends[task].stale
        for flight in landing:
            for task in flight.callers:
                if flight.key in failing and task not in cancelled:
                    self.check_failed(flight.key, ends[task])

    def check_failed(self, key: str, outcome: Answer | BaseException) -> None:
        entry = self.look(key).get(key) if self.model.max_stale else None
        fresh = entry is not None and self.model.is_fresh(entry, self.now)
        if entry is not None and (fresh or self.model.helps_failing(entry, self.now)):
            assert isinstance(outcome, Answer)
            assert outcome.copy() == entry.data
            assert outcome.stale == (not fresh)
            self.stale += outcome.stale
        elif isinstance(outcome, Answer):  # near the cache it may be, where the store cannot give it
            assert self.model.max_stale
            assert outcome.copy() in self.allowed(key, None)
            assert not outcome.stale
        else:
            assert isinstance(outcome, RefusedError)

    @rule(key=KEYS, hint=HINTS, works=st.booleans())
    def refresh(self, key: str, hint: int | None, works: bool) -> None:
        async def upstream() -> Fetched:
            self.numbers += 1
            if not works:
                raise RefusedError
            return Fetched(data={"number": self.numbers}, ttl_ms=hint)

        async def refresh_twice() -> None:
            self.cache.refresh(key, upstream)
            self.cache.refresh(key, upstream)
            async with asyncio.timeout(_PATIENCE):
                while any(task.get_name().startswith("refresh ") for task in asyncio.all_tasks()):
                    await asyncio.sleep(0)
            self.settle()

        entry = self.look(key).get(key)
        before = self.numbers
        self.loop.run(refresh_twice())
        if entry is not None and self.model.is_fresh(entry, self.now):
            assert self.numbers == before
            self.saved += 1
            return
        assert self.numbers == before + 1
        self.fetches += 1
        if works and self.model.keeps(hint):
            self.keep(key, {"number": self.numbers}, hint)

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
        worker._patience = _PATIENCE
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


def run_machine(machine: type[CacheMachine], steps: int = 7_500) -> None:
    """Run examples of a machine, for about so many steps or as many as the environment says."""
    wanted = int(os.environ.get("MCP_ORCHESTRA_TEST_STEPS", steps))
    machine.steps, began = 0, time.monotonic()
    troubles = logging.getLogger("mcp_orchestra.cache.troubles")
    troubles.disabled = True  # a long run would be told of very many
    patient = patch.object(leases, "_LEASE_SECONDS", _PATIENCE)  # a busy machine is no fault of the cache's
    patient.start()
    try:
        while machine.steps < wanted:
            examples = max(1, min((wanted - machine.steps) // STEPS_PER_EXAMPLE, _EXAMPLES_AT_ONCE))
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=STEPS_PER_EXAMPLE,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        patient.stop()
        troubles.disabled = False
    print(f"{machine.__name__}: {machine.steps} steps in {time.monotonic() - began:.0f} s")
