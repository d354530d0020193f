"""The import paths of the MCP Orchestrator's documentation; everything in here lives in `mcp_orchestra`."""

__all__: list[str] = []
