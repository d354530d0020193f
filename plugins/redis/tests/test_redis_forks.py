"""A fork: connections stay the parent's, and nothing that a thread of the parent held is missing in the child."""

import subprocess
import sys

BEGIN = """
import os, sys, threading, time
from mcp_orchestra import StoredEntry
from mcp_orchestra_redis import RedisOptions, RedisStore

def sockets():
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return [path for path in found if path.startswith("socket:")]

patient = dict(socket_timeout=5.0, connect_timeout=5.0)
store = RedisStore(RedisOptions(url=sys.argv[1], namespace=sys.argv[2], max_connections=1, **patient))
"""

LEFT = (
    BEGIN
    + """
store.watch(lambda keys: None)
end = time.monotonic() + 20
while not store.in_step():
    assert time.monotonic() < end
    time.sleep(0.005)
store.set_many({"key": StoredEntry(b"value", time.time() + 100)})
assert len(sockets()) >= 4
child = os.fork()
if child == 0:
    os._exit(len(sockets()))
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, status
assert set(store.get_many(["key"])) == {"key"}  # closing a copy has not ended the connection
assert store.in_step()
store.close()
assert sockets() == []
"""
)

HELD = (
    BEGIN
    + """
store.get_many(["key"])
(place,) = store._servers.places()
pool = store._servers._pools.at(place)
lent = pool.get_connection()  # as if another thread were asking something
child = os.fork()
if child == 0:
    store.set_many({"key": StoredEntry(b"value", time.time() + 100)})
    os._exit(0 if set(store.get_many(["key"])) == {"key"} else 2)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, status
pool.release(lent)
assert set(store.get_many(["key"])) == {"key"}
store.close()
"""
)

BUSY = (
    BEGIN
    + """
stop = False
def ask():
    while not stop:
        try:
            store.get_many(["key"])
        except Exception as error:
            assert "in use" in str(error), error
threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        store.get_many(["key"])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop = True
for thread in threads:
    thread.join()
store.close()
"""
)


def run(program: str, url: str, namespace: str) -> None:
    command = [sys.executable, "-c", program, url, namespace]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_child_that_never_uses_the_store_holds_no_connection_of_its_parent(shared_server, namespace):
    run(LEFT, shared_server.url, namespace)


def test_a_connection_that_was_lent_at_the_fork_is_not_missing_in_the_child(shared_server, namespace):
    run(HELD, shared_server.url, namespace)


def test_no_child_hangs_whatever_the_threads_of_its_parent_were_doing(shared_server, namespace):
    run(BUSY, shared_server.url, namespace)
