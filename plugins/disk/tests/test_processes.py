"""Several processes share a directory, and end when it suits nobody."""

import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import methodcaller

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.store_process import StoreProcess
from mcp_orchestra_disk import DiskStore

SIZES = [0, 10, 5_000, 70_000, 1_000_000]

WRITER = """
import itertools, sys
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

store = DiskStore(sys.argv[1], timeout=20.0)
for number in itertools.count(int(sys.argv[2])):
    text = b"%d " % number
    entries = {
        f"{key}": StoredEntry(text + text[:1] * size, float(number))
        for key, size in enumerate((0, 10, 5000, 70000, 1000000))
    }
    store.set_many(entries)
    print(number, flush=True)
    if number % 7 == 0:
        store.delete_many(["0", "3"])
    if number % 11 == 0:
        store.clear()
"""


def whole(key: int, kept: StoredEntry) -> bool:
    """Whether an entry is one that the writer stored."""
    text = b"%d " % int(kept.expires_at)
    return kept.value == text + text[:1] * SIZES[key]


def test_whenever_a_writer_is_killed_what_can_be_read_is_what_it_wrote(directory, open_store):
    random.seed(5)
    reader = open_store(timeout=20.0)
    seen = set()
    for start in range(100, 2600, 100):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(directory), str(start)], stdout=subprocess.PIPE)
        for _ in range(random.randint(1, 6)):
            last = int(process.stdout.readline())
        for _ in range(random.randint(0, 2000)):
            pass  # somewhere in the middle of the next one
        process.send_signal(signal.SIGKILL)
        last = max([last, *map(int, process.stdout.read().split())])
        process.stdout.close()
        process.wait(60)

        found = {int(key): kept for key, kept in reader.get_many([*map(str, range(5))]).items()}
        assert all(whole(key, kept) for key, kept in found.items())
        numbers = {kept.expires_at for kept in found.values()}
        assert len(numbers) <= 1, "all of a batch, or none of it"
        assert numbers <= {last, last + 1}
        seen |= numbers
        assert reader.acquire("a", f"{start}", 0.0)
    assert len(seen) > 10
    assert open_store().notices() == []


def test_a_lease_of_a_killed_process_ends_by_itself(directory):
    factory = partial(DiskStore, directory, timeout=20.0)
    leader = StoreProcess(factory)
    assert leader.call(methodcaller("acquire", "a", "leader", 60.0))
    leader.kill()
    with StoreProcess(factory) as follower:
        assert not follower.call(methodcaller("acquire", "a", "follower", 5.0))
    later = DiskStore(directory, timeout=20.0, clock=lambda: time.time() + 60.0)
    assert later.acquire("a", "follower", 5.0)
    later.close()


def test_many_that_open_a_new_directory_at_once_share_one_database(directory):
    factory = partial(DiskStore, directory, timeout=20.0)
    processes = [StoreProcess(factory) for _ in range(6)]
    for number, process in enumerate(processes):
        process.begin(methodcaller("set_many", {f"{number}": StoredEntry(b"x", 5e9)}))
    assert [process.result() for process in processes] == [0] * 6
    assert [process.call(methodcaller("count", 0.0)) for process in processes] == [6] * 6
    for process in processes:
        process.kill()


def test_many_that_find_a_broken_database_at_once_share_the_next(directory):
    directory.mkdir(mode=0o700)
    (directory / "cache.db").write_bytes(b"broken" * 1000)
    factory = partial(DiskStore, directory, timeout=20.0)
    processes = [StoreProcess(factory) for _ in range(6)]
    for number, process in enumerate(processes):
        process.begin(methodcaller("set_many", {f"{number}": StoredEntry(b"x", 5e9)}))
    assert [process.result() for process in processes] == [0] * 6
    assert [process.call(methodcaller("count", 0.0)) for process in processes] == [6] * 6
    assert len({process.call(methodcaller("notices"))[0] for process in processes}) == 1
    for process in processes:
        process.kill()


FORKS = """
import os, sys, threading, warnings
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
store, other = (DiskStore(sys.argv[1], timeout=20.0) for _ in range(2))
other.set_many({"before": StoredEntry(b"x" * 100_000, 5e9)})
end = threading.Event()

def write():
    number = 0
    while not end.is_set():
        number += 1
        store.set_many({f"thread {number % 10}": StoredEntry(b"%d" % number * 5000, 5e9)})

thread = threading.Thread(target=write)
thread.start()
failed = 0
for number in range(30):
    if not (child := os.fork()):
        try:
            assert store.get_many(["before"])["before"].value == b"x" * 100_000
            assert other.set_many({f"child {number}": StoredEntry(b"%d" % number, 5e9)}) == 0
            store.delete_many(["thread 0"])
            store.close()
            other.close()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    failed += bool(os.waitpid(child, 0)[1])
end.set()
thread.join()
print(failed, len(store.get_many([f"child {n}" for n in range(30)])), len(store.notices()))
print(store._database.read(lambda connection: bytes(connection.execute("PRAGMA integrity_check").fetchone()[0])))
store.close()
other.close()
"""


def test_a_fork_in_the_middle_of_things_harms_neither_parent_nor_child(directory, run_elsewhere):
    assert run_elsewhere(FORKS, directory).splitlines() == ["0 30 0", "b'ok'"]


FORK_BESIDE_A_LONG_CALL = """
import os, sys, threading, warnings
from mcp_orchestra import StoredEntry
from mcp_orchestra_disk import DiskStore

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
store = DiskStore(sys.argv[1], timeout=0.1)
begun, end = threading.Event(), threading.Event()

def take_long(connection):
    connection.execute("SELECT COUNT(*) FROM Cache").fetchall()
    begun.set()
    assert end.wait(30.0)

thread = threading.Thread(target=lambda: store._database.read(take_long))
thread.start()
assert begun.wait(30.0)
if not (child := os.fork()):
    assert store.set_many({"child": StoredEntry(b"x", 5e9)}) == 0
    assert set(store.get_many(["child"])) == {"child"}
    store.close()
    os._exit(0)
print(os.waitpid(child, 0)[1])  # which ends before the call does
end.set()
thread.join()
print(*store.get_many(["child"]), store.set_many({"parent": StoredEntry(b"x", 5e9)}))
store.close()
"""


def test_a_fork_does_not_wait_for_a_call_that_takes_long_and_the_child_can_go_on(directory, run_elsewhere):
    assert run_elsewhere(FORK_BESIDE_A_LONG_CALL, directory).splitlines() == ["0", "child 0"]


@pytest.mark.parametrize("shared", [True, False], ids=["one_store", "a_store_each"])
def test_threads_that_read_and_write_at_once_lose_nothing(open_store, shared):
    stores = [open_store(timeout=20.0)] * 6 if shared else [open_store(timeout=20.0) for _ in range(6)]

    def work(number: int) -> None:
        store = stores[number]
        for n in range(100):
            kept = StoredEntry(b"%d" % n * 1000, float(n))
            store.set_many({f"{number}": kept, "all": kept})
            assert store.get_many([f"{number}"]) == {f"{number}": kept}
            for everyones in store.get_many(["all"]).values():
                assert everyones.value == b"%d" % int(everyones.expires_at) * 1000

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert stores[0].count(0.0) == 7
