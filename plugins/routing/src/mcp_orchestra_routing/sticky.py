"""The policy ``sticky``: the same key goes to the same server, as long as that is there."""

from collections.abc import Sequence
from hashlib import blake2b
from math import log

from mcp_orchestra import Candidate, Question

from mcp_orchestra_routing.tiers import tiers

__all__ = ["Sticky"]

_HASHES = 2**64


class Sticky:
    """Weighted rendezvous hashing among servers of equal priority, by the question's key or else by its value.

    Each server draws a number from the key and its own id, and the best one is asked first. That depends on nothing
    else: it is the same in every process, and a server that comes or goes moves only the keys that are or were its own.
    """

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the candidates by (priority, usable, what they drew)."""
        key = question.value if question.key is None else question.key
        drawing = blake2b(key.encode(errors="surrogatepass") + b"\0", digest_size=8)

        def drawn(one: Candidate) -> float:
            hashed = drawing.copy()
            hashed.update(one.server_id.encode(errors="surrogatepass"))
            # In (0, 1], so that its logarithm exists; an exponential distribution makes the odds equal the weights.
            luck = (int.from_bytes(hashed.digest(), "big") + 1) / _HASHES
            return -log(luck) / one.weight

        ordered: list[Candidate] = []
        for usable, others in tiers(candidates):
            ordered += sorted(usable, key=drawn)
            ordered += sorted(others, key=drawn)
        return ordered
