"""The policy ``least-latency``: of two equals picked at random, the one that will probably answer sooner."""

from collections.abc import Sequence
from random import Random

from mcp_orchestra import Candidate, Question

from mcp_orchestra_routing.tiers import tiers

__all__ = ["LeastLatency"]


def _cost(one: Candidate) -> tuple[int, float]:
    """Return how long an answer will probably take: those of whom nothing is known and nothing asked come first."""
    latency = one.latency if one.peak_latency is None else one.peak_latency
    if latency is None:
        # One that has still to give its first answer gets no more questions until then, as long as others can.
        return (2 if one.in_flight else 0), float(one.in_flight)
    return 1, latency * (one.in_flight + 1) / one.share


class LeastLatency:
    """Peak-EWMA with two random choices among servers of equal priority.

    A server's cost is its smoothed latency times the requests that it would then have in flight. Always asking the
    cheapest would send everybody to the same server at once; the cheaper of two at random does not, and is nearly as
    good (Mitzenmacher, "The power of two choices", 2001). Those behind it are in the order of their cost.

    Args:
        random: Picks the two.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()  # noqa: S311  # nothing secret hangs on it

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, usable, whether it won, cost)."""
        ordered: list[Candidate] = []
        for usable, others in tiers(candidates):
            usable.sort(key=_cost)
            if len(usable) > 2 and _cost(usable[0])[0]:  # one that is new needs no luck
                first = min(self._random.sample(range(len(usable)), 2))
                usable.insert(0, usable.pop(first))
            ordered += usable
            ordered += others
        return ordered
