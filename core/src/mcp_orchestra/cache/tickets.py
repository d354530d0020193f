"""Says, without looking anything up, whether what was looked up before is still what would be found."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from mcp_orchestra.cache.answer import Answer
from mcp_orchestra.cache.freshness import CLOCK_SKEW
from mcp_orchestra.cache.near import NearCache
from mcp_orchestra.cache.statistics import Tally

__all__ = ["Ticket", "Tickets"]

_LONGEST_SECONDS = 1.0  # now and then a store has to see that its entries are used, or it evicts the wrong ones


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for the outcome of a look-up."""

    mark: object
    since: float = 0.0
    until: float = float("-inf")
    tallies: tuple[Tally, ...] = ()
    near: NearCache | None = None
    near_until: float = float("-inf")


class Tickets:
    """Marks that are replaced with every change to a cache.

    Args:
        clock: The cache's, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mark = object()

    def revoke(self) -> None:
        """Make all tickets void: something was stored, dropped, or changed by others; for any thread."""
        self._mark = object()  # in one step: of two threads that do so at once, none brings an earlier mark back

    def issue(self) -> Ticket:
        """Return a ticket that stands for nothing yet; changes from now on make it void."""
        return Ticket(self._mark)

    def grant(
        self,
        ticket: Ticket,
        answers: Collection[Answer],
        tallies: tuple[Tally, ...],
        near: NearCache | None,
        near_until: float,
    ) -> Ticket:
        """Return a ticket that stands for fresh answers.

        Args:
            ticket: Issued before they were looked up.
            answers: What was found.
            tallies: Where each of them is counted.
            near: Where they came from, if they did not come from a store in this process.
            near_until: Until when they are good there.
        """
        now = self._clock()
        until = min((answer.good_until for answer in answers), default=now)
        since = max((answer.stored_at for answer in answers), default=now)
        return Ticket(ticket.mark, since, min(until, now + _LONGEST_SECONDS), tallies, near, near_until)

    def honours(self, ticket: Ticket) -> bool:
        """Return whether a ticket is good."""
        return (
            ticket.mark is self._mark
            and ticket.since - CLOCK_SKEW <= self._clock() < ticket.until
            and (ticket.near is None or ticket.near.honours(ticket.near_until))
        )
