"""Keep cached resources in the memory of the process."""

from collections.abc import Iterable

from mcp_orchestra import CacheBackendSpec, hookimpl

from mcp_orchestra_memory.options import MemoryOptions
from mcp_orchestra_memory.store import MemoryStore

__all__ = ["MemoryOptions", "MemoryStore", "mcp_orchestra_cache_backends"]


@hookimpl
def mcp_orchestra_cache_backends() -> Iterable[CacheBackendSpec]:
    """Offer the backend ``memory``."""
    yield CacheBackendSpec(name="memory", open=_open, options=MemoryOptions, blocking=False, persistent=False)


def _open(options: MemoryOptions | None) -> MemoryStore:
    options = options or MemoryOptions()
    return MemoryStore(max_entries=options.max_entries, max_bytes=options.max_bytes)
