"""Keep cached resources on disk."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcp_orchestra import CacheBackendSpec, hookimpl

from mcp_orchestra_disk.options import DiskOptions

if TYPE_CHECKING:
    from mcp_orchestra_disk.store import DiskStore

__all__ = ["DiskOptions", "DiskStore", "mcp_orchestra_cache_backends"]


@hookimpl
def mcp_orchestra_cache_backends() -> Iterable[CacheBackendSpec]:
    """Offer the backend ``disk``."""
    yield CacheBackendSpec(name="disk", open=_open, options=DiskOptions, blocking=True, persistent=True)


def _open(options: DiskOptions | None) -> "DiskStore":
    from mcp_orchestra_disk.opening import open_store

    return open_store(options or DiskOptions())


def __getattr__(name: str) -> object:
    if name == "DiskStore":  # every program imports this module, and few use diskcache
        from mcp_orchestra_disk.store import DiskStore

        return DiskStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
