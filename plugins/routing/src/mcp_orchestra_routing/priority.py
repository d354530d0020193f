"""The default policy: the configured priority decides, and nothing else."""

from collections.abc import Sequence
from operator import attrgetter

from mcp_orchestra import Candidate, Question

__all__ = ["ByPriority"]

_RANK = attrgetter("priority", "position")


class ByPriority:
    """Asks the server with the lowest priority number first; between equals, the one that was configured first.

    Whether a server is connected does not matter here: the orchestrator passes over those that are not, and a server
    regains its place as soon as it is back.
    """

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, position)."""
        return sorted(candidates, key=_RANK)
