"""The configuration's models, under their documented path."""

from mcp_orchestra import MCPConfig, MCPServerConfig, OrchestrationConfig

__all__ = ["MCPConfig", "MCPServerConfig", "OrchestrationConfig"]
