"""The registry and its records, under their documented path."""

from mcp_orchestra import MCPRegistry, MCPServerInfo

__all__ = ["MCPRegistry", "MCPServerInfo"]
