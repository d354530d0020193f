"""When to try again: exponential back-off with full jitter, so that many servers never come back in step."""

import random
from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """Delays between attempts: a random part of a bound that doubles up to a cap.

    Args:
        base: Seconds that bound the first delay.
        cap: Seconds that bound every delay.
        rng: Source of numbers in [0, 1), for tests.
        steady: Seconds after which what was made lasts; as many as the cap by default.
    """

    def __init__(
        self,
        base: float = 0.2,
        cap: float = 30.0,
        rng: Callable[[], float] = random.random,
        *,
        steady: float | None = None,
    ) -> None:
        self._base = base
        self.cap = cap
        """Seconds that bound every delay."""
        self._steady = cap if steady is None else steady
        self._rng = rng
        self._failures = 0

    def next(self) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        bound = min(self.cap, self._base * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return bound * self._rng()

    def lasted(self, seconds: float) -> None:
        """Start over if a connection lasted, by default longer than any delay: one that dies at once is a failure."""
        if seconds >= self._steady:
            self._failures = 0
