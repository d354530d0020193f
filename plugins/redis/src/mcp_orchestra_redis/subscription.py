"""One connection on which changes are told."""

from typing import cast

from redis.exceptions import TimeoutError as SilentError

from mcp_orchestra_redis.wire import Connection, Reply, packed

__all__ = ["Subscription"]

_NEVER = float("-inf")


class Subscription:
    """Receives what is published on a channel from the moment on at which it was made.

    Args:
        connection: Connected, and from now on the subscription's.
        channel: What to listen to.

    Raises:
        RedisError: The server does not confirm.
    """

    def __init__(self, connection: Connection, channel: str) -> None:
        self._connection = connection
        self._pinged_at: float | None = None
        self._confirmed_at = _NEVER
        try:
            self._send("SUBSCRIBE", channel)
            connection.read_response()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return what a selector waits for."""
        return self._connection.fileno()

    def ping(self, now: float, patience: float) -> None:
        """Ask for a sign of life, unless one is awaited already.

        Raises:
            RedisError: One has been awaited for more than ``patience`` seconds, or the connection is lost.
        """
        if self._pinged_at is None:
            self._pinged_at = now
            self._send("PING")
        elif now - self._pinged_at > patience:
            raise SilentError

    def receive(self) -> tuple[list[bytes], float]:
        """Return what has arrived, without waiting, and since when nothing can be missing.

        That is the time of the last ping that was answered: the server sends in order, so all that was published
        before it is here. When an answer arrived says nothing, for it may have waited in a buffer.

        Raises:
            RedisError: The connection is lost.
        """
        messages: list[bytes] = []
        while self._connection.can_read():
            reply = cast("list[Reply]", self._connection.read_response())
            if reply[0] == b"message":
                messages.append(cast("bytes", reply[2]))
            elif reply[0] == b"pong" and self._pinged_at is not None:
                self._confirmed_at, self._pinged_at = self._pinged_at, None
        return messages, self._confirmed_at

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def _send(self, *words: str) -> None:
        self._connection.send_packed_command([packed([words])], check_health=False)
