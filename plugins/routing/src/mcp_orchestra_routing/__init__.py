"""Decide which server is asked first: the routing policies that come with MCP Orchestra."""

from collections.abc import Iterator

from mcp_orchestra import RoutingPolicySpec, hookimpl

from mcp_orchestra_routing.least_latency import LeastLatency
from mcp_orchestra_routing.priority import ByPriority
from mcp_orchestra_routing.round_robin import RoundRobin
from mcp_orchestra_routing.sticky import Sticky
from mcp_orchestra_routing.weighted import Weighted

__all__ = ["ByPriority", "LeastLatency", "RoundRobin", "Sticky", "Weighted", "mcp_orchestra_routing_policies"]


@hookimpl
def mcp_orchestra_routing_policies() -> Iterator[RoutingPolicySpec]:
    """Yield the policies, under the names that users write in their configuration."""
    yield RoutingPolicySpec(name="priority", create=lambda _options: ByPriority())
    yield RoutingPolicySpec(name="round-robin", create=lambda _options: RoundRobin(), stateful=True)
    yield RoutingPolicySpec(name="weighted", create=lambda _options: Weighted(), stateful=True)
    yield RoutingPolicySpec(name="least-latency", create=lambda _options: LeastLatency(), stateful=True)
    yield RoutingPolicySpec(name="sticky", create=lambda _options: Sticky())
