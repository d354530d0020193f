"""Leaves a store alone for a while that cannot be reached, so that not every question has to find that out."""

from collections.abc import Callable

__all__ = ["Breaker"]

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 5.0


class Breaker:
    """Open after a failure, for a time that doubles with each further one; then one call at a time may try.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether the last call failed and none has worked since."""
        return self._pause > 0

    def admits(self) -> bool:
        """Return whether a call may be made now; while open, it is the trial and the next has to wait for its turn."""
        if not self._pause:
            return True
        now = self._clock()
        if 0 < self._until - now <= self._pause:  # and not longer, even if the clock was put back
            return False
        self._until = now + self._pause  # a trial that never tells how it ended must not keep the others out for ever
        return True

    def failed(self) -> None:
        """Note that the store could not be reached."""
        self._pause = min(self._pause * 2, _LONGEST_SECONDS) if self._pause else _FIRST_SECONDS
        self._until = self._clock() + self._pause

    def worked(self) -> None:
        """Note that the store answered."""
        self._pause = 0.0
