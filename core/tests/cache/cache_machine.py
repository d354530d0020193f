"""ResourceCache over a store that comes and goes, step by step against a model: S30, S31, S33, S34, S35 and S36.

A machine is a subclass that says over which store it is; ``run_machine`` runs one for as many steps as
``MCP_ORCHESTRA_TEST_STEPS`` says.
"""

import asyncio
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

from cache_steps import CHANGES, EIGHTHS, KEYS, PATIENCE, CacheSteps
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from mcp_orchestra.cache import Answer, Fetched, leases

HINTS = st.sampled_from([None, None, 0, 3_000, 30_000])
MEANWHILE = st.lists(
    CHANGES | st.tuples(st.just("invalidate_everything")) | st.tuples(st.just("time_passes"), EIGHTHS), max_size=2
)

STEPS_PER_EXAMPLE = 50
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


class CacheMachine(CacheSteps):
    """All steps, those that fetch among them."""

    @rule(
        callers=st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=4),
        failing=st.sets(KEYS, max_size=2),
        hint=HINTS,
        cacheable=st.sampled_from([True, True, True, False]),
        meanwhile=MEANWHILE,
        late=st.lists(KEYS, max_size=2),
        then=MEANWHILE,
    )
    def fetch(
        self,
        callers: list[tuple[str, bool]],
        failing: set[str],
        hint: int | None,
        cacheable: bool,
        meanwhile: list[tuple],
        late: list[str],
        then: Sequence[tuple] = (),
    ) -> None:
        """Let several fetch at once: some are cancelled, things change meanwhile, others come late, things change."""
        template = Fetched(data={}, ttl_ms=hint, cacheable=cacheable)
        self.loop.run(self.fetch_together(callers, failing, template, meanwhile, late, then))

    async def fetch_together(
        self,
        callers: list[tuple[str, bool]],
        failing: set[str],
        template: Fetched,
        meanwhile: list[tuple],
        late: list[str],
        then: Sequence[tuple],
    ) -> None:
        gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        asked: list[tuple[str, int]] = []

        async def upstream(key: str) -> Fetched:
            self.numbers += 1
            number = self.numbers
            asked.append((key, number))
            await gates[number].wait()
            if key in failing:
                raise RefusedError
            return Fetched(data={"number": number}, ttl_ms=template.ttl_ms, cacheable=template.cacheable)

        flights: dict[str, Asking] = {}
        outdated: dict[str, Asking] = {}
        landing: list[Asking] = []
        tasks: list[tuple[str, asyncio.Task[Answer], Asking | None, dict | None]] = []
        cancelled: set[asyncio.Task[Answer]] = set()

        def change(changes: Sequence[tuple]) -> None:
            for one in changes:
                self.make(*one)
                for key in list(flights):
                    if one[0] == "invalidate_everything" or (one[0] != "time_passes" and one[1] == key):
                        outdated[key] = flights.pop(key)
                        outdated[key].current = False

        async def end(flight: Asking) -> None:
            gates[flight.number].set()
            async with asyncio.timeout(PATIENCE):
                outcomes = await asyncio.gather(*flight.callers, return_exceptions=True)
            landing.remove(flight)
            for task, outcome in zip(flight.callers, outcomes, strict=True):
                if flight.key in failing and task not in cancelled:
                    self.check_failed(flight.key, outcome)

        async def call(keys: list[str], changes: Sequence[tuple] = ()) -> None:
            """Have the keys fetched, and wait until upstream is asked or the answer is there.

            Where outdated work is under way that comes after it has ended, and after the changes.
            """
            begun: list[Asking] = []
            served: dict[str, dict] = {}
            before = len(asked)

            def set_out(key: str) -> None:
                if key in served or key in flights:
                    self.saved += 1
                    return
                entry = self.look(key).get(key)
                if entry is not None and self.model.is_fresh(entry, self.now):
                    served[key] = entry.data
                    self.saved += 1
                else:
                    flights[key] = Asking(key, 0)
                    begun.append(flights[key])
                    self.fetches += 1

            async def arrive(those: list[str]) -> None:
                async with asyncio.timeout(PATIENCE):
                    while len(asked) < before + len(begun):
                        await asyncio.sleep(0 if not self.blocking else 0.0002)
                    await asyncio.gather(*(task for key, task in started if key in served))
                for _ in range(3):
                    await asyncio.sleep(0)
                numbers = asked[before:]
                assert Counter(key for key, _ in numbers) == Counter(one.key for one in begun)
                for one in begun:
                    one.number = dict(numbers)[one.key]
                for key, task in started:
                    if key in those:
                        flight = None if key in served else flights[key]
                        if flight is not None:
                            flight.callers.append(task)
                        tasks.append((key, task, flight, served.get(key)))

            in_turn = [key for key in dict.fromkeys(keys) if key in outdated]
            at_once = [key for key in keys if key not in in_turn]
            for key in at_once:
                set_out(key)
            started = [(key, asyncio.create_task(self.cache.fetch(key, lambda key=key: upstream(key)))) for key in keys]
            await arrive(at_once)
            change(changes)
            for key in in_turn:
                await end(outdated.pop(key))
                for _ in range(keys.count(key)):
                    set_out(key)
                await arrive([key])
            landing.extend(sorted(begun, key=lambda one: one.number))

        await call([key for key, _ in callers])
        cancelled |= {task for (_, gone), (_, task, flight, _) in zip(callers, tasks, strict=True) if gone and flight}
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
        change(meanwhile)
        await call(late, then)
        for flight in landing:
            gates[flight.number].set()
        async with asyncio.timeout(PATIENCE):
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
            async with asyncio.timeout(PATIENCE):
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


def run_machine(machine: type[CacheMachine], steps: int = 7_500) -> None:
    """Run examples of a machine, for about so many steps or as many as the environment says."""
    wanted = int(os.environ.get("MCP_ORCHESTRA_TEST_STEPS", steps))
    machine.steps, began = 0, time.monotonic()
    troubles = logging.getLogger("mcp_orchestra.cache.troubles")
    troubles.disabled = True  # a long run would be told of very many
    patient = patch.object(leases, "_LEASE_SECONDS", PATIENCE)  # a busy machine is no fault of the cache's
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
