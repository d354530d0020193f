"""The configuration file of the demo: short, commented, and good to copy."""

import shlex
from collections.abc import Sequence

from mcp_orchestra_cli.demo.children import Child, server_command
from mcp_orchestra_cli.demo.contents import ROLES
from mcp_orchestra_cli.scaffold.yamls import comment, entry, indented, value

__all__ = ["PREFERRED", "SECOND", "configuration"]

PREFERRED = "products"
"""The id of the server that is asked first for the domain ``products``."""
SECOND = "metadata"
"""The id of the one that is asked when the first is gone."""

_SERVERS: dict[str, dict[str, object]] = {
    "products": {"priority": 1, "domains": ["products"]},
    "orders": {"priority": 10, "domains": ["orders"]},
    "metadata": {"priority": 20, "domains": ["metadata", "products"]},
}
_WHY = {
    "products": "Priority 1: the first to be asked for the domain products.",
    "orders": "SSE is the transport of older servers; the protocol has deprecated it.",
    "metadata": "A child process. It has a copy of the products, so it stands in for the first one.",
}


def configuration(http: Sequence[Child]) -> str:
    """Return the file's text.

    Args:
        http: The running HTTP servers; the remaining one is started over stdio by whoever connects.
    """
    urls = {child.role: child for child in http}
    lines = ["mcp_servers:"]
    for role, fields in _SERVERS.items():
        child = urls.get(role)
        lines += indented([*comment(_WHY[role])])
        if child is not None:
            lines += indented([f"# Start it: {shlex.join(server_command(role, child.transport, child.port))}"])
        lines += indented([f"{value(role)}:"])
        lines += indented([entry("name", ROLES[role].title)], 2)
        if child is not None:
            where: dict[str, object] = {"transport": child.transport, "url": child.url}
        else:
            command, *arguments = server_command(role, "stdio")
            where = {"transport": "stdio", "command": command, "args": arguments}
        capabilities = {"capabilities": ["list_resources"], "timeout": 20}
        lines += indented([entry(key, data) for key, data in {**where, **fields, **capabilities}.items()], 2)
    behaviour = {
        "resource_cache_ttl": ("Gathered resources are fresh for so many seconds.", 300),
        "fail_fast": ("Work with the servers that are there; keep trying the others.", False),
        "log_level": ("", "WARNING"),
    }
    lines.append("orchestration:")
    for key, (why, data) in behaviour.items():
        lines += indented([*comment(why), entry(key, data)])
    return "\n".join(lines) + "\n"
