"""What a policy remembers of each group of equals among which it takes turns."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from mcp_orchestra import Candidate

__all__ = ["Rotations"]

StateT = TypeVar("StateT")

_MOST_GROUPS = 1000
"""Groups come from the configuration, but nothing bounds how many there are: the longest unused one is forgotten."""


class Rotations(Generic[StateT]):
    """One state for each group of equals, whoever of them is usable at the moment.

    Two domains whose servers overlap take their turns apart, as each would alone; a group that loses or gains a server
    for good starts anew.

    Args:
        start: Makes the state of a group that was not seen before.
    """

    def __init__(self, start: Callable[[], StateT]) -> None:
        self._start = start
        self._states: OrderedDict[tuple[str, ...], StateT] = OrderedDict()

    def of(self, usable: Sequence[Candidate], others: Sequence[Candidate]) -> StateT:
        """Return the state of the group that these candidates are."""
        group = tuple(sorted([one.server_id for one in usable] + [one.server_id for one in others]))
        if (state := self._states.get(group)) is None:
            state = self._states[group] = self._start()
            if len(self._states) > _MOST_GROUPS:
                self._states.popitem(last=False)
        else:
            self._states.move_to_end(group)
        return state
