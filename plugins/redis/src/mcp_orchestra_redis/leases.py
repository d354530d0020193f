"""Leases on keys: values that name a holder and that the server forgets by itself."""

from mcp_orchestra_redis import scripts
from mcp_orchestra_redis.keys import Keys, as_bytes
from mcp_orchestra_redis.servers import Servers

__all__ = ["Leases"]


_LONGEST = 60.0  # seconds: whoever needs one for longer renews it


class Leases:
    """Grants leases, for a minute at most. Only the server's clock decides when one ends.

    What stands under the name of a lease and has no end, or a later one, was not put there as one, and is replaced.

    Args:
        servers: Where they are kept.
        keys: What they are called there.
    """

    def __init__(self, servers: Servers, keys: Keys) -> None:
        self._servers = servers
        self._keys = keys

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Give the holder the lease, or renew it; False while another one holds it."""
        return self._change(scripts.ACQUIRE, key, holder, _milliseconds(seconds), _milliseconds(_LONGEST))

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        """Renew the lease; False unless the holder holds it."""
        return self._change(scripts.RENEW, key, holder, _milliseconds(seconds))

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        self._change(scripts.RELEASE, key, holder)

    def _change(self, script: scripts.Script, key: str, holder: str, *arguments: int) -> bool:
        one: scripts.Call = ([self._keys.lease(key)], (as_bytes(holder), *arguments))
        return scripts.call(self._servers, script, [one]) == [1]


def _milliseconds(seconds: float) -> int:
    return max(1, round(min(seconds, _LONGEST) * 1000))
