"""A clock that stands still until it is moved, and a store of the kind that keeps bytes."""

from mcp_orchestra_memory import MemoryStore


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class BytesStore(MemoryStore):
    """A store that keeps bytes only, as those on a disk or a server do."""

    get_objects = None
    set_objects = None
