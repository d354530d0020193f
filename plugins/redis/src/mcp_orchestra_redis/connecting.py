"""Connections as this backend wants them: impatient, and without retries."""

import codecs
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from weakref import WeakSet

from redis.backoff import NoBackoff
from redis.connection import Connection as TcpConnection
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.deadline import left, within
from mcp_orchestra_redis.forking import leave_to_parent
from mcp_orchestra_redis.keys import as_bytes
from mcp_orchestra_redis.options import RedisOptions
from mcp_orchestra_redis.pool import ConnectionPool
from mcp_orchestra_redis.sockets import ImpatientSocket
from mcp_orchestra_redis.wire import Connection, Words, answer, packed

__all__ = ["Pools"]

_READ_BYTES = 65_536

Login = tuple[str | None, str | None]
Check = Callable[[Place], None]


class _Impatient:
    """Keeps to the deadline of a call, from the first packet on."""

    _sock: Any
    _socket_timeout: Any
    _socket_connect_timeout: Any

    @property
    def socket_timeout(self) -> float | int | None:
        return left(self._socket_timeout)

    @socket_timeout.setter
    def socket_timeout(self, value: float | None) -> None:
        self._socket_timeout = value

    @property
    def socket_connect_timeout(self) -> float | int | None:
        return left(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: float | None) -> None:
        self._socket_connect_timeout = value

    def _connect(self) -> Any:
        connect = cast("Any", super())._connect  # noqa: SLF001  # ours, too: the classes below say of what kind
        return ImpatientSocket(connect(), self._socket_timeout)

    def fileno(self) -> int:
        """Return the descriptor of the socket, for a selector; -1 if it is closed."""
        return int(self._sock.fileno()) if self._sock is not None else -1

    def interrupt(self) -> None:
        """End the connection, whatever another thread is doing with it."""
        if (connected := self._sock) is not None:
            with suppress(OSError):  # it has ended
                connected.interrupt()


class _Tcp(_Impatient, TcpConnection):
    pass


class _Tls(_Impatient, SSLConnection):
    pass


class _Unix(_Impatient, UnixDomainSocketConnection):
    port = 0  # the client library mentions it if there is a timeout


class Pools:
    """Keeps a pool of connections for each server; nothing is opened before it is needed.

    Safe for threads and after a fork, without a lock that a fork could leave locked.

    Args:
        options: Timeouts, TLS and limits.
        login: User name and password.
        database: The number of the database.
        check: Called for every new connection with where it leads; it raises if it should not be used.
    """

    def __init__(self, options: RedisOptions, login: Login, *, database: int = 0, check: Check | None = None) -> None:
        self._options = options
        self._check = check
        username, password = login
        self._greeting: list[Words] = []
        if username or password:
            words = [as_bytes(word) for word in (username, password or "") if word is not None]
            self._greeting.append((b"AUTH", *words))
        if database:
            self._greeting.append((b"SELECT", database))
        self._settings: dict[str, Any] = {
            "socket_connect_timeout": options.connect_timeout,
            "socket_timeout": options.socket_timeout,
            "socket_read_size": _READ_BYTES,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "protocol": 2,  # nothing arrives that was not asked for, and no HELLO is needed
            "driver_info": None,  # or two more round trips before the first command
        }
        self._pools: dict[Place, ConnectionPool] = {}
        self._connections: WeakSet[Connection] = WeakSet()
        self._closed = False
        # The first look-up of a host imports this codec; a child forked in that moment would wait for it without end.
        codecs.lookup("idna")
        leave_to_parent(self)

    def at(self, place: Place) -> ConnectionPool:
        """Return the pool for a server."""
        if (pool := self._pools.get(place)) is None:
            options = self._options
            pool = ConnectionPool(lambda: self._connection(place), options.max_connections, options.socket_timeout)
            # Two threads may both make one: the one that is not kept has not connected yet.
            pool = self._pools.setdefault(place, pool)
            if self._closed:
                pool.disconnect()
        return pool

    def dial(self, place: Place) -> Connection:
        """Return a connected connection that belongs to the caller."""
        with within(self._options.total):
            return self.at(place).dial()

    def close(self) -> None:
        """Close all connections; those that are in use end, too."""
        self._closed = True
        for connection in self._opened():
            connection.interrupt()
        while self._pools:
            self._pools.popitem()[1].disconnect()

    def abandon(self) -> None:
        """Close the child's copies of the parent's connections, and begin anew."""
        self._pools = {}
        for connection in self._opened():
            connection.disconnect()
        self._connections = WeakSet()

    def _opened(self) -> list[Connection]:
        while True:
            with suppress(RuntimeError):  # another thread has just opened one
                return list(self._connections)

    def _connection(self, place: Place) -> Connection:
        kind, settings = self._kind(place)

        def greet(connection: Connection) -> None:
            self._greet(connection, place)

        connection = cast("Connection", kind(**settings, redis_connect_func=cast("Any", greet)))
        self._connections.add(connection)
        return connection

    def _greet(self, connection: Connection, place: Place) -> None:
        connection.on_connect()
        if self._greeting:
            connection.send_packed_command([packed(self._greeting)], check_health=False)
            for _ in self._greeting:
                answer(connection)
        if self._check is not None:
            self._check(place)

    def _kind(self, place: Place) -> tuple[type[TcpConnection | UnixDomainSocketConnection], dict[str, Any]]:
        if not place.port:
            return _Unix, {**self._settings, "path": place.host}
        settings = {**self._settings, "host": place.host, "port": place.port}
        if not self._options.address.tls:
            return _Tcp, settings
        return _Tls, {
            **settings,
            "ssl_ca_certs": self._options.ca_certs,
            "ssl_certfile": self._options.certfile,
            "ssl_keyfile": self._options.keyfile,
            "ssl_check_hostname": self._options.check_hostname,
        }
