"""What happens when the server is away, hangs, is full or refuses; and that no answer goes to another question."""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.valkey import ValkeyServer, free_port
from mcp_orchestra_redis import RedisStore
from mcp_orchestra_redis.faults import RedisAccessError, RedisFullError, RedisStoreError

SECRET = "hunter2-correct-horse"
SHORT = 0.04

CALLS: dict[str, Callable[[RedisStore], object]] = {
    "get_many": lambda store: store.get_many(["key"]),
    "set_many": lambda store: store.set_many({"key": entry()}),
    "delete_many": lambda store: store.delete_many(["key"]),
    "clear": lambda store: store.clear(),
    "count": lambda store: store.count(0),
    "purge": lambda store: store.purge(0),
    "acquire": lambda store: store.acquire("key", "me", 1),
    "renew": lambda store: store.renew("key", "me", 1),
    "set_held": lambda store: store.set_held("key", entry(), "me"),
    "release": lambda store: store.release("key", "me"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


def all_that_is_said(error: BaseException) -> str:
    """Return what a log with a traceback could show of an error, except the program text."""
    assert error.__suppress_context__
    assert error.__cause__ is None
    return f"{error} {error!r}"


@every_call
def test_nobody_listens_and_every_call_says_so_as_an_os_error(open_store, call):
    store = open_store(url=f"redis://user:{SECRET}@127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match="nobody listens there") as caught:
        call(store)
    assert SECRET not in all_that_is_said(caught.value)


@every_call
def test_the_server_hangs_and_every_call_times_out(open_store, server, call):
    store = open_store(url=server.url, socket_timeout=SHORT)
    with server.paused(), pytest.raises(TimeoutError, match="did not answer in time"):
        call(store)
    store = open_store(url=server.url)
    call(store)


def test_a_host_without_a_name_is_a_host_that_cannot_be_reached(open_store):
    with pytest.raises(ConnectionError, match=r"redis://nowhere\.invalid:6379 cannot be reached"):
        open_store(url="redis://nowhere.invalid").get_many(["key"])


def test_a_socket_that_is_not_there_cannot_be_reached(open_store, tmp_path):
    with pytest.raises(ConnectionError, match="does not exist or may not be read"):
        open_store(url=f"unix://{tmp_path}/none.sock").get_many(["key"])


def test_a_unix_socket_will_do(open_store, tmp_path):
    path = tmp_path / "valkey.sock"
    with ValkeyServer("--unixsocket", str(path)):
        store = open_store(url=f"unix://{path}")
        store.set_many({"key": entry()})
        assert set(store.get_many(["key"])) == {"key"}


# CVE-2023-28858, CVE-2023-28859
def test_after_a_timeout_nobody_gets_the_answer_to_an_earlier_question(open_store, server):
    store = open_store(url=server.url, socket_timeout=0.2, max_connections=2)
    entries = {f"key {n}": entry(b"%d" % n) for n in range(40)}
    store.set_many(entries)
    timeouts = 0
    for n in range(0, 40, 8):
        with server.paused(), pytest.raises(TimeoutError):
            store.get_many([f"key {n}"])
        timeouts += 1
        for other in range(n, n + 8):  # the server now answers the question that was given up, too
            deadline = time.monotonic() + 20
            while True:
                assert time.monotonic() < deadline
                try:
                    found = store.get_many([f"key {other}"])
                except TimeoutError:
                    continue
                break
            assert found == {f"key {other}": entries[f"key {other}"]}
    assert timeouts == 5


# CVE-2023-28858, CVE-2023-28859
def test_an_interrupted_call_leaves_no_answer_behind(open_store, server, monkeypatch):
    from redis._parsers.socket import SocketBuffer

    store = open_store(url=server.url, max_connections=1)
    entries = {f"key {n}": entry(b"%d" % n) for n in range(4)}
    store.set_many(entries)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SocketBuffer, "readline", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.get_many(["key 0"])
    for key, stored in entries.items():
        assert store.get_many([key]) == {key: stored}


def test_a_server_that_was_restarted_is_used_again_without_a_failure(open_store, server):
    store = open_store(url=server.url)
    store.set_many({"key": entry()})
    server.restart()
    assert store.get_many(["key"]) == {}
    store.set_many({"key": entry(b"again")})
    assert store.get_many(["key"])["key"].value == b"again"


def test_all_connections_in_use_is_a_matter_of_waiting_a_little_and_then_an_os_error(open_store, server):
    store = open_store(url=server.url, max_connections=1, socket_timeout=0.3)
    with server.paused(), ThreadPoolExecutor(4) as pool:
        errors = [pool.submit(store.get_many, ["key"]).exception() for _ in range(4)]
    assert all(isinstance(error, OSError) for error in errors)
    assert store.get_many(["key"]) == {}


def test_a_full_server_is_said_to_be_full_and_what_was_there_is_not_served(open_store, server):
    store = open_store(url=server.url)
    store.set_many({"key": entry(b"old"), "other": entry()})
    assert store.acquire("key", "me", 60)
    server.ask("CONFIG", "SET", "maxmemory", "1")  # by default nothing is evicted
    with pytest.raises(RedisFullError, match="no memory left"):
        store.set_many({"key": entry(b"new")})
    assert set(store.get_many(["key", "other"])) == {"other"}
    assert store.set_held("key", entry(b"newer"), "me") is None
    with pytest.raises(RedisFullError, match="no memory left"):
        store.acquire("key", "me", 60)
    store.clear()
    server.ask("CONFIG", "SET", "maxmemory", "0")
    store.set_many({"key": entry(b"newest")})
    assert store.get_many(["key"])["key"].value == b"newest"


def test_a_wrong_password_is_refused_and_not_shown(open_store):
    with ValkeyServer(password="right") as server:
        for options in ({}, {"password": SECRET}, {"username": "nobody", "password": SECRET}):
            with pytest.raises(RedisAccessError, match="check username and password") as caught:
                open_store(url=server.url, **options).get_many(["key"])
            assert SECRET not in all_that_is_said(caught.value)
        store = open_store(url=server.url, password="right")
        store.set_many({"key": entry()})
        assert set(store.get_many(["key"])) == {"key"}


ENOUGH = "+@read +@write +@scripting +@pubsub +@connection"  # as the README has it


def test_an_acl_user_who_may_do_what_the_readme_says_can_do_all(open_store, server, namespace):
    assert ENOUGH in (Path(__file__).parents[1] / "README.md").read_text()
    server.ask(*("ACL", "SETUSER", "cache", "on", f">{SECRET}", f"~{namespace}:*", f"&{namespace}:*", *ENOUGH.split()))
    store = open_store(url=server.url, username="cache", password=SECRET)
    for call in CALLS.values():
        call(store)
    store.set_many({"key": entry()})
    assert set(store.get_many(["key"])) == {"key"}


@pytest.mark.parametrize("rights", ["~other:* &* +@all", "~* resetchannels +@all", "~* &* +@all -eval -evalsha"])
def test_an_acl_user_who_may_not_is_told_so(open_store, server, rights):
    server.ask("ACL", "SETUSER", "cache", "on", f">{SECRET}", *rights.split())
    store = open_store(url=server.url, username="cache", password=SECRET)
    with pytest.raises(RedisAccessError, match="does not let the user do that") as caught:
        store.set_many({"key": entry()})
    assert SECRET not in all_that_is_said(caught.value)


def test_a_number_of_a_database_that_there_is_not_is_an_error(open_store, shared_server):
    with pytest.raises(RedisStoreError, match="refused a command"):
        open_store(url=f"{shared_server.url}/999").get_many(["key"])


def test_databases_are_apart(open_store, shared_server):
    one, other = open_store(url=f"{shared_server.url}/1"), open_store(url=f"{shared_server.url}/2")
    one.set_many({"key": entry()})
    assert other.get_many(["key"]) == {}
    other.clear()
    assert set(one.get_many(["key"])) == {"key"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", RedisStoreError),
        (b"-LOADING Redis is loading the dataset in memory\r\n", ConnectionError),
        (b"-READONLY You can't write against a read only replica.\r\n", ConnectionError),
        (b"-CLUSTERDOWN The cluster is down\r\n", ConnectionError),
        (b"-MASTERDOWN Link with MASTER is down\r\n", ConnectionError),
        (b"-ERR max number of clients reached\r\n", ConnectionError),
        (b"-ERR something new\r\n", RedisStoreError),
        (b"*1\r\n$100\r\nhalf an ans", TimeoutError),
        (b"", ConnectionError),
    ],
)
def test_every_strange_answer_is_an_error_of_the_right_kind(open_store, answer, error):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                if answer.startswith(b"*"):
                    connection.recv(4096)  # until the store gives up

        served = pool.submit(serve)
        store = open_store(url=f"redis://127.0.0.1:{listener.getsockname()[1]}", socket_timeout=0.5)
        with pytest.raises(error) as caught:
            store.get_many(["key"])
        served.result(20)
        assert "half an ans" not in all_that_is_said(caught.value)


def test_failures_leave_no_connection_open(open_store, server):
    before = descriptors()
    store = open_store(url=server.url, socket_timeout=SHORT)
    for _ in range(5):
        with server.paused(), pytest.raises(TimeoutError):
            store.get_many(["key"])
    server.kill()
    for _ in range(5):
        with pytest.raises(ConnectionError):
            store.get_many(["key"])
    assert descriptors() == before


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
