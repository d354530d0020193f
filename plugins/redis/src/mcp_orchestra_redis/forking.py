"""What a fork copies belongs to the parent: the child closes its copies at once, whether it uses a store or not."""

import os
from functools import cache
from typing import Protocol
from weakref import WeakSet

__all__ = ["Inheritable", "leave_to_parent"]


class Inheritable(Protocol):
    """Something that is no good in the child of a fork."""

    def abandon(self) -> None:
        """Close what was copied, and do not touch what is behind it."""


_inheritable: WeakSet[Inheritable] = WeakSet()


def leave_to_parent(thing: Inheritable) -> None:
    """Have it abandoned in the child whenever this process forks, for as long as it is used."""
    _register()
    _inheritable.add(thing)


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    for thing in list(_inheritable):
        thing.abandon()
