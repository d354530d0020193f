"""The cache, under its documented path."""

from mcp_orchestra import ResourceCache

__all__ = ["ResourceCache"]
