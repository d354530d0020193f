"""One connection on which changes are told."""

from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as SilentError

from mcp_orchestra_redis.deadline import within
from mcp_orchestra_redis.replies import array, text
from mcp_orchestra_redis.wire import Connection, answer, packed

__all__ = ["Subscription"]

_NEVER = float("-inf")
_AT_ONCE = 1000  # messages, so that a flood of them does not keep one from being told


class Subscription:
    """Receives what is published on a channel from the moment on at which it was made.

    Args:
        connection: Connected, and from now on the subscription's.
        channel: What to listen to.
        timeout: Seconds for a message that has begun.

    Raises:
        RedisError: The server does not confirm.
    """

    def __init__(self, connection: Connection, channel: str, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._pinged_at: float | None = None
        self._confirmed_at = _NEVER
        try:
            self._send("SUBSCRIBE", channel)
            self._received()
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
        while self._connection.can_read() and len(messages) < _AT_ONCE:
            kind, *rest = self._received()
            if kind == b"message":
                messages.append(rest[-1])
            elif kind == b"pong" and self._pinged_at is not None:
                self._confirmed_at, self._pinged_at = self._pinged_at, None
        return messages, self._confirmed_at

    def interrupt(self) -> None:
        """End the connection, whatever another thread is doing with it."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def _send(self, *words: str) -> None:
        with within(self._timeout):
            self._connection.send_packed_command([packed([words])], check_health=False)

    def _received(self) -> list[bytes]:
        with within(self._timeout):
            parts = array(answer(self._connection))
        if not parts:
            raise InvalidResponse
        return [b"" if isinstance(part, int) else text(part) for part in parts]
