"""The orchestrator, under its documented path."""

from mcp_orchestra import MCPOrchestrator

__all__ = ["MCPOrchestrator"]
