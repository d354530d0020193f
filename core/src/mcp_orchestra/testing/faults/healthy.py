"""What a small modern server answers while nothing is wrong with it: one tool, one resource."""

from typing import Any

__all__ = ["COMMON", "TOOL", "URI", "discovered", "initialized", "result_of"]

TOOL = "echo"
"""The name of its tool."""
URI = "fault://0"
"""Where its resource is."""
COMMON: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What every result of the 2026-07-28 revision has."""

_ABOUT: dict[str, Any] = {
    "capabilities": {"tools": {}, "resources": {}},
    "serverInfo": {"name": "sick", "version": "1"},
}


def discovered() -> dict[str, Any]:
    """Return the result of ``server/discover``."""
    return {**COMMON, **_ABOUT, "supportedVersions": ["2026-07-28"]}


def initialized() -> dict[str, Any]:
    """Return the result of ``initialize`` of a server of the legacy era."""
    return {**_ABOUT, "protocolVersion": "2025-11-25"}


def result_of(method: str) -> dict[str, Any] | None:
    """Return the result of a request; None if the server does not know the method."""
    match method:
        case "server/discover":
            return discovered()
        case "tools/list":
            return {**COMMON, "tools": [{"name": TOOL, "inputSchema": {"type": "object"}}]}
        case "tools/call":
            return {**COMMON, "content": [{"type": "text", "text": "well"}]}
        case "resources/list":
            return {**COMMON, "resources": [{"uri": URI, "name": "0", "mimeType": "text/plain"}]}
        case "resources/read":
            return {**COMMON, "contents": [{"uri": URI, "mimeType": "text/plain", "text": "well"}]}
        case _:
            return None
