"""MCP Orchestra in a FastAPI application: a router, and a lifespan that connects and closes."""

from mcp_orchestra_fastapi.router import create_router
from mcp_orchestra_fastapi.startup import lifespan

__all__ = ["create_router", "lifespan"]
