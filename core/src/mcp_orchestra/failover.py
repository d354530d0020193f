"""Decides in one place whether a failed request may be put to another server.

Reads and listings change nothing and may go on. A tool call may only if it was certainly not delivered: running a
tool twice is worse than an error. What a tool itself reports (``is_error``) is a result and never gets here.
"""

from collections.abc import Mapping
from typing import Any, Literal

from mcp_orchestra.errors import MCPOrchestratorException
from mcp_orchestra.registry import MCPServerInfo

__all__ = ["attempt_of", "may_ask_another"]


def may_ask_another(operation: Literal["read", "call"], error: MCPOrchestratorException) -> bool:
    """Return whether the next candidate may be asked after this error."""
    if operation == "read":
        return True
    # "rejected" is the server's own answer about this very call: another server's would be about another tool.
    return error.context.get("delivered") == "no" and error.context.get("cause") != "rejected"


def attempt_of(info: MCPServerInfo, error: MCPOrchestratorException) -> Mapping[str, Any]:
    """Return one attempt for the ``attempts`` of an error's context."""
    return {
        "server": info.name,
        "server_id": info.server_id,
        "reason": error.message,
        "cause": error.context.get("cause"),
    }
