"""A ticket stands for what a look-up would find; and what is gathered again is what would be gathered anew."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from fakes import BytesStore, Clock
from mcp_orchestra import MCPConnectionError, MCPRegistry, MCPServerConfig, ResourceCache
from mcp_orchestra.cache import Freshness, Ticket
from mcp_orchestra.cache.tickets import Tickets
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.routing import Router
from mcp_orchestra.types import Candidate
from mcp_orchestra_memory import MemoryStore
from shared_store import BareClient, Client, Shared

pytestmark = pytest.mark.anyio

KEYS = ["resources:a", "resources:b"]


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(10):
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock) -> Shared:
    return Shared(clock)


@pytest.fixture(params=["memory", "near"])
async def cache(request, clock, shared):
    options = {"clock": clock, "freshness": Freshness(max_stale=30), "partitions": {"a": "1", "b": "2"}}
    if request.param == "memory":
        cache = ResourceCache(60, store=MemoryStore(), **options)
    else:
        cache = ResourceCache(60, store=Client(shared), blocking=True, store_timeout=5, **options)
    for key in KEYS:
        cache.set(key, {"of": {"key": key}})
    yield cache
    await cache.aclose()


async def looked_up(cache: ResourceCache) -> Ticket | None:
    ticket = cache.ticket()
    return cache.grant(ticket, await cache.lookup(KEYS))


async def test_a_ticket_is_honoured_while_nothing_changes_and_counts_hits(cache):
    ticket = await looked_up(cache)
    before = cache.get_stats()

    assert all(cache.honours(ticket) for _ in range(5))

    after = cache.get_stats()
    assert after["hits"] - before["hits"] == 10
    assert after["servers"]["a"]["hits"] - before["servers"]["a"]["hits"] == 5
    assert after["misses"] == before["misses"]


@pytest.mark.parametrize("key", [*KEYS, "unknown"])
@pytest.mark.parametrize("change", ["set", "invalidate", "outdate"])
async def test_whatever_this_cache_changes_makes_it_void(cache, change, key):
    ticket = await looked_up(cache)
    if change == "set":
        cache.set(key, {"n": 2})
    else:
        getattr(cache, change)(key)

    assert not cache.honours(ticket)
    assert cache.get_stats()["servers"]["a"]["hits"] == 1


async def test_invalidating_everything_and_closing_make_it_void(cache):
    ticket = await looked_up(cache)
    cache.invalidate()
    assert not cache.honours(ticket)

    cache.set(KEYS[0], {})
    cache.set(KEYS[1], {})
    ticket = await looked_up(cache)
    await cache.aclose()
    assert not cache.honours(ticket)


@pytest.mark.parametrize("change", ["set", "invalidate", "outdate"])
async def test_a_change_during_the_look_up_makes_it_void(cache, change):
    ticket = cache.ticket()
    answers = await cache.lookup(KEYS)
    if change == "set":
        cache.set(KEYS[0], {"n": 2})
    else:
        getattr(cache, change)(KEYS[0])

    assert not cache.honours(cache.grant(ticket, answers))


@pytest.mark.parametrize("change", ["invalidate", "outdate"])
async def test_a_look_up_in_the_middle_of_a_change_gets_no_ticket_that_outlives_it(cache, change, monkeypatch):
    granted: list[Ticket | None] = []
    forget = cache._shelf.forget_near
    guard = cache._guard
    send = guard.send

    def look_up(then: Callable[..., None]) -> Callable[..., None]:
        def now(*args: object) -> None:
            ticket = cache.ticket()
            found = cache._answers(cache._shelf._nearby(tuple(KEYS))) if cache._near is not None else {}
            granted.append(cache.grant(ticket, found))
            then(*args)

        return now

    monkeypatch.setattr(cache._shelf, "forget_near", look_up(forget))
    monkeypatch.setattr(guard, "send", look_up(send))
    await cache.lookup(KEYS)
    getattr(cache, change)(KEYS[0])

    assert granted
    assert not any(ticket is not None and cache.honours(ticket) for ticket in granted)


async def test_it_ends_with_the_first_entry_that_it_stands_for(cache, clock):
    clock.now += 59.5
    ticket = await looked_up(cache)
    clock.now += 0.499
    assert cache.honours(ticket)
    clock.now += 0.001
    assert not cache.honours(ticket)


async def test_it_ends_after_a_second_so_that_the_store_sees_what_is_used(cache, clock):
    ticket = await looked_up(cache)
    clock.now += 0.999
    assert cache.honours(ticket)
    clock.now += 0.001
    assert not cache.honours(ticket)


async def test_it_is_void_after_the_clock_was_put_back(cache, clock):
    ticket = await looked_up(cache)
    clock.now -= 1.001
    assert not cache.honours(ticket)


async def test_there_is_none_for_what_is_stale(cache, clock):
    clock.now += 60

    assert cache.grant(cache.ticket(), await cache.lookup(KEYS, failing=KEYS)) is None


@pytest.mark.parametrize(
    "options", [{"store": BytesStore()}, {"store": BareClient(Shared(Clock())), "blocking": True, "near_entries": 0}]
)
async def test_there_is_none_where_the_changes_of_others_go_unnoticed(options, clock):
    cache = ResourceCache(60, clock=clock, **options)
    for key in KEYS:
        cache.set(key, {})

    assert await looked_up(cache) is None
    await cache.aclose()


async def test_what_others_change_makes_it_void(shared, clock):
    cache, other = (ResourceCache(60, store=Client(shared), blocking=True, clock=clock) for _ in range(2))
    for key in KEYS:
        cache.set(key, {})
    for change in (lambda: other.set(KEYS[0], {}), other.invalidate):
        ticket = await looked_up(cache)
        assert cache.honours(ticket)
        await asyncio.to_thread(change)
        assert not cache.honours(ticket)
        for key in KEYS:
            cache.set(key, {})
    for one in (cache, other):
        await one.aclose()


async def test_with_a_store_that_lost_step_it_is_good_for_the_seconds_of_the_near_cache(shared, clock):
    client = Client(shared)
    cache = ResourceCache(60, store=client, blocking=True, clock=clock, near_seconds=0)
    for key in KEYS:
        cache.set(key, {})
    await cache.lookup(KEYS)
    ticket = await looked_up(cache)
    assert cache.honours(ticket)

    client.lose_step()
    assert not cache.honours(ticket)
    await cache.aclose()


async def test_a_mark_is_never_used_again():
    tickets = Tickets(Clock())
    marks = []
    for _ in range(100):
        marks.append(tickets.issue().mark)
        tickets.revoke()

    assert len(set(marks)) == 100


# Gathering again


class InOrder:
    def order(self, question: object, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return candidates


class Nobody:
    """In place of connections: no server can be asked."""

    def get(self, server_id: str) -> None:
        return None

    def __getitem__(self, server_id: str) -> object:
        raise MCPConnectionError(f"nobody asks {server_id}")


@pytest.fixture
def registry() -> MCPRegistry:
    registry = MCPRegistry()
    for server_id in "ab":
        registry.register_server(server_id, MCPServerConfig(name=server_id.upper(), url="http://x", domains=["d"]))
        registry.mark_connected(server_id, object())
    return registry


@pytest.fixture
def gatherer(cache, registry) -> Gatherer:
    return Gatherer(registry=registry, connections=Nobody(), cache=cache, router=Router(InOrder()), fail_fast=False)


def part(key: str, **more: object) -> dict[str, object]:
    return {"priority": 100, "domains": ["d"], "capabilities": [], "resources": {"of": {"key": key}}} | more


WHOLE = {"A": part(KEYS[0]), "B": part(KEYS[1])}


async def test_s31_what_is_gathered_again_is_equal_and_shares_nothing(gatherer):
    gathered = [await gatherer.gather() for _ in range(4)]
    assert gathered == [WHOLE] * 4
    assert all(isinstance(one, dict) for one in gathered)
    for one in gathered[:3]:
        one["A"]["resources"]["of"]["key"] = "changed"
        one["B"]["domains"].append("changed")
        del one["B"]["resources"]

    assert gathered[3] == await gatherer.gather() == WHOLE


@pytest.mark.parametrize("store", [MemoryStore, BytesStore])
async def test_s31_over_any_store(store, clock, registry):
    cache = ResourceCache(60, store=store(), clock=clock)
    for key in KEYS:
        cache.set(key, {"of": {"key": key}})
    gatherer = Gatherer(registry=registry, connections=Nobody(), cache=cache, router=Router(InOrder()), fail_fast=False)
    for _ in range(4):
        one = await gatherer.gather()
        assert one == WHOLE
        one["A"]["resources"]["of"].clear()


async def gathered_after(gatherer: Gatherer, change: Callable[[], object]) -> dict:
    for _ in range(3):
        assert await gatherer.gather() == WHOLE
    change()
    return await gatherer.gather()


async def test_after_a_set_the_next_gather_has_it(gatherer, cache):
    found = await gathered_after(gatherer, lambda: cache.set(KEYS[0], {"of": {"key": "new"}}))

    assert found == {"A": part("new"), "B": part(KEYS[1])}


async def test_after_an_invalidation_the_next_gather_asks(gatherer, cache):
    found = await gathered_after(gatherer, lambda: cache.invalidate(KEYS[0]))

    assert found["A"]["error"] == "nobody asks a"
    assert found["B"] == part(KEYS[1])


async def test_s35_after_it_was_outdated_the_next_gather_asks(gatherer, cache):
    found = await gathered_after(gatherer, lambda: cache.outdate(KEYS[0]))

    assert found["A"]["error"] == "nobody asks a"  # there is no connection, so nobody got as far as failing
    assert found["B"] == part(KEYS[1])


async def test_after_its_time_the_next_gather_asks(gatherer, cache, clock):
    def time_passes() -> None:
        clock.now += 60
        cache.cleanup_expired()

    found = await gathered_after(gatherer, time_passes)

    assert {name: set(one) & {"error"} for name, one in found.items()} == {"A": {"error"}, "B": {"error"}}


async def test_a_change_of_the_registry_shows_in_the_next_gather(gatherer, registry):
    found = await gathered_after(gatherer, lambda: registry.mark_disconnected("a", "gone"))
    assert found == {"A": part(KEYS[0], stale=True), "B": part(KEYS[1])}

    registry.mark_connected("a", object())
    config = MCPServerConfig(name="Third", url="http://x", priority=1)
    found = await gathered_after(gatherer, lambda: registry.register_server("c", config))
    assert found == WHOLE
    registry.mark_connected("c", object())
    assert list(await gatherer.gather()) == ["Third", "A", "B"]


async def test_what_another_process_changes_shows_in_the_next_gather(registry, shared, clock):
    cache, other = (ResourceCache(60, store=Client(shared), blocking=True, clock=clock) for _ in range(2))
    for key in KEYS:
        cache.set(key, {"of": {"key": key}})
    gatherer = Gatherer(registry=registry, connections=Nobody(), cache=cache, router=Router(InOrder()), fail_fast=False)

    found = await gathered_after(gatherer, lambda: other.set(KEYS[0], {"of": {"key": "new"}}))

    assert found == {"A": part("new"), "B": part(KEYS[1])}
    for one in (cache, other):
        await one.aclose()


async def test_what_was_gathered_does_not_change_afterwards(gatherer, registry):
    for _ in range(3):
        found = await gatherer.gather()
    registry.mark_disconnected("a", "gone")
    registry.get_server("b").config.domains.append("more")

    assert found == WHOLE
    assert dict(found) == WHOLE
