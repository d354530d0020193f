"""How long an answer may be served.

The rules are those of the protocol (specification 2026-07-28, server/utilities/caching) and the configuration's.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mcp_orchestra.cache.entry import Entry

__all__ = ["CLOCK_SKEW", "Freshness", "Standing", "TtlPolicy"]

TtlPolicy = Literal["hint-or-default", "strict"]

_LONGEST_HINT = 24 * 3600.0  # seconds: no server can make us keep an answer for longer
CLOCK_SKEW = 1.0
"""Seconds: so far may the clocks of hosts that share a store be apart."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What may be done with an entry."""

    fresh: bool = False
    """It may be served."""
    while_revalidating: bool = False
    """It may be served, marked stale, while a fresh one is fetched behind."""
    while_failing: bool = False
    """It may be served, marked stale, while its server fails."""

    @property
    def useful(self) -> bool:
        """Whether anything may be done with it."""
        return self.fresh or self.while_revalidating or self.while_failing


_FRESH = Standing(fresh=True, while_failing=True)
_USELESS = Standing()


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """The rules of one cache; times are seconds."""

    ttl: float = 300.0
    """For answers without a hint; a cache fills in its own."""
    ttl_policy: TtlPolicy = "hint-or-default"
    """Whether a fetched answer without a hint is kept for ``ttl``, or (strict) not at all."""
    max_stale: float = 0
    """How long beyond its time to live an entry may be served while its server fails."""
    stale_while_revalidate: float = 0
    """How long beyond its time to live an entry is served at once and refreshed behind."""
    ttl_jitter: float = 0
    """The largest part by which a time to live is cut at random, 0 to 1, so that not all entries end together."""
    rng: Callable[[], float] = random.random

    @property
    def retention(self) -> float:
        """How long an entry is kept after it has ceased to be fresh."""
        return max(self.max_stale, self.stale_while_revalidate)

    def lifetime(self, ttl_ms: int | None) -> float:
        """Return for how long an answer with this hint is fresh, at most."""
        return min(ttl_ms, _LONGEST_HINT * 1000) / 1000 if ttl_ms is not None and ttl_ms > 0 else self.ttl

    def keeps(self, ttl_ms: int | None, *, whole: bool = True) -> bool:
        """Return whether a fetched answer with this hint, for the whole of it or for parts, is kept."""
        return self.ttl_policy != "strict" or (ttl_ms is not None and ttl_ms > 0 and whole)

    def expiry(self, ttl_ms: int | None, now: float, *, whole: bool = True) -> float:
        """Return when an answer that arrived ``now``, with this hint for the whole of it or for parts, is not fresh."""
        lifetime = self.lifetime(ttl_ms)
        if not whole:
            lifetime = min(lifetime, self.ttl)
        return now + (lifetime * (1 - self.ttl_jitter * self.rng()) if self.ttl_jitter else lifetime)

    def limit(self, entry: Entry) -> float:
        """Return when an entry ceases to be fresh: a lifetime that was longer when it was stored does not matter."""
        return min(entry.expires_at, entry.stored_at + self.lifetime(entry.ttl_ms))

    def standing(self, entry: Entry, now: float) -> Standing:
        """Return what may be done with an entry."""
        if now - entry.stored_at < -CLOCK_SKEW:
            return _USELESS  # the clock was put back, so its age is unknown
        beyond = now - self.limit(entry)
        if beyond < 0 and not entry.outdated:
            return _FRESH
        return Standing(
            while_revalidating=beyond < self.stale_while_revalidate and not entry.outdated,
            while_failing=max(beyond, 0) < self.max_stale,  # outdated is stale, whatever the clock says
        )
