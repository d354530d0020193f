"""Being told what others change: all of it, nothing of our own, and never a promise that cannot be kept."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis import RedisStore
from mcp_orchestra_redis.keys import Keys
from mcp_orchestra_redis.markers import Markers
from mcp_orchestra_redis.messages import Sender
from mcp_orchestra_redis.push import PUSH_DELAY, Listener


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


class Told:
    """What a store has told."""

    def __init__(self) -> None:
        self.changes: list[str | None] = []
        self.seen: list[Callable[[], object]] = []

    def __call__(self, keys: Sequence[str] | None) -> None:
        for look in self.seen:
            look()
        self.changes += [None] if keys is None else keys


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def watched(store: RedisStore) -> Told:
    told = Told()
    store.watch(told)
    until(store.in_step)
    assert told.changes == [None]
    told.changes.clear()
    return told


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "redis-push" in thread.name]


def test_every_change_of_another_is_told(store, open_store):
    other = open_store()
    told = watched(store)
    odd = ["", "a:b", "\0", "\ud800\udc00", "\U00010000", "ä"]
    other.set_many({key: entry() for key in odd})
    until(lambda: len(told.changes) == len(odd))
    assert told.changes == odd
    told.changes.clear()
    other.delete_many(["a:b", "not there"])
    assert other.acquire("leased", "me", 10)
    assert other.set_held("leased", entry(), "me") == 0
    until(lambda: len(told.changes) == 3)
    assert told.changes == ["a:b", "not there", "leased"]
    told.changes.clear()
    other.clear()
    until(lambda: told.changes)
    assert told.changes == [None]


def test_our_own_changes_and_what_changes_nothing_are_not_told(store, open_store):
    other = open_store()
    told = watched(store)
    store.set_many({"mine": entry(), "old": entry(seconds=-1)})
    store.delete_many(["mine"])
    store.clear()
    other.purge(time.time())
    assert other.acquire("mine", "me", 10)
    other.release("mine", "me")
    other.set_many({"last": entry()})
    until(lambda: told.changes)
    assert told.changes == ["last"]


def test_who_is_told_cannot_read_what_was_there_before(store, open_store):
    other, reader = open_store(), open_store()
    told = watched(store)
    seen: list[bytes] = []
    told.seen.append(lambda: seen.append(reader.get_many(["key"])["key"].value))
    for n in range(100):
        other.set_many({"key": entry(b"%03d" % n)})
        until(lambda n=n: len(told.changes) == n + 1)
    assert all(value >= b"%03d" % n for n, value in enumerate(seen))


def test_a_change_that_there_was_no_room_for_is_told_too(open_store, server):
    store, other = open_store(url=server.url), open_store(url=server.url)
    other.set_many({"key": entry(b"old")})
    told = watched(store)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RuntimeError, match="no memory left"):
        other.set_many({"key": entry(b"new")})
    until(lambda: told.changes)
    assert told.changes == ["key"]


def test_one_whose_server_hangs_is_out_of_step_and_hears_all_when_it_goes_on(open_store, server):
    store, other = open_store(url=server.url), open_store(url=server.url)
    told = watched(store)
    with server.paused():
        until(lambda: not store.in_step())
    other.set_many({"key": entry()})
    until(lambda: store.in_step() and told.changes)
    assert told.changes[-1] in (None, "key")


def test_after_a_restart_of_the_server_anything_may_have_changed(open_store, server):
    store, other = open_store(url=server.url), open_store(url=server.url)
    told = watched(store)
    server.kill()
    until(lambda: not store.in_step())
    assert told.changes == []
    server.start()
    until(store.in_step)
    assert told.changes == [None]
    other.set_many({"key": entry()})
    until(lambda: told.changes == [None, "key"])


def test_one_that_starts_before_its_server_comes_into_step_when_it_is_there(open_store, server):
    server.kill()
    store = open_store(url=server.url)
    told = Told()
    store.watch(told)
    assert not store.in_step()
    server.start()
    until(store.in_step)
    assert told.changes == [None]


def test_it_is_in_step_only_for_as_long_as_a_ping_was_answered_not_long_ago(open_store, server):
    now = [1000.0]
    store = open_store(url=server.url)
    markers = Markers(store._servers, Keys("marked"))
    listener = Listener(store._servers, markers, "channel", Sender(), lambda _: None, timeout=5.0, clock=lambda: now[0])
    assert not listener.in_step()
    listener.start()
    try:
        until(listener.in_step)
        now[0] += PUSH_DELAY
        assert listener.in_step()
        with server.paused():
            now[0] += PUSH_DELAY + 0.1
            until(lambda: not listener.in_step())
    finally:
        listener.stop()


@pytest.mark.usefixtures("frequent_pings")
@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
def test_what_an_operator_flushes_is_told(open_store, server, flush):
    store, other = open_store(url=server.url), open_store(url=server.url)
    told, heard = watched(store), watched(other)
    told.changes.clear()  # two that begin at once may each see the mark of the other
    store.set_many({"key": entry()})
    server.ask(flush)
    until(lambda: None in told.changes and None in heard.changes)
    until(lambda: store.in_step() and other.in_step())
    told.changes.clear()
    other.set_many({"key": entry()})
    until(lambda: told.changes)
    assert told.changes[-1] == "key"


@pytest.mark.usefixtures("frequent_pings")
def test_what_comes_in_place_of_the_data_is_told(store, raw, namespace):
    told = watched(store)
    (name,) = raw.keys(f"{namespace}:marker:*")
    raw.set(name, "another")
    until(lambda: told.changes == [None])
    told.changes.clear()
    raw.delete(name)
    raw.lpush(name, "a list")
    until(lambda: told.changes == [None])
    assert raw.type(name) == b"string"


def test_a_listener_that_raises_is_asked_to_drop_everything_and_goes_on(store, open_store):
    calls: list[Sequence[str] | None] = []

    def changed(keys: Sequence[str] | None) -> None:
        calls.append(keys)
        if keys == ["bad"]:
            raise ValueError("no")

    store.watch(changed)
    until(store.in_step)
    other = open_store()
    other.set_many({"bad": entry()})
    until(lambda: calls[1:] == [["bad"], None] and store.in_step())
    other.set_many({"good": entry()})
    until(lambda: calls[-1] == ["good"])


def test_without_push_nobody_listens_and_nobody_is_in_step(open_store):
    store = open_store(push=False)
    store.watch(Told())
    assert not store.in_step()
    assert threads() == []


def test_who_does_not_listen_tells_the_others_all_the_same(store, open_store):
    told = watched(store)
    open_store(push=False).set_many({"key": entry()})
    until(lambda: told.changes == ["key"])


@pytest.mark.parametrize("state", ["listening", "waiting", "hanging"])
def test_closing_ends_the_thread_at_once(open_store, server, state):
    store = open_store(url=server.url, socket_timeout=0.2)
    store.watch(Told())
    until(store.in_step)
    if state == "waiting":
        server.kill()
    elif state == "hanging":
        server.pause()
    if state != "listening":
        until(lambda: not store.in_step())
    store.close()
    assert threads() == []
    assert not store.in_step()
    if state == "hanging":
        server.resume()


FORK = """
import os, sys, time
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis import RedisOptions, RedisStore

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            os._exit(3)
        time.sleep(0.005)

def entry():
    return StoredEntry(b"value", time.time() + 100)

changes = []
store = RedisStore(RedisOptions(url=sys.argv[1], namespace=sys.argv[2], socket_timeout=5.0))
store.watch(lambda keys: changes.append(keys))
until(store.in_step)
child = os.fork()
if child == 0:
    if store.in_step():
        os._exit(4)
    until(store.in_step)
    if changes != [None, None]:
        os._exit(5)
    store.set_many({"from the child": entry()})
    until(lambda: ["from the parent"] in changes)
    if ["from the child"] in changes:
        os._exit(6)
    store.close()
    os._exit(0)
until(lambda: ["from the child"] in changes)
store.set_many({"from the parent": entry()})
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert store.in_step()
assert ["from the parent"] not in changes
store.close()
os._exit(status)
"""


def test_after_a_fork_parent_and_child_hear_each_other(shared_server, namespace):
    command = [sys.executable, "-c", FORK, shared_server.url, namespace]
    assert subprocess.run(command, check=False, timeout=60, env={**os.environ}).returncode == 0
