"""The policy ``round-robin``: equals take turns."""

from collections.abc import Sequence

from mcp_orchestra import Candidate, Question

from mcp_orchestra_routing.rotation import Rotations
from mcp_orchestra_routing.tiers import tiers

__all__ = ["RoundRobin"]


class _Turns:
    """When each server of a group was put first, counted in questions."""

    def __init__(self) -> None:
        self.now = 0
        self.last: dict[str, int] = {}

    def since(self, one: Candidate) -> int:
        return self.last.get(one.server_id, 0)


class RoundRobin:
    """Asks among servers of equal priority the one that was asked first the longest ago.

    Those behind it, which are asked if it fails, are in the order of their turns as well.
    """

    def __init__(self) -> None:
        self._rotations: Rotations[_Turns] = Rotations(_Turns)

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, usable, turn), and count the turn of those that come first."""
        ordered: list[Candidate] = []
        for usable, others in tiers(candidates):
            if len(usable) > 1:
                turns = self._rotations.of(usable, others)
                usable.sort(key=turns.since)  # stable: among those that had no turn yet, in the order of registration
                turns.now += 1
                turns.last[usable[0].server_id] = turns.now
            ordered += usable
            ordered += others
        return ordered
