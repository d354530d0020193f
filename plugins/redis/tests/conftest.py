"""A real server for all tests, in which each test has a namespace of its own."""

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import redis
from mcp_orchestra.testing.valkey import ValkeyServer
from mcp_orchestra_redis import RedisOptions, RedisStore

PATIENT = 5.0
"""Seconds: a busy machine is no fault of the store's."""

OpenStore = Callable[..., RedisStore]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """Return a server that the test may stop."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def open_store(namespace: str, shared_server: ValkeyServer) -> Iterator[OpenStore]:
    """Open stores that share the test's namespace, and close them at its end."""
    stores: list[RedisStore] = []

    def opened(**options: Any) -> RedisStore:
        given = {"url": shared_server.url, "namespace": namespace, "socket_timeout": PATIENT, **options}
        store = RedisStore(RedisOptions.model_validate(given))
        stores.append(store)
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> RedisStore:
    return open_store()


@pytest.fixture
def raw(shared_server: ValkeyServer) -> Iterator["redis.Redis"]:
    """Return a client of the shared server that knows nothing of the store."""
    with redis.Redis(port=shared_server.port) as client:
        yield client


@pytest.fixture
def frequent_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the test wait less."""
    monkeypatch.setattr("mcp_orchestra_redis.push._PING_SECONDS", 0.1)


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[socket.socket], object]], int]]:
    """Have a function serve each connection in a thread of its own, until the test ends; give the port."""
    with ExitStack() as stack:
        yield lambda serve: stack.enter_context(_served(serve))


@contextmanager
def _served(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                threads.append(threading.Thread(target=handle, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(20)
    for connection in accepted:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
