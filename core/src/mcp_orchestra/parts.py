"""The shape of a server's part of what is gathered, as the API document has it."""

from collections.abc import Mapping
from typing import Any

from mcp_orchestra.registry import MCPServerInfo

__all__ = ["server_part"]


def server_part(info: MCPServerInfo, resources: Mapping[str, Any], *, stale: bool = False) -> dict[str, Any]:
    """Return a server's part: the document's four keys, and ``stale`` if it is."""
    part = {
        "priority": info.config.priority,
        "domains": list(info.config.domains),
        "capabilities": list(info.config.capabilities),
        "resources": resources,
    }
    return part | {"stale": True} if stale else part
