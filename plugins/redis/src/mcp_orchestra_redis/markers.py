"""Tells whether data were dropped behind everybody's back: by FLUSHALL, or by a dump that was restored."""

import secrets
from itertools import count

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.keys import Keys
from mcp_orchestra_redis.replies import value
from mcp_orchestra_redis.servers import Command, Servers
from mcp_orchestra_redis.topology import Layout

__all__ = ["Markers"]


class Markers:
    """Random values, one on each server, which are there for as long as the rest is.

    Args:
        servers: Where they are.
        keys: What they are called there.
    """

    def __init__(self, servers: Servers, keys: Keys) -> None:
        self._servers = servers
        self._keys = keys
        self._seen: dict[bytes, bytes] = {}

    def changed(self, layout: Layout) -> bool:
        """Look at them, set those that are missing, and return whether any is another than the last time.

        Raises:
            RedisError: They cannot be read or set.
        """
        names = self._names(layout)
        replies = self._servers.run([Command(name, ("GET", name)) for name in names])
        found: dict[bytes, bytes] = {}
        for name, reply in zip(names, replies, strict=True):
            if not str(reply).startswith("WRONGTYPE") and (token := value(reply)) is not None:
                found[name] = token
        # Others may set them at the same time: then all but one see another one the next time, once.
        missing = {name: secrets.token_hex(16).encode() for name in names if name not in found}
        self._servers.checked([Command(name, ("SET", name, token)) for name, token in missing.items()])
        seen, self._seen = self._seen, found | missing
        return seen != self._seen

    def _names(self, layout: Layout) -> list[bytes]:
        """Return one name for each server."""
        names: dict[Place, bytes] = {}
        for number in count():
            name = self._keys.marker(number)
            names.setdefault(layout.owner(name), name)
            if len(names) == len(layout.places):
                break
        return list(names.values())
