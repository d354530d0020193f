"""Run MCP servers as child processes and talk to them over stdin and stdout."""
