"""When the next attempt to connect to a server is made, and whether a question may hurry it."""

import asyncio
from collections import deque

from mcp_orchestra.connection.backoff import Backoff
from mcp_orchestra.connection.budget import ReconnectBudget
from mcp_orchestra.connection.faults import Fault
from mcp_orchestra.connection.retry_after import retry_after_seconds

__all__ = ["Pace"]

_HURRIED_SECONDS = 1.0
"""Questions that need a server may have it tried again so often; beyond that its back-off would mean nothing."""
_MINUTE = 60.0


class Pace:
    """The times of one server's attempts.

    Args:
        budget: Bounds the attempts of all servers together.
        per_minute: How many attempts are made within a minute at most; None for no such bound.
    """

    def __init__(self, budget: ReconnectBudget, per_minute: int | None) -> None:
        self._backoff = Backoff()
        self._budget = budget
        self._recent = deque[float](maxlen=per_minute or 1)
        self._per_minute = per_minute
        self._hurry = asyncio.Event()
        self._hurriable = True
        self._hurried_at = self._not_before = float("-inf")

    def begin(self) -> None:
        """Note that an attempt is made now."""
        now = _now()
        self._recent.append(now)
        self._hurriable = True
        self._hurried_at = now + _HURRIED_SECONDS

    def decided(self) -> None:
        """Note that the attempt has an outcome: the next one is not in a hurry for the sake of who waited for it."""
        self._hurry.clear()

    def lasted(self, seconds: float) -> None:
        """Start over if a connection lasted."""
        self._backoff.lasted(seconds)

    def plan(self, fault: Fault) -> float:
        """Return the seconds until the next attempt after this fault."""
        now = _now()
        delay = self._backoff.next()
        if not fault.retryable:
            # It worked before, so somebody may be mending it: rarely, and no question makes it more often.
            delay = self._backoff.cap
            self._hurriable = False
            self._hurry.clear()
        self._not_before = max(now + retry_after_seconds(fault.retry_after), self._spawnable_at())
        return max(delay, self._not_before - now)

    def hurry(self, within: float | None = None) -> bool:
        """Have the planned attempt made as soon as it may be.

        Args:
            within: Seconds in which to make it, for a question; one that comes later is not hurried. None if somebody
                wants it made who knows that something has been mended.

        Returns:
            Whether it is hurried.
        """
        if within is not None and not (self._hurriable and self._not_before - _now() <= within):
            return False
        self._hurry.set()
        return True

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until a hurried attempt may be made."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
                await asyncio.sleep(max(self._hurried_at, self._not_before) - _now())
        except TimeoutError:
            return

    def reserve(self) -> float:
        """Return the seconds to wait for the sake of all other servers."""
        return self._budget.reserve()

    async def needed(self) -> None:
        """Wait until a question needs the server, and an attempt may be made."""
        await self._hurry.wait()
        await asyncio.sleep(self._spawnable_at() - _now())

    def _spawnable_at(self) -> float:
        if self._per_minute is None or len(self._recent) < self._per_minute:
            return float("-inf")
        return self._recent[0] + _MINUTE


def _now() -> float:
    return asyncio.get_running_loop().time()
