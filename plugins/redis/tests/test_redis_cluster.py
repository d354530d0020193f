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


def test_slots_that_have_moved_are_found(open_here, nodes):
    store = open_here()
    key = "resources:moving"
    store.set_many({key: entry(b"before")})
    slot = slot_of(b"moving")
    owner = next(node for node in nodes if at_node(node) == 1)
    target = next(node for node in nodes if node is not owner)
    owner_id, target_id = owner.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
    target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", owner_id)
    owner.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_id)
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
