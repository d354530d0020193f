"""The policy ``weighted``: equals take turns, in proportion to their weights."""

from collections.abc import Sequence

from mcp_orchestra import Candidate, Question

from mcp_orchestra_routing.rotation import Rotations
from mcp_orchestra_routing.tiers import tiers

__all__ = ["Weighted"]


class Weighted:
    """Smooth weighted round-robin, as nginx has it, among servers of equal priority.

    With the weights 5, 1 and 1 the first server gets five questions of seven, and not five in a row. A server that
    starts slowly after a recovery counts with the ``share`` of its weight that it should get.

    The algorithm: with each question every server gains its weight; the one that has gained most is asked first and
    pays the sum of all weights.
    """

    def __init__(self) -> None:
        self._rotations: Rotations[dict[str, float]] = Rotations(dict[str, float])

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, usable, what they have gained), and let those that come first pay."""
        ordered: list[Candidate] = []
        for usable, others in tiers(candidates):
            if len(usable) > 1:
                gained = self._rotations.of(usable, others)
                total = 0.0
                for one in usable:
                    weight = one.weight * one.share
                    total += weight
                    gained[one.server_id] = gained.get(one.server_id, 0.0) + weight
                usable.sort(key=lambda one: gained[one.server_id], reverse=True)
                gained[usable[0].server_id] -= total
            ordered += usable
            ordered += others
        return ordered
