"""Bounds how often all servers together are tried again: what fails together must not come back together."""

from collections.abc import Callable
from math import ceil

__all__ = ["ReconnectBudget"]

_PART = 0.2
_AT_LEAST = 3


class ReconnectBudget:
    """A token bucket for attempts to connect again: a fifth of the servers a second, and never fewer than three.

    The parts are those of Envoy's retry budget (``config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget``). An
    attempt holds nothing: one that hangs delays no other. As nobody reserves a second one before the first is made, no
    wait is longer than five seconds.

    Args:
        servers: Returns how many servers there are.
        clock: Seconds.
    """

    def __init__(self, servers: Callable[[], int], clock: Callable[[], float]) -> None:
        self._servers = servers
        self._clock = clock
        self._due = float("-inf")  # when the bucket will be full again, after all that was reserved

    def reserve(self) -> float:
        """Take a token, and return the seconds to wait until it is there."""
        burst = max(_AT_LEAST, ceil(self._servers() * _PART))
        now = self._clock()
        before = max(self._due, now)
        self._due = before + 1 / burst
        return max(0.0, before - now - (burst - 1) / burst)
