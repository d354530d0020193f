"""What plug-in authors and applications need to test against real MCP servers; needs ``mcp-orchestra[testing]``."""
