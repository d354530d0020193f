"""The documented exceptions, under their documented path."""

from mcp_orchestra import (
    ConfigurationError,
    MCPConnectionError,
    MCPOrchestratorException,
    NoMCPAvailableError,
    ResourceFetchError,
)

__all__ = [
    "ConfigurationError",
    "MCPConnectionError",
    "MCPOrchestratorException",
    "NoMCPAvailableError",
    "ResourceFetchError",
]
