"""The default policy: the configured priority decides, and nothing else."""

from collections.abc import Sequence

from mcp_orchestra import Candidate, Question

__all__ = ["ByPriority"]


def _rank(one: Candidate) -> tuple[int, bool, int]:
    return one.priority, not one.usable, one.position


class ByPriority:
    """Asks the server with the lowest priority number first; between equals, the one that was configured first.

    Between equals one that would be asked now comes before one that would not. A server of a better priority keeps its
    place while it is down: the orchestrator passes over it, and it is asked first as soon as it is back.
    """

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, usable, position)."""
        return sorted(candidates, key=_rank)
