"""Times several ways to do one thing in interleaved rounds, so that a noisy machine is noisy for all of them."""

import gc
import inspect
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Case", "Pace", "Samples", "measure"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long to measure."""

    rounds: int = 31
    """How often each case gets its turn."""
    turn: float = 0.005
    """Seconds that a turn takes about, unless a single call takes longer: short, so that many are not interrupted."""


@dataclass(frozen=True)
class Case:
    """One way to do it."""

    name: str
    run: Callable[[], Any]
    """Does it once: a function, or a coroutine function."""
    before: Callable[[], Any] | None = None
    """Called, and not timed, before ``run``, which is then called once a turn; awaited if it can be."""


@dataclass(frozen=True)
class Samples:
    """What was measured: seconds for one call, by case, in the order of the rounds."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median of a case in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, reference: str) -> float:
        """Return how many times the reference a case takes: the median of what each round says.

        Both had their turn within the same second or so, which leaves out of the ratio how busy the machine was.
        """
        pairs = zip(self.seconds[name], self.seconds[reference], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def spread(self, name: str) -> float:
        """Return the distance of the quartiles as a part of the median."""
        low, _, high = statistics.quantiles(self.seconds[name], n=4)
        return (high - low) / self.median(name)


async def measure(cases: Sequence[Case], pace: Pace) -> Samples:
    """Return how long each case takes, all of them in every round and in an order that changes."""
    numbers = {case.name: await _calls(case, pace.turn) for case in cases}
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    order = list(cases)
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.freeze()  # what was set up is not looked through again and again while others are timed
    try:
        for _ in range(pace.rounds):
            shuffle(order)
            for case in order:
                number = numbers[case.name]
                if number > 1:
                    await _seconds(case, 1)  # a turn begins with what the last one left in the processor's caches
                seconds[case.name].append(await _seconds(case, number) / number)
    finally:
        gc.unfreeze()
    return Samples(seconds)


async def _calls(case: Case, turn: float) -> int:
    """Return how many calls make up a turn."""
    await _seconds(case, 1)
    if case.before is not None:
        return 1
    number = 1
    while (taken := await _seconds(case, number)) < turn / 2:
        number *= 2
    return max(1, round(number * turn / taken))


async def _seconds(case: Case, number: int) -> float:
    if case.before is not None and inspect.isawaitable(waiting := case.before()):
        await waiting
    run = case.run
    if inspect.iscoroutinefunction(run):
        start = time.perf_counter()
        for _ in range(number):
            await run()
        return time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(number):
        run()
    return time.perf_counter() - start
