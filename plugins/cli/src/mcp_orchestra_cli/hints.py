"""What to do about a server that does not connect."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["hint", "troubles"]

_LAST_LINES = 5

# By what our own transports and connections say (a test compares them); the first that fits counts.
_BY_REASON = [
    (r"was not found|no such file or command", "install the program, or give its full path as command"),
    (r"names an interpreter", "install that interpreter, or name it as command and the script in args"),
    (r"must not be executed|permission denied|not a program", "make the file executable, or name its interpreter"),
    (r"the directory cwd=", "create the directory, or correct cwd"),
    (r"process ended", "run the command by hand to see why it ends"),
    (
        r"refused the credentials|HTTP 40[13]\b",
        "set headers: {Authorization: 'Bearer ${TOKEN}'} and the variable TOKEN",
    ),
    (
        r"HTTP 40[456]\b|instead of an event stream",
        "check the path of the url, and the transport: /mcp is usually streamable-http, /sse is sse",
    ),
    (r"HTTP 429", "the server is being asked too often: wait, then try again"),
    (r"HTTP 5\d\d", "the server itself is broken: look at its own log"),
    (r"proxy", "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"),
    (r"was refused|connection refused", "is the server running, and does it listen at this address?"),
    (r"host name cannot be resolved", "correct the host name in url, or the name service"),
    (r"certificate|TLS", "correct the url's https and host name, or name the authority in ca_file"),
    (r"redirects", "configure the address that it redirects to"),
    (
        r"in time|no answer within",
        "raise timeout for this server, or find out why it is slow; does it speak MCP at all?",
    ),
    (r"cannot be reached|unreachable", "check the address, the network and any firewall"),
    (r"closed the connection|was cut|ended without a complete", "it ended or the network broke: look at its own log"),
    (r"JSON-RPC|the protocol", "does an MCP server answer there, over this transport?"),
]
_ADDRESS = re.compile(r"https?://\S+")  # may hold any word


def hint(server: Mapping[str, Any]) -> str | None:
    """Return what to do about a server, or None if nothing is known to help.

    Args:
        server: Its description in the status: ``state`` and ``error`` are looked at.
    """
    if server["state"] == "disabled":
        return "set enabled: true to use it"
    reason = _ADDRESS.sub("", server["error"] or "")
    for pattern, advice in _BY_REASON:
        if re.search(pattern, reason):
            return advice
    return None


def troubles(server: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for people: what is wrong with a server, what to do, and what it said last.

    Args:
        server: Its description in the status.
    """
    yield f"{server['id']}: {server['error'] or server['state']}"
    if (advice := hint(server)) is not None:
        yield f"  -> {advice}"
    if not server["connected"]:
        # Every attempt says the same again.
        yield from (f"  stderr: {line}" for line in list(dict.fromkeys(server["stderr"]))[-_LAST_LINES:])
