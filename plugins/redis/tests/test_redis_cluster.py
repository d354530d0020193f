"""A real cluster of three: keys are spread, answers come back in order, and what moves is found."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from mcp_orchestra import StoredEntry
from mcp_orchestra.testing.valkey import ValkeyServer, valkey_cluster
from mcp_orchestra_redis.topology import slot_of


def entry(value: bytes = b"value", seconds: float = 3600.0) -> StoredEntry:
    return StoredEntry(value, time.time() + seconds)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[ValkeyServer]]:
    with valkey_cluster() as nodes:
        yield nodes


@pytest.fixture
def open_here(open_store, nodes):
    """Open stores that know one node of the cluster."""
    return lambda **options: open_store(**{"url": f"redis+cluster://127.0.0.1:{nodes[1].port}", **options})


def at_node(node: ValkeyServer) -> int:
    return int(node.ask("DBSIZE"))


def test_all_works_as_on_one_server(open_here, nodes):
    store = open_here()
    entries = {f"resources:server-{n}": entry(b"%d" % n) for n in range(100)}
    entries |= {f"tools:server-{n}": entry(b"t%d" % n) for n in range(100)} | {"": entry(), "\ud800": entry()}
    store.set_many(entries)
    assert all(at_node(node) > 20 for node in nodes)
    assert store.get_many([*entries, "absent"]) == entries
    assert list(store.get_many([*entries])) == list(entries)
    assert store.count(time.time()) == len(entries)
    store.set_many({"resources:old": entry(seconds=-1)})
    assert store.purge(time.time()) == 1
    assert store.acquire("resources:leased", "me", 10)
    assert store.set_held("resources:leased", entry(), "me") == 0
    assert store.delete_many([*entries, "absent"]) == len(entries)
    assert store.acquire("resources:leased", "me", 10)
    store.clear()
    assert store.set_held("resources:leased", entry(), "me") is None
    assert [at_node(node) for node in nodes] == [0, 0, 0]


def test_what_is_known_of_one_server_is_on_one_node(open_here, nodes):
    store = open_here()
    store.set_many({f"{kind}:one": entry() for kind in ("resources", "tools", "more")})
    assert sorted(at_node(node) for node in nodes) == [0, 0, 3]
    store.clear()


def test_changes_on_every_node_are_told(open_here):
    store, other = open_here(), open_here()
    changes: set[str | None] = set()
    store.watch(lambda keys: changes.update([None] if keys is None else keys))
    until(store.in_step)
    changes.clear()
    keys = {f"resources:{n}" for n in range(30)}
    other.set_many({key: entry() for key in keys})
    until(lambda: changes == keys)
    other.clear()
    until(lambda: None in changes)


def begin_to_move(nodes: Sequence[ValkeyServer], slot: int) -> tuple[ValkeyServer, ValkeyServer]:
    """Let the move of a slot with something in it begin, and return from where and to where."""
    owner = next(node for node in nodes if node.ask("CLUSTER", "COUNTKEYSINSLOT", str(slot)) != "0")
    target = next(node for node in nodes if node is not owner)
    target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", owner.ask("CLUSTER", "MYID"))
    owner.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target.ask("CLUSTER", "MYID"))
    return owner, target


@pytest.fixture
def moving(open_here, nodes) -> Iterator[Callable[[], None]]:
    """Store something, let its slot begin to move, and give what moves the entries."""
    store = open_here()
    store.set_many({f"{kind}:under-way": entry(b"before") for kind in ("resources", "tools")})
    slot = slot_of(b"under-way")
    owner, target = begin_to_move(nodes, slot)

    def move() -> None:
        for kind in ("resources", "tools"):
            name = f"{store._options.namespace}:entry:{kind}:{{under-way}}"
            owner.ask("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000")

    yield move
    for node in (target, owner):
        node.ask("CLUSTER", "SETSLOT", str(slot), "STABLE")
    for node in (target, owner):
        if (count := node.ask("CLUSTER", "COUNTKEYSINSLOT", str(slot))) != "0":
            node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", node.ask("CLUSTER", "MYID"))
            assert int(count) > 0
            node.ask("FLUSHALL")


@pytest.mark.parametrize("moved", [False, True], ids=["nothing is there yet", "the entries are there"])
def test_in_a_slot_that_is_being_moved_all_but_leases_works(open_here, moving, moved):
    store, other = open_here(), open_here()
    changes: list[str | None] = []
    other.watch(lambda keys: changes.extend([None] if keys is None else keys))
    until(other.in_step)
    changes.clear()
    assert store.acquire("resources:under-way", "me", 10)
    if moved:
        moving()
    there, missing = ["resources:under-way", "tools:under-way"], "prompts:under-way"
    assert list(store.get_many([*there, missing])) == there
    assert store.set_many({there[0]: entry(b"new")}) == 0
    assert store.get_many(there)[there[0]].value == b"new"
    assert not store.renew(there[0], "me", 10)  # the change has revoked it
    assert store.delete_many([there[1], missing]) == 1
    assert list(store.get_many([*there, missing])) == there[:1]
    until(lambda: set(changes) == {*there, missing})
    assert store.acquire(there[1], "me", 10)
    assert store.set_held(there[1], entry(b"fetched"), "me") in (None, 0)
    assert store.acquire(there[1], "you", 10)
    store.clear()
    assert store.get_many([*there, missing]) == {}
    assert store.set_held(there[1], entry(b"too late"), "you") is None
    store.set_many({missing: entry()})
    store.delete_many([missing])


@pytest.mark.usefixtures("frequent_pings")
def test_what_a_node_has_dropped_behind_everybodys_back_is_told(open_here, nodes):
    store = open_here()
    changes: list[object] = []
    store.watch(changes.append)
    until(store.in_step)
    for node in nodes:
        changes.clear()
        node.ask("FLUSHALL")
        until(lambda: changes == [None])


def test_slots_that_have_moved_are_found(open_here, nodes):
    store = open_here()
    key = "resources:moving"
    store.set_many({key: entry(b"before")})
    slot = slot_of(b"moving")
    owner, target = begin_to_move(nodes, slot)
    target_id = target.ask("CLUSTER", "MYID")
    # Half way: whatever is not at the old node any more is asked of the new one.
    name = f"{store._options.namespace}:entry:resources:{{moving}}"
    owner.ask("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000")
    assert store.get_many([key])[key].value == b"before"
    for node in (target, owner, *(node for node in nodes if node not in (target, owner))):
        node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", target_id)
    assert store.get_many([key, "resources:other"])[key].value == b"before"
    store.set_many({key: entry(b"after"), "resources:other": entry()})
    assert store.get_many([key, "resources:other"])[key].value == b"after"
    assert at_node(owner) + at_node(target) >= 1
    store.clear()


def test_a_hung_node_is_a_timeout_and_the_others_are_asked_where_it_is_gone(open_here, nodes):
    store = open_here(socket_timeout=0.3)
    entries = {f"resources:{n}": entry(b"%d" % n) for n in range(30)}
    store.set_many(entries)
    with nodes[0].paused(), pytest.raises(TimeoutError):
        store.get_many(list(entries))
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        try:
            found = store.get_many(list(entries))
        except OSError:  # the others had already noticed, and have to notice again
            continue
        break
    assert found == entries
    store.clear()


def test_no_node_that_can_be_reached_is_a_connection_error(open_store):
    store = open_store(url="redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(ConnectionError, match=r"redis\+cluster://127\.0\.0\.1:1,127\.0\.0\.1:2 cannot be reached"):
        store.get_many(["key"])


def test_a_server_that_is_no_cluster_is_an_error(open_store, shared_server):
    store = open_store(url=f"redis+cluster://127.0.0.1:{shared_server.port}")
    with pytest.raises(RuntimeError, match="refused a command"):
        store.get_many(["key"])
