"""The command mcp-orchestra."""
