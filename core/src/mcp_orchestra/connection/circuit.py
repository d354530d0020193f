"""Leaves a server alone that fails again and again, and lets one request at a time find out whether it is back."""

import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Circuit", "Ticket"]

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Ticket:
    """Leave to make one request."""

    era: int
    """How often the circuit had opened or closed when it was issued: what it finds out counts only until the next."""


class Circuit:
    """Closed, open, or half open: the circuit breaker of one server.

    Closed, everything passes, and failures in a row are counted. At the threshold it opens for a time that doubles with
    each probe that fails. After that time it is half open: one probe passes, and its end closes or opens it again.

    Args:
        threshold: Failures in a row that open it.
        clock: Seconds.
        rng: Source of numbers in [0, 1): the times are jittered, so that servers that fail together come back one by
            one.
    """

    def __init__(self, threshold: int, clock: Callable[[], float], rng: Callable[[], float] = random.random) -> None:
        self._threshold = threshold
        self._clock = clock
        self._rng = rng
        self.failures: int = 0
        """Failures since the last success."""
        self.until: float | None = None
        """When a probe may be made; None while it is closed."""
        self._pause = 0.0
        self._closed_at = float("-inf")
        self._probe: Ticket | None = None
        self._era = 0

    @property
    def open(self) -> bool:
        """Whether it is open or half open."""
        return self.until is not None

    @property
    def probing(self) -> bool:
        """Whether the one probe is under way."""
        return self._probe is not None

    @property
    def due(self) -> bool:
        """Whether a probe may be made now."""
        return self.until is not None and self._probe is None and self._clock() >= self.until

    def admit(self, *, early: bool = False) -> Ticket | None:
        """Return leave for a request, or None if the server is to be left alone.

        Args:
            early: Whether a probe may be made before its time.
        """
        if self.until is None:
            return Ticket(self._era)
        if self._probe is not None or not (early or self.due):
            return None
        self._probe = Ticket(self._era)
        return self._probe

    def settle(self, ticket: Ticket, worked: bool | None) -> None:
        """Learn from the end of a request.

        Args:
            ticket: The leave it was made with. Each is settled once.
            worked: Whether the server has answered; None if it ended without telling that.
        """
        if ticket is self._probe:
            self._probe = None
        if worked:
            self.close()
        elif worked is not None and ticket.era == self._era:  # while it is open, only its probe is of this era
            self._failed()

    def close(self) -> None:
        """Note that the server has answered."""
        self.failures = 0
        if self.until is not None:
            self.until = None
            self._probe = None
            self._closed_at = self._clock()
            self._era += 1

    def _failed(self) -> None:
        self.failures += 1
        now = self._clock()
        if self.until is None:
            if self.failures < self._threshold:
                return
            self._era += 1
            if now - self._closed_at >= LONGEST_SECONDS:  # one that fails again at once goes on where it was
                self._pause = 0.0
        self._pause = min(self._pause * 2, LONGEST_SECONDS) if self._pause else FIRST_SECONDS
        self.until = now + self._pause * (0.5 + self._rng() / 2)
