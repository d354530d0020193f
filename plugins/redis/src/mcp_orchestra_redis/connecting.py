"""Connections as this backend wants them: impatient, and without retries."""

from collections.abc import Callable
from typing import Any, cast

from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.connection import Connection as TcpConnection
from redis.retry import Retry

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.options import RedisOptions
from mcp_orchestra_redis.wire import Connection, Pool

__all__ = ["Pools"]

_READ_BYTES = 65_536

Login = tuple[str | None, str | None]
Check = Callable[[Place], None]


class _Watchable:
    """Lets a selector wait for a connection."""

    _sock: Any

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 if it is closed."""
        return int(self._sock.fileno()) if self._sock is not None else -1


class _Tcp(_Watchable, TcpConnection):
    pass


class _Tls(_Watchable, SSLConnection):
    pass


class _Unix(_Watchable, UnixDomainSocketConnection):
    pass


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
        self._settings: dict[str, Any] = {
            "username": username,
            "password": password,
            "db": database,
            "socket_connect_timeout": options.connect_timeout,
            "socket_timeout": options.socket_timeout,
            "socket_read_size": _READ_BYTES,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "protocol": 2,  # nothing arrives that was not asked for, and no HELLO is needed
            "driver_info": None,  # or two more round trips before the first command
        }
        self._pools: dict[Place, Pool] = {}

    def at(self, place: Place) -> Pool:
        """Return the pool for a server."""
        if (pool := self._pools.get(place)) is None:
            # Two threads may both make one: the one that is not kept has not connected yet.
            pool = self._pools.setdefault(place, self._open(place))
        return pool

    def dial(self, place: Place) -> Connection:
        """Return a connected connection that belongs to the caller."""
        kind, settings = self._connection(place)
        connection = cast("Connection", kind(**settings))
        connection.connect()
        return connection

    def close(self) -> None:
        """Close all connections."""
        while self._pools:
            self._pools.popitem()[1].disconnect()

    def _open(self, place: Place) -> Pool:
        kind, settings = self._connection(place)
        open_pool = cast("Callable[..., Pool]", BlockingConnectionPool)
        return open_pool(
            connection_class=kind,
            max_connections=self._options.max_connections,
            timeout=self._options.socket_timeout,  # how long to wait for a free connection
            **settings,
        )

    def _connection(self, place: Place) -> tuple[type[TcpConnection | UnixDomainSocketConnection], dict[str, Any]]:
        settings = self._settings
        if (check := self._check) is not None:

            def on_connect(connection: Connection) -> None:
                connection.on_connect()
                check(place)

            settings = {**settings, "redis_connect_func": on_connect}
        if not place.port:
            return _Unix, {**settings, "path": place.host}
        settings = {**settings, "host": place.host, "port": place.port}
        if not self._options.address.tls:
            return _Tcp, settings
        return _Tls, {
            **settings,
            "ssl_ca_certs": self._options.ca_certs,
            "ssl_certfile": self._options.certfile,
            "ssl_keyfile": self._options.keyfile,
            "ssl_check_hostname": self._options.check_hostname,
        }
