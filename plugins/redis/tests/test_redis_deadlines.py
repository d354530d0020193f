"""A call has an end, however a server or the way to it delays it; and what is large is not taken for what hangs."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis import RedisOptions
from mcp_orchestra_redis.faults import RedisTooLargeError

FOR_EVER = 60.0
"""Seconds: a test that needs as many has failed."""


def entry(value: bytes = b"value") -> StoredEntry:
    return StoredEntry(value, time.time() + 3600)


def trickle(connection: socket.socket) -> None:
    """Begin an answer that never ends, and never pauses for long."""
    connection.recv(65536)
    connection.sendall(b"*1\r\n$100000\r\n")
    while True:
        time.sleep(0.01)
        connection.sendall(b"x")


def slowly(connection: socket.socket) -> None:
    """Answer every command, each after a while."""
    while data := connection.recv(65536):
        for _ in range(data.count(b"*")):
            time.sleep(0.1)
            connection.sendall(b"+OK\r\n")


def in_time(call):
    """Make a call that must not take for ever."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(FOR_EVER)


def test_an_answer_that_never_ends_is_given_up(open_store, listen):
    store = open_store(url=f"redis://127.0.0.1:{listen(trickle)}", timeout=0.2)
    with pytest.raises(TimeoutError, match="did not answer in time"):
        in_time(lambda: store.get_many(["key"]))


def test_all_steps_of_a_call_together_have_the_time_of_one(open_store, listen):
    url = f"redis://u:p@127.0.0.1:{listen(slowly)}/3"
    store = open_store(url=url, timeout=0.15)  # each step alone would be quick enough
    with pytest.raises(TimeoutError):
        store.get_many(["key"])


def test_without_a_timeout_of_its_own_a_call_may_take_as_long_as_its_steps():
    assert RedisOptions().total == 0.2
    assert RedisOptions(socket_timeout=3.0, connect_timeout=1.0).total == 3.0
    assert RedisOptions(socket_timeout=3.0, timeout=0.1).total == 0.1


@pytest.mark.parametrize("kind", ["redis+sentinel", "redis+cluster"])
def test_of_several_that_hang_each_call_waits_for_one_and_the_next_call_asks_another(open_store, listen, kind):
    asked: list[int] = []

    def hang(number: int):
        def serve(connection: socket.socket) -> None:
            if connection.recv(65536):
                asked.append(number)
            connection.recv(65536)

        return serve

    places = ",".join(f"127.0.0.1:{listen(hang(number))}" for number in range(3))
    store = open_store(url=f"{kind}://{places}{'/service' if 'sentinel' in kind else ''}", socket_timeout=0.3)
    for calls in range(1, 5):
        with pytest.raises(TimeoutError):
            store.get_many(["key"])
        assert len(asked) == calls
    assert asked[:3] == [0, 1, 2]
    assert asked[3] == 0


def link(port: int, listening, pause: float) -> int:
    """Pass on what comes in, with a pause after so much at a time, and return the port."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(pause)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(outside: socket.socket) -> None:
        outside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with socket.create_connection(("127.0.0.1", port)) as inside:
            back = threading.Thread(target=pump, args=(inside, outside))
            back.start()
            pump(outside, inside)
            back.join(20)

    return listening(serve)


def test_a_large_value_may_take_longer_than_a_step_as_long_as_it_gets_on(open_store, shared_server, listen):
    port = link(shared_server.port, listen, 0.01)
    store = open_store(url=f"redis://127.0.0.1:{port}", socket_timeout=0.3, timeout=FOR_EVER)
    stored = entry(b"x" * 3_000_000)
    store.set_many({"key": stored})
    assert store.get_many(["key"]) == {"key": stored}


@pytest.mark.parametrize("call", ["set", "get"])
def test_what_is_too_large_for_the_time_does_not_count_as_a_server_that_is_away(
    open_store, shared_server, listen, call
):
    open_store().set_many({"key": entry(b"x" * 20_000_000)})
    port = link(shared_server.port, listen, 0.02)
    store = open_store(url=f"redis://127.0.0.1:{port}", timeout=0.5)
    large = {"key": entry(b"x" * 20_000_000)}
    with pytest.raises(RedisTooLargeError, match="for the time there is") as caught:
        _ = store.set_many(large) if call == "set" else store.get_many(["key"])
    assert not isinstance(caught.value, OSError)


def test_entries_are_sent_in_portions(store):
    entries = {f"key {n}": entry(b"%d" % n * 300_000) for n in range(12)} | {"empty": entry(b"")}
    store.set_many(entries)
    assert store.get_many(list(entries)) == entries


def test_what_was_given_up_is_not_sent_again_by_the_system(open_store, listen):
    ended: list[object] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            ended.append(connection.recv(65536))
        except ConnectionResetError as error:
            ended.append(error)

    store = open_store(url=f"redis://127.0.0.1:{listen(serve)}", socket_timeout=0.1)
    with pytest.raises(TimeoutError):
        store.set_many({"key": entry()})
    deadline = time.monotonic() + 20
    while not ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert isinstance(ended[0], ConnectionResetError)


def test_closing_does_not_wait_for_a_message_that_never_ends(open_store, listen):
    trickling = threading.Event()

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            if b"SUBSCRIBE" in data:
                connection.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
            elif b"PING" in data:
                trickling.set()
                trickle_on(connection)
            else:
                connection.sendall(b"$5\r\ntoken\r\n")

    def trickle_on(connection: socket.socket) -> None:
        connection.sendall(b"*3\r\n$7\r\nmessage\r\n$100000\r\n")
        while True:
            time.sleep(0.01)
            connection.sendall(b"x")

    store = open_store(url=f"redis://127.0.0.1:{listen(serve)}", timeout=FOR_EVER)
    store.watch(lambda _: None)
    assert trickling.wait(20)
    store.close()
    assert [thread.name for thread in threading.enumerate() if "redis-push" in thread.name] == []
