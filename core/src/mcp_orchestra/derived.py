"""What was worked out from each server's cached answer, once for each answer and not once for each question."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["Derived"]

ResultT = TypeVar("ResultT")


class Derived(Generic[ResultT]):
    """Something that follows from a server's cached data, kept as long as the data is the same object.

    Args:
        work_out: Makes it from the data.
    """

    def __init__(self, work_out: Callable[[Mapping[str, Any]], ResultT]) -> None:
        self._work_out = work_out
        self._kept: dict[str, tuple[Mapping[str, Any], ResultT]] = {}

    def of(self, server_id: str, data: Mapping[str, Any]) -> ResultT:
        """Return what follows from a server's data."""
        kept = self._kept.get(server_id)
        if kept is None or kept[0] is not data:
            kept = self._kept[server_id] = data, self._work_out(data)
        return kept[1]

    def last(self, server_id: str) -> ResultT | None:
        """Return what followed from the last data that was seen of a server, or None."""
        kept = self._kept.get(server_id)
        return kept[1] if kept is not None else None

    def keep_only(self, server_ids: "set[str]") -> None:
        """Forget all other servers, with their data."""
        for server_id in self._kept.keys() - server_ids:
            del self._kept[server_id]
