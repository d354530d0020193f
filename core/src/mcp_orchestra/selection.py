"""Whom a question is for, by what its caller says about it."""

from typing import Literal

from mcp_orchestra.errors import UnknownServerError
from mcp_orchestra.inputs import checked_key, checked_text
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.types import Question

__all__ = ["narrowing", "none_fits", "question_of", "selected"]


def selected(
    registry: MCPRegistry, server: str | None, domain: str | None = None, capability: str | None = None
) -> list[MCPServerInfo]:
    """Return the servers that fit, in priority order.

    Args:
        registry: All servers.
        server: Id or display name of the only one.
        domain: Only those that declare it.
        capability: Only those that declare it.

    Raises:
        UnknownServerError: There is no such server.
    """
    if domain is not None:
        servers = registry.get_servers_by_domain(domain)
    elif capability is not None:
        servers = registry.get_servers_by_capability(capability)
    else:
        servers = registry.get_all_servers()
    if domain is not None and capability is not None:
        servers = [info for info in servers if capability in info.config.capabilities]
    if server is None:
        return servers
    everybody = registry.get_all_servers()
    named = {info.server_id for info in everybody if server in (info.server_id, info.name)}
    if not named:
        known = ", ".join(info.server_id for info in everybody)
        raise UnknownServerError(f"no server is called {server!r}; there are: {known}", {"server": server})
    # An id is unique; a display name may be another server's id.
    wanted = {server} if server in named else named
    return [info for info in servers if info.server_id in wanted]


def narrowing(domain: str | None, capability: str | None, key: str | None) -> Question | None:
    """Return the question that a caller asks who narrows down who may answer; None for one who does not."""
    if domain is not None:
        return Question(kind="domain", value=domain, key=key)
    return Question(kind="capability", value=capability, key=key) if capability is not None else None


def none_fits(question: Question | None) -> str:
    """Return why there is nobody at all who may be asked a question that `narrowing` has returned."""
    if question is None:
        return "no server is configured"
    return f"no server that may be asked declares what is asked for ({question.kind} {question.value!r})"


def question_of(
    *, domain: str | None, capability: str | None, uri: str | None, tool: str | None, key: str | None
) -> Question:
    """Return the one question that was given.

    Raises:
        TypeError: There is none, or more than one, or something is not a text.
        ValueError: A text is not valid Unicode.
    """
    key = checked_key(key)
    kinds: dict[Literal["domain", "capability", "uri", "tool"], str | None]
    kinds = {"domain": domain, "capability": capability, "uri": uri, "tool": tool}
    given = [
        Question(kind=kind, value=checked_text(value, kind), key=key)
        for kind, value in kinds.items()
        if value is not None
    ]
    if len(given) != 1:
        raise TypeError(f"give exactly one of domain, capability, uri and tool, not {len(given)}")
    return given[0]
