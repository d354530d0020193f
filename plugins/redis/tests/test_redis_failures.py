"""What happens when the server is away, hangs, is full or refuses; and that no answer goes to another question."""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.valkey import ValkeyServer, free_port
from mcp_orchestra_redis import RedisOptions, RedisStore
from mcp_orchestra_redis.connecting import Pools
from mcp_orchestra_redis.faults import (
    RedisAccessError,
    RedisBusyError,
    RedisFullError,
    RedisReadOnlyError,
    RedisStoreError,
)
from mcp_orchestra_redis.pool import ConnectionPool
from redis.exceptions import AuthenticationError

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


def test_all_connections_in_use_is_a_matter_of_waiting_a_little_and_then_no_fault_of_the_servers(open_store, server):
    store = open_store(url=server.url, max_connections=1, socket_timeout=0.3)
    with server.paused(), ThreadPoolExecutor(4) as threads:
        errors = [threads.submit(store.get_many, ["key"]).exception() for _ in range(4)]
    assert {type(error) for error in errors} <= {TimeoutError, RedisBusyError}
    (place,) = store._servers.places()
    pool = store._servers._pools.at(place)
    lent = pool.get_connection()
    with pytest.raises(RedisBusyError, match="are in use; allow more") as caught:
        store.get_many(["key"])
    assert not isinstance(caught.value, OSError)
    pool.release(lent)
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


@pytest.mark.parametrize("password", [None, SECRET])
def test_who_is_refused_does_not_try_again_at_once(open_store, password):
    with ValkeyServer(password="right") as server:
        store = open_store(url=server.url, **({"password": password} if password else {}))
        before = connections(server)
        for _ in range(20):
            with pytest.raises(RedisAccessError, match="check username and password"):
                store.get_many(["key"])
        assert connections(server) == before + 2  # the store's one, and that of this question


def test_who_was_refused_tries_again_after_a_while():
    now = [1000.0]
    with ValkeyServer(password="later") as server:
        options = RedisOptions(url=server.url, password="right", socket_timeout=5.0, connect_timeout=5.0)
        pools = Pools(options, options.login)
        place = options.address.places[0]
        pool = ConnectionPool(lambda: pools._connection(place), 1, 5.0, clock=lambda: now[0])
        for passed in (0.0, 4.9):
            now[0] = 1000.0 + passed
            with pytest.raises(AuthenticationError):
                pool.get_connection()
            server.ask("CONFIG", "SET", "requirepass", "right")
            server._password = "right"
        now[0] += 0.2
        pool.release(pool.get_connection())
        pool.disconnect()


def connections(server: ValkeyServer) -> int:
    facts = dict(line.split(":") for line in server.ask("INFO", "stats").split() if ":" in line)
    return int(facts["total_connections_received"])


def test_a_server_that_takes_no_writes_says_why_and_what_was_there_stays(open_store, server):
    store = open_store(url=server.url)
    store.set_many({"key": entry(b"old")})
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    for call in (CALLS["set_many"], CALLS["delete_many"], CALLS["clear"]):
        with pytest.raises(RedisReadOnlyError, match="too few replicas"):
            call(store)
    assert store.get_many(["key"])["key"].value == b"old"
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert store.delete_many(["key"]) == 1


def test_a_server_that_cannot_save_says_so(open_store, tmp_path):
    with ValkeyServer("--enable-protected-configs", "yes") as server:
        store = open_store(url=server.url)
        store.set_many({"key": entry(b"old")})
        (tmp_path / "folder").mkdir()
        server.ask("CONFIG", "SET", "dir", str(tmp_path / "folder"))
        (tmp_path / "folder").rmdir()
        server.ask("CONFIG", "SET", "save", "3600 1")
        deadline = time.monotonic() + 20
        while "last_bgsave_status:err" not in server.ask("INFO", "persistence"):
            assert time.monotonic() < deadline
            if "bgsave_in_progress:0" in server.ask("INFO", "persistence"):
                server.ask("BGSAVE")
            time.sleep(0.01)
        for call in (CALLS["set_many"], CALLS["delete_many"], CALLS["clear"]):
            with pytest.raises(RedisReadOnlyError, match="cannot save its data"):
                call(store)
        assert store.get_many(["key"])["key"].value == b"old"


def test_a_replica_is_said_to_be_one(open_store, server):
    store = open_store(url=server.url)
    server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(ConnectionError, match="is a replica"):
        store.delete_many(["key"])


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
                    with suppress(ConnectionResetError):
                        connection.recv(4096)  # until the store gives up

        served = pool.submit(serve)
        store = open_store(url=f"redis://127.0.0.1:{listener.getsockname()[1]}", socket_timeout=0.5)
        with pytest.raises(error) as caught:
            store.get_many(["key"])
        served.result(20)
        assert "half an ans" not in all_that_is_said(caught.value)


JUNK = [b"+OK\r\n", b":1\r\n", b"$2\r\nno\r\n", b"*0\r\n", b"*1\r\n:7\r\n", b"$-1\r\n", b":x\r\n", b"-MOVED\r\n"]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("kind", ["redis", "redis+cluster", "redis+sentinel"])
def test_answers_of_a_wrong_shape_are_errors_in_our_own_words(open_store, listen, junk, kind):
    def serve(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(junk * data.count(b"*"))

    path = "/service" if kind == "redis+sentinel" else ""
    store = open_store(url=f"{kind}://127.0.0.1:{listen(serve)}{path}")
    for name, call in CALLS.items():
        if name in ("set_many", "acquire", "renew", "set_held", "release") and kind == "redis":
            with suppress(RedisStoreError):  # nothing is made of the answer that could go wrong
                call(store)
        elif name == "delete_many" and junk == b":1\r\n" and kind == "redis":
            assert call(store) == 1
        else:
            with pytest.raises((RedisStoreError, ConnectionError)) as caught:
                call(store)
            all_that_is_said(caught.value)


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
