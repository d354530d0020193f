"""S34 over several processes: one of them at a time fetches what is missing, and its end releases the others."""

import asyncio

import looptime
import pytest
from mcp_orchestra import ResourceCache, ResourceFetchError
from mcp_orchestra.cache import Fetched, Freshness
from shared_store import BareClient, Client, LeasingClient, Shared

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": looptime.new_event_loop}


@pytest.fixture(autouse=True)
async def deadline():
    async with asyncio.timeout(3600):
        yield


def now() -> float:
    return asyncio.get_running_loop().time()


class Upstream:
    """Takes its time to answer."""

    def __init__(self, data: dict | None = None, *, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.data = {"n": 1} if data is None else data
        self.seconds = seconds
        self.error = error
        self.cacheable = True
        self.asked: list[float] = []
        self.reached = asyncio.Event()

    async def __call__(self) -> Fetched:
        self.asked.append(now())
        self.reached.set()
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Fetched(data=self.data, cacheable=self.cacheable)


@pytest.fixture
async def shared() -> Shared:
    return Shared(asyncio.get_running_loop().time)


@pytest.fixture
async def processes(shared):
    """Return caches that share a store, as those of several processes do, and each one's way to it."""
    opened: list[ResourceCache] = []

    def processes(number: int = 2, kind: type[BareClient] = Client, **options: object):
        clients = [kind(shared) for _ in range(number)]
        caches = [ResourceCache(60, store=client, clock=shared.clock, **options) for client in clients]
        opened.extend(caches)
        return *caches, *clients

    yield processes
    for cache in opened:
        await cache.aclose()


async def fetch(cache: ResourceCache, upstream: Upstream, key: str = "a") -> dict:
    return (await cache.fetch(key, upstream)).copy()


async def lead_and_follow(
    leader: ResourceCache, leading: Upstream, follower: ResourceCache, following: Upstream
) -> tuple[asyncio.Task[dict], asyncio.Task[dict]]:
    first = asyncio.create_task(fetch(leader, leading))
    await leading.reached.wait()
    second = asyncio.create_task(fetch(follower, following))
    await asyncio.sleep(0.2)
    assert following.asked == []
    return first, second


@pytest.mark.parametrize("kind", [LeasingClient, Client])
async def test_s34_a_thousand_callers_in_five_processes_cause_one_fetch(processes, kind):
    caches = processes(5, kind)[:5]
    upstream = Upstream()

    answers = await asyncio.gather(*(fetch(cache, upstream) for cache in caches for _ in range(200)))

    assert answers == [{"n": 1}] * 1000
    assert len(upstream.asked) == 1
    stats = [cache.get_stats() for cache in caches]
    assert sum(one["fetches"] for one in stats) == 1
    assert sum(one["fetches_saved"] for one in stats) == 999


async def test_s34_threads_of_blocking_stores_come_to_the_same(anyio_backend_name):
    def in_a_loop_of_real_time() -> int:
        async def main() -> int:
            shared = Shared(asyncio.get_running_loop().time)
            caches = [ResourceCache(60, store=Client(shared), blocking=True, store_timeout=5) for _ in range(2)]
            upstream = Upstream(seconds=0)
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*(fetch(cache, upstream) for cache in caches * 20))
            assert answers == [{"n": 1}] * 40
            for cache in caches:
                await cache.aclose()
            return len(upstream.asked)

        with asyncio.Runner() as runner:
            return runner.run(main())

    assert await asyncio.to_thread(in_a_loop_of_real_time) == 1


async def test_who_follows_has_the_answer_soon_after_it_is_there(processes):
    one, other, *_ = processes()
    leading, following = Upstream(seconds=1), Upstream()
    _, second = await lead_and_follow(one, leading, other, following)

    assert await second == {"n": 1}
    assert now() - leading.asked[0] <= 1.1
    assert following.asked == []


async def test_s34_after_a_failed_fetch_the_next_process_tries(processes):
    one, other, *_ = processes()
    broken, works = Upstream(error=ResourceFetchError("it is broken")), Upstream({"n": 2})
    first, second = await lead_and_follow(one, broken, other, works)

    with pytest.raises(ResourceFetchError, match="broken"):
        await first
    assert await second == {"n": 2}
    assert one.get("a") == other.get("a") == {"n": 2}
    assert works.asked[0] - broken.asked[0] <= 1.1  # and not only when the lease ends by itself


