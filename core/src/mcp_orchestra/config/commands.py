"""Keeps servers from starting programs that are not on the configuration's list."""

from collections.abc import Collection, Mapping

from mcp_orchestra.config.loaded import BoundTransport
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import show_key

__all__ = ["check_commands"]


def check_commands(
    transports: Mapping[str, BoundTransport], allowed: Collection[str] | None, problems: Problems
) -> None:
    """Note every server that is started with a program which is not allowed.

    A name is looked up in ``PATH`` and a path is not, so that the two never stand for each other.

    Args:
        transports: The transports of all servers, by id.
        allowed: What ``orchestration.security.allowed_commands`` says; None allows everything.
        problems: Receives what is wrong.
    """
    if allowed is None:
        return
    for server_id, bound in transports.items():
        if not bound.spec.spawns_process or problems.full:
            continue
        command = getattr(bound.options, "command", None)
        if not isinstance(command, str):
            problem = (
                f"the transport {bound.spec.name} does not say which program it starts, "
                "so orchestration.security.allowed_commands rules it out"
            )
            problems.add(("mcp_servers", server_id, "transport"), problem)
        elif command not in allowed:
            listing = ", ".join(map(show_key, allowed)) or "none"
            problem = f"not among orchestration.security.allowed_commands, exactly as written there: {listing}"
            problems.add(("mcp_servers", server_id, "command"), problem)
