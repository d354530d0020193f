"""What was worked out from each server's cached answer, once for each answer and not once for each question."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["Derived"]

ResultT = TypeVar("ResultT")


class Derived(Generic[ResultT]):
    """Something that follows from a server's cached data, kept as long as the data is the same object.

    Args:
        work_out: Makes it from a server's id and the data.
    """

    def __init__(self, work_out: Callable[[str, Mapping[str, Any]], ResultT]) -> None:
        self._work_out = work_out
        self.kept: dict[str, tuple[Mapping[str, Any], ResultT]] = {}
        """The last data that was seen of each server, and what followed from it."""

    def of(self, server_id: str, data: Mapping[str, Any]) -> ResultT:
        """Return what follows from a server's data."""
        kept = self.kept.get(server_id)
        if kept is None or kept[0] is not data:
            kept = self.kept[server_id] = data, self._work_out(server_id, data)
        return kept[1]

    def last(self, server_id: str) -> ResultT | None:
        """Return what followed from the last data that was seen of a server, or None."""
        kept = self.kept.get(server_id)
        return kept[1] if kept is not None else None

    def adopt(self, other: "Derived[ResultT]", server_ids: Iterable[str]) -> None:
        """Work out what follows from the data that another one has seen of these servers."""
        for server_id in server_ids:
            if (kept := other.kept.get(server_id)) is not None:
                self.of(server_id, kept[0])

    def keep_only(self, server_ids: "set[str]") -> None:
        """Forget all other servers, with their data."""
        for server_id in self.kept.keys() - server_ids:
            del self.kept[server_id]