async def test_s34_after_a_cancelled_fetch_the_next_process_tries(processes):
    one, other, *_ = processes()
    cancelled, works = Upstream(seconds=1000), Upstream({"n": 2})
    first, second = await lead_and_follow(one, cancelled, other, works)

    first.cancel()

    assert await second == {"n": 2}
    assert works.asked[0] - cancelled.asked[0] <= 0.3
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_s34_after_an_answer_that_is_not_to_be_kept_the_next_process_asks_itself(processes):
    one, other, *_ = processes()
    partial, whole = Upstream({"n": "part"}), Upstream({"n": "all"})
    partial.cacheable = False
    first, second = await lead_and_follow(one, partial, other, whole)

    assert await asyncio.gather(first, second) == [{"n": "part"}, {"n": "all"}]
    assert one.get("a") == {"n": "all"}


async def test_s34_when_a_process_closes_the_next_one_tries(processes):
    one, other, *_ = processes()
    interrupted, works = Upstream(seconds=1000), Upstream({"n": 2})
    first, second = await lead_and_follow(one, interrupted, other, works)

    await one.aclose()

    assert await second == {"n": 2}
    assert works.asked[0] - interrupted.asked[0] <= 0.3
    with pytest.raises(Exception, match="closed"):
        await first


async def test_s34_the_lease_of_a_process_that_died_ends_by_itself(processes, shared):
    one, _ = processes(1)
    shared.leases["a"] = "a process that was killed", now() + 2
    upstream = Upstream()
    begun = now()

    assert await fetch(one, upstream) == {"n": 1}
    assert 2 <= upstream.asked[0] - begun <= 2.1
    assert one.get("a") == {"n": 1}


async def test_a_lease_is_renewed_for_as_long_as_the_fetch_takes(processes):
    one, other, client, _ = processes()
    slow, following = Upstream(seconds=25), Upstream()
    first, second = await lead_and_follow(one, slow, other, following)

    assert await asyncio.gather(first, second) == [{"n": 1}] * 2
    assert following.asked == []
    assert client.calls.count("renew") in range(48, 51)
    client.calls.clear()
    await asyncio.sleep(10)
    assert "renew" not in client.calls


async def test_s34_who_could_not_renew_is_replaced_and_comes_too_late(processes, shared):
    one, other, stuck, _ = processes()
    late, works = Upstream({"n": "late"}, seconds=10), Upstream({"n": "new"})
    stuck.broken = {"renew"}
    first, second = await lead_and_follow(one, late, other, works)

    assert await second == {"n": "new"}
    assert works.asked[0] - late.asked[0] <= 2.1
    assert await first == {"n": "late"}
    assert one.get("a") == other.get("a") == {"n": "new"}


@pytest.mark.parametrize("who", ["leader", "follower"])
@pytest.mark.parametrize("change", ["invalidate", "invalidate everything", "outdate", "set"])
async def test_s34_what_changes_while_it_is_fetched_is_stored_by_nobody(processes, who, change):
    one, other, *_ = processes()
    old, newer = Upstream({"n": "old"}, seconds=5), Upstream({"n": "newer"}, seconds=20)
    first, second = await lead_and_follow(one, old, other, newer)
    changing = one if who == "leader" else other
    if change == "set":
        changing.set("a", {"n": "set"})
    elif change == "outdate":
        changing.outdate("a")
    else:
        changing.invalidate("a" if change == "invalidate" else None)

    assert await first == {"n": "old"}
    expected = {"n": "set"} if change == "set" else None
    assert one.get("a") == other.get("a") == expected
    assert await second == ({"n": "set"} if change == "set" else {"n": "newer"})


async def test_s35_what_its_server_outdates_while_we_fetch_it_is_still_there_for_when_the_fetch_fails(processes):
    cache, _, _, _ = processes(freshness=Freshness(max_stale=600))
    cache.set("a", {"n": 0})
    cache.outdate("a")
    failing = Upstream(error=ResourceFetchError("out of order"))
    asking = asyncio.create_task(fetch(cache, failing))
    await failing.reached.wait()
    cache.outdate("a")
    assert await asking == {"n": 0}
    assert (await cache.lookup(["a"], failing=["a"]))["a"].stale
    assert await fetch(cache, Upstream()) == {"n": 1}


