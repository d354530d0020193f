"""Decide which server is asked first: the routing policies that come with MCP Orchestra."""

from collections.abc import Iterator

from mcp_orchestra import RoutingPolicySpec, hookimpl

from mcp_orchestra_routing.priority import ByPriority

__all__ = ["ByPriority", "mcp_orchestra_routing_policies"]


@hookimpl
def mcp_orchestra_routing_policies() -> Iterator[RoutingPolicySpec]:
    """Yield the policies, under the names that users write in their configuration."""
    yield RoutingPolicySpec(name="priority", create=lambda _options: ByPriority())
