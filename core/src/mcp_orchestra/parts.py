"""The shape of a server's part of what is gathered, as the API document has it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from mcp_orchestra.registry import MCPServerInfo

__all__ = ["copied_part", "listed", "server_part"]


def server_part(info: MCPServerInfo, resources: Mapping[str, Any], *, stale: bool = False) -> dict[str, Any]:
    """Return a server's part: the document's four keys, and ``stale`` if it is."""
    part = {
        "priority": info.config.priority,
        "domains": list(info.config.domains),
        "capabilities": list(info.config.capabilities),
        "resources": resources,
    }
    return part | {"stale": True} if stale else part


def copied_part(part: Mapping[str, Any], resources: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a copy of a server's part, given what makes a copy of its resources."""
    return {
        **part,
        "domains": [*part["domains"]],
        "capabilities": [*part["capabilities"]],
        "resources": resources(),
    }


def listed(resources: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    """Yield the resources among what is cached under a server's key, where anybody may have put anything."""
    for resource in resources.values():
        if isinstance(resource, Mapping) and "uri" in resource:
            yield cast("Mapping[str, Any]", resource)