async def test_who_asks_after_an_invalidation_does_not_get_what_was_fetched_before(processes):
    one, other, *_ = processes()
    old, new = Upstream({"n": "old"}, seconds=5), Upstream({"n": "new"}, seconds=1)
    first = asyncio.create_task(fetch(one, old))
    await old.reached.wait()
    other.invalidate("a")

    assert await fetch(other, new) == {"n": "new"}
    assert await first == {"n": "old"}
    assert one.get("a") == {"n": "new"}


async def test_s36_when_the_store_fails_everybody_fetches_for_himself(processes):
    one, other, client, following = processes()
    slow, own = Upstream(seconds=5), Upstream({"n": "own"})
    first, second = await lead_and_follow(one, slow, other, own)
    client.broken = following.broken = {"get_many", "acquire", "renew", "release", "set_held", "delete_many"}

    assert await second == {"n": "own"}
    assert await first == {"n": 1}
    client.broken = following.broken = set()
    assert one.get("a") is None


async def test_s36_who_cannot_release_a_lease_waits_for_its_end(processes):
    one, other, client, _ = processes()
    broken, works = Upstream(error=ResourceFetchError("it is broken")), Upstream({"n": 2})
    client.broken = {"release"}
    first, second = await lead_and_follow(one, broken, other, works)

    with pytest.raises(ResourceFetchError):
        await first
    assert await second == {"n": 2}
    assert works.asked[0] - broken.asked[0] <= 3.1


async def test_a_store_that_grants_no_leases_is_asked_for_none(processes):
    one, other, client, _ = processes(kind=BareClient)
    upstream = Upstream()

    assert await asyncio.gather(fetch(one, upstream), fetch(other, upstream)) == [{"n": 1}] * 2
    assert len(upstream.asked) == 2
    assert set(client.calls) == {"get_many", "set_many"}


async def test_keys_do_not_wait_for_each_other(processes):
    one, other, *_ = processes()
    slow, quick = Upstream(seconds=100), Upstream({"n": 2}, seconds=0)
    first = asyncio.create_task(fetch(one, slow))
    await slow.reached.wait()

    assert await fetch(other, quick, "b") == {"n": 2}
    assert now() < 100
    await first


async def test_s33_those_who_ask_as_somebody_else_do_not_wait_for_each_other(shared):
    one, other = (
        ResourceCache(60, store=Client(shared), clock=shared.clock, partitions={"x": who}) for who in ("me", "you")
    )
    mine, yours = Upstream({"n": "mine"}, seconds=5), Upstream({"n": "yours"})

    answers = await asyncio.gather(fetch(one, mine, "resources:x"), fetch(other, yours, "resources:x"))

    assert answers == [{"n": "mine"}, {"n": "yours"}]
    assert (one.get("resources:x"), other.get("resources:x")) == ({"n": "mine"}, {"n": "yours"})


async def test_looking_at_what_has_expired_does_not_take_the_lease_from_who_replaces_it(processes):
    one, other, *_ = processes()
    one.set("a", {"n": "expired"})
    await asyncio.sleep(60)
    upstream = Upstream(seconds=5)
    first = asyncio.create_task(fetch(one, upstream))
    await upstream.reached.wait()

    assert await other.lookup(["a"]) == {}
    assert other.describe(["a"]) == {}
    assert await first == {"n": 1}
    assert other.get("a") == {"n": 1}


async def test_nobody_waits_for_another_process_longer_than_he_would_for_the_server(processes):
    one, other, *_ = processes()
    slow, quick = Upstream({"n": "slow"}, seconds=20), Upstream({"n": "quick"})
    leading = asyncio.create_task(fetch(one, slow))
    await slow.reached.wait()
    begun = now()

    assert (await other.fetch("a", quick, patience=3)).copy() == {"n": "quick"}
    assert now() - begun < 4.2
    assert other.get("a") is None  # for the lease is the other one's
    assert await leading == {"n": "slow"}
    assert one.get("a") == other.get("a") == {"n": "slow"}


async def test_a_fetch_that_is_cancelled_while_it_takes_the_lease_does_not_keep_it(processes):
    one, other, *_ = processes()
    for steps in range(12):
        asking = asyncio.create_task(fetch(one, Upstream(seconds=0), f"key {steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        begun = now()

        assert await fetch(other, Upstream(seconds=0), f"key {steps}") == {"n": 1}
        assert now() - begun < 0.5
