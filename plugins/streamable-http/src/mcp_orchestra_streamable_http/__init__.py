"""Reach MCP servers over streamable HTTP."""
