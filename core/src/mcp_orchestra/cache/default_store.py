"""The store of a cache that was given none."""

from mcp_orchestra.stores import CacheStore

__all__ = ["open_default"]


def open_default() -> tuple[CacheStore, bool]:
    """Open the installed backend named ``memory``.

    Returns:
        The store, and whether it is blocking.

    Raises:
        PluginError: No such backend is installed.
    """
    from mcp_orchestra.plugins import PluginManager  # needs pluggy, and who brings a store of his own does not

    plugins = PluginManager(only=("memory",))
    plugins.discover()
    backend = plugins.cache_backend("memory")
    return backend.open(backend.options() if backend.options is not None else None), backend.blocking
