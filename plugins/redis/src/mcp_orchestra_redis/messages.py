"""What is published about a change: who made it, and to which key."""

import os
import secrets

from mcp_orchestra_redis.keys import as_bytes, as_text

__all__ = ["ANY_KEY", "Changed", "Sender"]

ANY_KEY = None
"""Stands for all keys."""

Changed = str | None

_END = b"\0"


class Sender:
    """Writes messages in the name of one user of the store, and reads those of the others."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8).encode()

    def written(self, key: Changed) -> bytes:
        """Return the message that says that a key was changed, or that all were."""
        return self._name if key is None else self._name + _END + as_bytes(key)

    def read(self, message: bytes) -> list[Changed]:
        """Return what others changed: nothing if the message is ours, all keys if it cannot be read."""
        name, end, key = message.partition(_END)
        if name == self._name:
            return []
        try:
            return [as_text(key) if end else ANY_KEY]
        except UnicodeDecodeError:
            return [ANY_KEY]

    @property
    def _name(self) -> bytes:
        # After a fork, parent and child have one token, and each has to hear the other.
        return self._token + b"-%d" % os.getpid()
