"""What all policies have in common: priority decides first, and whoever would be asked now comes before the others."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from mcp_orchestra import Candidate

__all__ = ["tiers"]

_RANK = attrgetter("priority", "position")


def tiers(candidates: Sequence[Candidate]) -> Iterator[tuple[list[Candidate], list[Candidate]]]:
    """Yield the candidates of each priority, the lowest number first, as the usable ones and the others.

    Both lists are in the order of registration.
    """
    for _, equals in groupby(sorted(candidates, key=_RANK), attrgetter("priority")):
        usable: list[Candidate] = []
        others: list[Candidate] = []
        for one in equals:
            (usable if one.usable else others).append(one)
        yield usable, others
