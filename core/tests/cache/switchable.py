"""Stores that fail, and hang, when they are told to."""

from threading import Event

from mcp_orchestra_memory import MemoryStore

METHODS = frozenset(
    {
        *("get_many", "set_many", "delete_many", "clear", "count", "purge", "get_objects", "set_objects"),
        *("acquire", "renew", "set_held", "release"),
    }
)


class Switchable:
    """Makes of a store one whose methods raise while it is ``down``, and wait while ``gate`` is closed.

    ``entered`` says whether one has been called, since it was cleared.
    """

    down = False

    def __init__(self, *args, **options) -> None:
        self.gate = Event()
        self.gate.set()
        self.entered = Event()
        super().__init__(*args, **options)

    def __getattribute__(self, name: str) -> object:
        method = super().__getattribute__(name)
        if name not in METHODS or method is None:
            return method

        def call(*args):
            if self.down:
                raise ConnectionError
            self.entered.set()
            self.gate.wait(30)
            return method(*args)

        return call


class SwitchableMemory(Switchable, MemoryStore):
    """A store of objects."""


class SwitchableBytes(SwitchableMemory):
    """A store of bytes."""

    get_objects = None
    set_objects = None
