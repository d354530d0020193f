"""A real server for all tests, in which each test has a namespace of its own."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from mcp_orchestra.testing.valkey import ValkeyServer
from mcp_orchestra_redis import RedisOptions, RedisStore

PATIENT = 5.0
"""Seconds: a busy machine is no fault of the store's."""

OpenStore = Callable[..., RedisStore]


@pytest.fixture(scope="session")
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
