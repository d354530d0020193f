"""Real sentinels: the master is found, and the one that takes its place after a failure."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.valkey import ValkeyServer, free_port, valkey_sentinel


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_after_a_failover_the_new_master_is_used_and_all_that_was_known_is_doubted(open_store, server):
    with ExitStack() as stack:
        replica = stack.enter_context(ValkeyServer("--replicaof", f"127.0.0.1 {server.port}"))
        until(lambda: "state=online" in server.ask("INFO", "replication"))  # a sentinel looks, and then not for 10 s
        sentinel = stack.enter_context(valkey_sentinel(server))
        until(lambda: "slaves=1" in sentinel.ask("INFO", "sentinel"))
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/mymaster/1"
        store = open_store(url=url)
        changes: list[object] = []
        store.watch(changes.append)
        store.set_many({"key": entry(b"old")})
        assert store.get_many(["key"])["key"].value == b"old"
        until(store.in_step)
        server.kill()
        until(lambda: not store.in_step())

        def stored() -> bool:
            try:
                store.set_many({"key": entry(b"new")})
            except OSError:
                return False
            return True

        until(stored)
        assert "role:master" in replica.ask("INFO", "replication")
        assert store.get_many(["key"])["key"].value == b"new"
        until(store.in_step)
        assert changes.count(None) >= 2
        server.start()  # and takes itself for the master, until the sentinel tells it
        assert store.get_many(["key"])["key"].value == b"new"


def test_one_that_is_not_the_master_any_more_is_not_connected_to(open_store, server):
    with ValkeyServer() as other, valkey_sentinel(server) as sentinel:
        store = open_store(url=f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster")
        store.set_many({"key": entry(b"there")})
        sentinel.ask("SENTINEL", "REMOVE", "mymaster")
        sentinel.ask("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", str(other.port), "1")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(ConnectionError):
            store.get_many(["key"])
        assert store.get_many(["key"]) == {}


@pytest.mark.parametrize("service", ["mymaster", "another"])
def test_sentinels_that_do_not_know_or_are_not_there_are_a_connection_error(open_store, server, service):
    with valkey_sentinel(server) as sentinel:
        port = free_port() if service == "mymaster" else sentinel.port
        with pytest.raises(ConnectionError, match="cannot be reached"):
            open_store(url=f"redis+sentinel://127.0.0.1:{port}/{service}").get_many(["key"])


def test_a_sentinel_may_have_a_password_of_its_own(open_store, server):
    with valkey_sentinel(server) as sentinel:
        sentinel.ask("ACL", "SETUSER", "asks", "on", ">secret", "+@all")
        sentinel.ask("ACL", "SETUSER", "default", "off")
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        with pytest.raises(RuntimeError, match="check username and password"):
            open_store(url=url).get_many(["key"])
        store = open_store(url=url, sentinel_username="asks", sentinel_password="secret")
        assert store.get_many(["key"]) == {}
