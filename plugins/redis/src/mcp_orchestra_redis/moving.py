"""What is done step by step while a cluster moves an entry and the lease on it, one of which may be here and one there.

The lease always goes first: without it, a fetch that began before cannot store its result in between or afterwards.
"""

from redis.exceptions import ResponseError

from mcp_orchestra_redis import scripts
from mcp_orchestra_redis.scripts import Call
from mcp_orchestra_redis.servers import Command, Servers
from mcp_orchestra_redis.wire import Reply

__all__ = ["drop", "store", "store_nothing"]


def store(servers: Servers, call: Call) -> Reply:
    """Do what `scripts.STORE` does for one who needs no lease."""
    (entry, lease), (value, milliseconds, channel, message) = call
    (revoked,) = servers.run([Command(lease, ("UNLINK", lease))])
    if isinstance(revoked, ResponseError):
        return revoked
    (stored,) = servers.run([Command(entry, ("SET", entry, value, "PX", milliseconds))])
    if isinstance(stored, ResponseError):
        servers.run([Command(entry, ("UNLINK", entry))])
    (published,) = servers.run([Command(entry, ("PUBLISH", channel, message))])
    return published if isinstance(published, ResponseError) else stored


def store_nothing(servers: Servers, call: Call) -> Reply:
    """End the lease: whether it still held at the moment of storing, only one step with both could tell."""
    (_, lease), (*_, holder) = call
    scripts.call(servers, scripts.RELEASE, [([lease], (holder,))])
    return None


def drop(servers: Servers, call: Call) -> Reply:
    """Do what `scripts.DROP` does."""
    (entry, lease), (channel, message) = call
    (revoked,) = servers.run([Command(lease, ("UNLINK", lease))])
    if isinstance(revoked, ResponseError):
        return revoked
    (dropped,) = servers.run([Command(entry, ("UNLINK", entry))])
    (published,) = servers.run([Command(entry, ("PUBLISH", channel, message))])
    return published if isinstance(published, ResponseError) else dropped
