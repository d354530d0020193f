"""What is cached, for how long it may be served, and how one fetch at a time is made for each key."""

from mcp_orchestra.cache.answer import Answer
from mcp_orchestra.cache.entry import Fetched
from mcp_orchestra.cache.freshness import Freshness
from mcp_orchestra.cache.keys import resources_key, templates_key, tools_key
from mcp_orchestra.cache.resource_cache import ResourceCache
from mcp_orchestra.cache.storeless import storeless
from mcp_orchestra.cache.tickets import Ticket

__all__ = [
    "Answer",
    "Fetched",
    "Freshness",
    "ResourceCache",
    "Ticket",
    "resources_key",
    "storeless",
    "templates_key",
    "tools_key",
]
