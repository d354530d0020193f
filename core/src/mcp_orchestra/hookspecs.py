"""The hooks that a plug-in may implement: the page its author reads first.

A plug-in is a module that core finds through the entry-point group ``mcp_orchestra``::

    # pyproject.toml of the plug-in
    [project.entry-points.mcp_orchestra]
    tcp = "mcp_orchestra_tcp"          # name = what users disable; value = the module

    # mcp_orchestra_tcp/__init__.py
    from mcp_orchestra import Endpoint, TransportSpec, hookimpl

    def open_tcp(endpoint: Endpoint):
        from mcp_orchestra_tcp.client import tcp_client     # heavy imports belong in here, not at the top

        return tcp_client(endpoint.url)

    @hookimpl
    def mcp_orchestra_transports():
        yield TransportSpec(name="tcp", open=open_tcp)

Hooks only describe: they are called once, synchronously, when an orchestrator loads its configuration, and yield
records (`mcp_orchestra.types`). The factory in a record does the work, later, and only if a user chose its name.
Two plug-ins that offer one name are an error that names both distributions.

While writing one, ``PluginManager(strict=True).discover()`` shows why it is refused, with what it raised as the cause.
"""

from collections.abc import Iterable

import pluggy

from mcp_orchestra.types import CacheBackendSpec, RoutingPolicySpec, TransportSpec

__all__ = [
    "PROJECT",
    "hookimpl",
    "mcp_orchestra_cache_backends",
    "mcp_orchestra_routing_policies",
    "mcp_orchestra_transports",
]

PROJECT: str = "mcp_orchestra"
"""The pluggy project and the entry-point group."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plug-in as the implementation of the hook of the same name."""


@hookspec
def mcp_orchestra_transports() -> Iterable[TransportSpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the transports that the plug-in offers.

    Called once for each orchestrator, before anything is connected. A name or alias that another plug-in offers too is
    a ``PluginError``; whatever the hook raises marks the plug-in as failed and leaves the others alone.

    Example::

        from mcp_orchestra import Endpoint, TransportSpec, hookimpl
        from pydantic import BaseModel

        class TcpOptions(BaseModel):
            url: str
            keep_alive: bool = True

        def open_tcp(endpoint: Endpoint[TcpOptions]):
            from mcp_orchestra_tcp.client import tcp_client

            return tcp_client(endpoint.options.url, keep_alive=endpoint.options.keep_alive)

        @hookimpl
        def mcp_orchestra_transports():
            yield TransportSpec(name="tcp", open=open_tcp, options=TcpOptions)
    """


@hookspec
def mcp_orchestra_cache_backends() -> Iterable[CacheBackendSpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the cache backends that the plug-in offers.

    Called once for each orchestrator. Only the backend that the configuration names is opened. A name that another
    plug-in offers too is a ``PluginError``; whatever the hook raises marks the plug-in as failed.

    Example::

        from mcp_orchestra import CacheBackendSpec, hookimpl
        from pydantic import BaseModel

        class SqliteOptions(BaseModel):
            path: str

        def open_sqlite(options: SqliteOptions):
            from mcp_orchestra_sqlite.store import SqliteStore

            return SqliteStore(options.path)

        @hookimpl
        def mcp_orchestra_cache_backends():
            yield CacheBackendSpec(name="sqlite", open=open_sqlite, options=SqliteOptions, persistent=True)
    """


@hookspec
def mcp_orchestra_routing_policies() -> Iterable[RoutingPolicySpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the routing policies that the plug-in offers.

    Called once for each orchestrator. Only policies that the configuration names are created. A name that another
    plug-in offers too is a ``PluginError``; whatever the hook raises marks the plug-in as failed.

    Example::

        from mcp_orchestra import RoutingPolicySpec, hookimpl

        class ById:
            def order(self, question, candidates):
                return sorted(candidates, key=lambda candidate: candidate.server_id)

        @hookimpl
        def mcp_orchestra_routing_policies():
            yield RoutingPolicySpec(name="by-id", create=lambda options: ById())
    """
