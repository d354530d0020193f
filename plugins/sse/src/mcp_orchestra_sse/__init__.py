"""Reach MCP servers over HTTP with server-sent events, the deprecated transport."""
