"""A pool of connections to one server, for threads."""

import time
from collections.abc import Callable
from threading import BoundedSemaphore

from redis.exceptions import AuthenticationError, MaxConnectionsError, RedisError
from redis.exceptions import ConnectionError as LostError

from mcp_orchestra_redis.deadline import left
from mcp_orchestra_redis.wire import Connection

__all__ = ["ConnectionPool"]

_REFUSAL_SECONDS = 5.0


class ConnectionPool:
    """Lends connections, those first that were used last. The client library's own cannot do without a lock in a fork.

    A server that refuses the user is not asked again for some seconds: many count attempts, and close the door.

    Args:
        connection: Makes one that is not connected yet.
        limit: How many there may be.
        patience: Seconds to wait for one while all are lent.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        connection: Callable[[], Connection],
        limit: int,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._new = connection
        self._patience = patience
        self._clock = clock
        self._free: list[Connection] = []
        self._places = BoundedSemaphore(limit)
        self._refused_until = float("-inf")
        self._closed = False

    def get_connection(self) -> Connection:
        """Lend a connection, connected and with nothing to be read on it.

        Raises:
            RedisError: There is none; a `MaxConnectionsError` if all are lent.
        """
        if not self._places.acquire(timeout=left(self._patience)):
            raise MaxConnectionsError
        try:
            try:
                connection = self._free.pop()
            except IndexError:
                return self.dial()
            return connection if self._usable(connection) else self.dial()
        except BaseException:
            self._places.release()
            raise

    def dial(self) -> Connection:
        """Return a connected connection that belongs to the caller."""
        if self._closed:
            raise LostError("closed")
        if self._clock() < self._refused_until:
            raise AuthenticationError
        connection = self._new()
        try:
            connection.connect()
        except AuthenticationError:
            self.refused()
            raise
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back."""
        self._free.append(connection)
        if self._closed:
            connection.disconnect()
        self._places.release()

    def refused(self) -> None:
        """Connect no more for some seconds: the server does not accept the user."""
        self._refused_until = self._clock() + _REFUSAL_SECONDS

    def disconnect(self) -> None:
        """Close all connections that are not lent, and the others when they come back."""
        self._closed = True
        while self._free:
            self._free.pop().disconnect()

    @staticmethod
    def _usable(connection: Connection) -> bool:
        try:
            if connection.fileno() >= 0 and not connection.can_read():
                return True
        except (RedisError, OSError):  # it was closed by the server
            pass
        connection.disconnect()
        return False
