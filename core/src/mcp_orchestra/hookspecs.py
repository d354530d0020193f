"""The hooks that a plug-in may implement: the page its author reads first.

A plug-in is a module that core finds through the entry-point group ``mcp_orchestra``::

    # pyproject.toml of the plug-in
    [project.entry-points.mcp_orchestra]
    tcp = "mcp_orchestra_tcp"          # name = what users disable; value = the module

    # mcp_orchestra_tcp.py
    from mcp_orchestra import Endpoint, TransportSpec, hookimpl

    def open_tcp(endpoint: Endpoint):
        from ._client import tcp_client     # heavy imports belong in here, not at the top
        return tcp_client(endpoint.url)

    @hookimpl
    def mcp_orchestra_transports():
        yield TransportSpec(name="tcp", open=open_tcp)

Hooks only describe: they are called once, synchronously, when an orchestrator loads its configuration, and yield
records (`mcp_orchestra.types`). The factory in a record does the work, later, and only if a user chose its name.
Two plug-ins that offer one name are an error that names both distributions.
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

PROJECT = "mcp_orchestra"
"""The pluggy project and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plug-in as the implementation of the hook of the same name."""


@hookspec
def mcp_orchestra_transports() -> Iterable[TransportSpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the transports that the plug-in offers.

    Called once for each orchestrator, before anything is connected. A name that another plug-in offers too is a
    ``PluginError``; whatever the hook raises marks the plug-in as failed and leaves the others alone.

    Example::

        @hookimpl
        def mcp_orchestra_transports():
            yield TransportSpec(name="tcp", open=open_tcp, options=TcpOptions)
    """


@hookspec
def mcp_orchestra_cache_backends() -> Iterable[CacheBackendSpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the cache backends that the plug-in offers.

    Called once for each orchestrator. Only the backend that the configuration names is opened.

    Example::

        @hookimpl
        def mcp_orchestra_cache_backends():
            yield CacheBackendSpec(name="disk", open=DiskStore, options=DiskOptions, blocking=True)
    """


@hookspec
def mcp_orchestra_routing_policies() -> Iterable[RoutingPolicySpec]:  # type: ignore[empty-body]  # a declaration
    """Yield the routing policies that the plug-in offers.

    Called once for each orchestrator. Only policies that the configuration names are created.

    Example::

        @hookimpl
        def mcp_orchestra_routing_policies():
            yield RoutingPolicySpec(name="priority", create=lambda options: ByPriority())
    """
