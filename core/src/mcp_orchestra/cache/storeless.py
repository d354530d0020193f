"""A cache in which nothing is kept: what is asked at the same moment is still fetched once."""

from collections.abc import Iterable, Mapping, Sequence

from mcp_orchestra.cache.resource_cache import ResourceCache
from mcp_orchestra.stores import StoredEntry

__all__ = ["storeless"]


def storeless() -> ResourceCache:
    """Return a cache that keeps nothing."""
    return ResourceCache(store=_Nowhere())


class _Nowhere:
    def get_many(self, keys: Sequence[str]) -> Mapping[str, StoredEntry]:
        return {}

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        return 0

    def delete_many(self, keys: Iterable[str]) -> int:
        return 0

    def clear(self) -> None:
        pass

    def count(self, now: float) -> int:
        return 0

    def purge(self, now: float) -> int:
        return 0

    def close(self) -> None:
        pass
