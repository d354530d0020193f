"""Every exception that MCP Orchestra raises.

::

    MCPOrchestratorException
    ├── ConfigurationError          the file, an option or a plug-in is wrong; nothing was opened
    │   └── PluginError             two plug-ins claim one name, or one is broken in strict mode
    ├── MCPConnectionError          a server cannot be reached, or its connection was lost
    ├── ResourceFetchError          a server is there but its resources could not be had
    ├── ToolCallError               a tool call ended without a result
    │   └── ToolNotFoundError       no connected server has that tool
    ├── NoMCPAvailableError         nobody is left who could answer
    └── UnknownServerError          no server is registered under that id (also a KeyError)
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ConfigurationError",
    "MCPConnectionError",
    "MCPOrchestratorException",
    "NoMCPAvailableError",
    "PluginError",
    "ResourceFetchError",
    "ToolCallError",
    "ToolNotFoundError",
    "UnknownServerError",
]


class MCPOrchestratorException(Exception):  # noqa: N818 - the documented name
    """Base of all errors of the orchestrator.

    Args:
        message: What happened and what to do about it, in one line, free of secrets.
        context: Facts for programs: where known ``server`` (display name), ``server_id``, ``operation``,
            ``cause`` (a short word such as ``"timeout"``), ``retryable`` and, after failover, ``attempts``.
    """

    def __init__(self, message: str = "", context: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.context: dict[str, Any] = dict(context or {})

    def __str__(self) -> str:
        """Return the message alone (``KeyError`` would add quotes)."""
        return self.message


class ConfigurationError(MCPOrchestratorException):
    """The configuration is missing or invalid; the message names the place and what was expected."""


class PluginError(ConfigurationError):
    """A plug-in cannot be used; the message names its distribution and how to switch it off."""


class MCPConnectionError(MCPOrchestratorException):
    """A server cannot be reached, or the connection to it was lost.

    From ``initialize()`` in fail-fast mode the context is ``{"failed": {id: reason}, "connected": [id]}``.
    """


class ResourceFetchError(MCPOrchestratorException):
    """A server's resources could not be fetched; ``context["server"]`` is its display name."""


class ToolCallError(MCPOrchestratorException):
    """A tool call ended without a result.

    ``context["delivered"]`` is ``"no"`` (the tool did not run), ``"maybe"`` or ``"yes"``. A tool that ran and
    reports a failure of its own is not an error: its result has ``is_error`` set.
    """


class ToolNotFoundError(ToolCallError):
    """No connected server offers the tool; the message lists near names."""


class NoMCPAvailableError(MCPOrchestratorException):
    """No server is left that could answer; the context holds each candidate's state and reason."""


class UnknownServerError(MCPOrchestratorException, KeyError):
    """No server is registered under the id; the context lists the known ids."""
