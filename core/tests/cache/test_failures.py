"""S36: a backend that fails, hangs or returns junk is a miss, the request succeeds, and somebody is told once."""

import asyncio
import errno
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import Clock
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra.cache import Fetched
from mcp_orchestra.cache.entry import Entry, encode, pack
from mcp_orchestra.stores import StoredObject
from mcp_orchestra_memory import MemoryStore
from plain_cache import PlainCache

READS = ("get_many", "get_objects")
WRITES = ("set_many", "set_objects")
METHODS = (*READS, *WRITES, "delete_many", "clear", "count", "purge", "close")


class Troubled(MemoryStore):
    """A store whose methods fail while they are listed in ``broken``, and hang while ``gate`` is closed.

    What it does with objects is recorded under the names of what it does with bytes.
    """

    objects = True

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.error: BaseException = OSError("redis://user:s3cret@host is away")
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.threads: set[int] = set()

    def __getattribute__(self, name: str) -> object:
        method = super().__getattribute__(name)
        if name not in METHODS or method is None:
            return method
        known = {"get_objects": "get_many", "set_objects": "set_many"}.get(name, name)

        def call(*args):
            self.calls.append(known)
            self.threads.add(threading.get_ident())
            self.entered.set()
            try:
                assert self.gate.wait(10)
                if known in self.broken:
                    raise self.error
                return method(*args)
            finally:
                self.ended.append(known)

        return call

    def put(self, key: str, value: object, expires_at: float = 1e9) -> None:
        """Put something there in the form that the store keeps."""
        if self.objects:
            self.set_objects({key: StoredObject(value, expires_at, 1)})
        else:
            self.set_many({key: StoredEntry(value, expires_at)})

    def value(self, key: str) -> object:
        """Return what the cache put there."""
        return (self.get_objects([key]) if self.objects else self.get_many([key]))[key].value


class TroubledBytes(Troubled):
    objects = False
    get_objects = None
    set_objects = None


@pytest.fixture
def clock():
    return Clock(0.0)


@pytest.fixture(params=[Troubled, TroubledBytes], ids=["objects", "bytes"])
def store(request):
    store = request.param()
    yield store
    store.gate.set()


@pytest.fixture
def cache(store, clock):
    return PlainCache(60, store=store, clock=clock)


@pytest.fixture
def blocking(store, clock):
    return PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=0.05)


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.WARNING, "mcp_orchestra")
    return caplog


async def answer() -> Fetched:
    return Fetched(data={"n": "fetched"})


async def ask(cache: ResourceCache, key: str = "a") -> dict[str, object]:
    async with asyncio.timeout(10):
        found = await cache.lookup([key])
        return found[key] if key in found else await cache.fetch(key, answer)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [OSError("x"), TimeoutError("x"), ValueError("x"), RecursionError(), MemoryError()])
async def test_s36_a_store_that_raises_is_a_miss_and_the_request_succeeds(cache, store, error):
    cache.set("a", {"n": "kept"})
    store.error = error
    store.broken = set(METHODS)

    assert await ask(cache) == {"n": "fetched"}
    assert cache.get("a") is None
    cache.set("a", {"n": "new"})
    cache.invalidate("a")
    assert cache.cleanup_expired() == 0

    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["cached_items"]) == (0, 2, 0)
    # The look-up, looking again, keeping, get, set, invalidate, cleanup, the count; before them what is condemned.
    assert stats["errors"] >= 8


class Panic(BaseException):
    pass


@pytest.fixture(params=[False, True], ids=["inline", "in a thread"])
def either(request, store, clock):
    """A cache over a store that blocks or does not; what a store may do to it is the same."""
    return PlainCache(60, store=store, clock=clock, blocking=request.param, near_entries=0, store_timeout=10)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), GeneratorExit(), Panic()], ids=repr)
async def test_s36_whatever_a_store_raises_is_a_miss_and_ends_nothing(either, store, error):
    either.set("a", {"n": "old"})
    either.set("b", {"n": "old"})
    store.error = error
    store.broken = set(METHODS)

    assert await ask(either) == {"n": "fetched"}
    assert either.get("a") is None
    either.set("b", {"n": "new"})
    either.invalidate("c")
    assert either.cleanup_expired() == 0
    assert either.get_stats()["errors"] >= 8

    store.broken = set()
    assert (either.get("a"), either.get("b")) == (None, None)  # what could not be replaced
    store.broken = {"close"}
    await either.aclose()


def test_what_could_not_be_replaced_is_never_served_again_whatever_was_raised(cache, store):
    cache.set("a", {"n": "old"})
    store.error = KeyboardInterrupt()
    store.broken = {"set_many"}
    with pytest.raises(KeyboardInterrupt):
        cache.set("a", {"n": "new"})
    store.broken = set()

    assert cache.get("a") is None


def test_s36_one_warning_for_a_burst_and_another_for_the_next(cache, store, clock, log):
    store.broken = {"get_many"}
    for _ in range(100):
        cache.get("a")
        clock.now += 0.1
    assert len(log.records) == 1

    store.broken = set()
    clock.now += 60.0
    cache.get("a")
    assert len(log.records) == 1
    store.broken = {"get_many"}
    cache.get("a")
    cache.get("a")

    assert len(log.records) == 2
    assert cache.get_stats()["errors"] == 102


@pytest.mark.anyio
async def test_s36_a_full_disk_is_one_burst_although_reading_works(cache, store, clock, log):
    log.set_level(logging.INFO, "mcp_orchestra")
    store.broken = {"set_many"}
    for _ in range(50):
        assert await ask(cache) == {"n": "fetched"}
        clock.now += 1.0

    assert [record.levelname for record in log.records] == ["WARNING"]


def test_s36_a_store_that_fails_every_other_time_is_one_burst(cache, store, clock, log):
    log.set_level(logging.INFO, "mcp_orchestra")
    for _ in range(50):
        store.broken ^= {"get_many"}
        cache.get("a")
        clock.now += 1.0

    assert [record.levelname for record in log.records] == ["WARNING"]


def test_s36_a_burst_that_goes_on_is_mentioned_again_after_a_minute(cache, store, clock, log):
    store.broken = {"get_many"}
    cache.get("a")
    clock.now += 59.9
    cache.get("a")
    assert len(log.records) == 1

    clock.now += 0.1
    cache.get("a")

    assert len(log.records) == 2


def test_the_end_of_a_burst_is_mentioned_once_nothing_failed_for_a_minute(cache, store, clock, log):
    log.set_level(logging.INFO, "mcp_orchestra")
    store.broken = {"get_many"}
    cache.get("a")
    store.broken = set()
    clock.now = 59.9
    cache.get("a")
    assert [record.levelname for record in log.records] == ["WARNING"]

    clock.now = 60.0
    cache.get("a")
    cache.get("a")

    assert [record.levelname for record in log.records] == ["WARNING", "INFO"]


def test_s36_a_clock_that_is_put_back_does_not_silence_the_warnings(cache, store, clock, log):
    store.broken = {"get_many"}
    cache.get("a")
    clock.now = -86_400.0
    cache.get("a")

    assert len(log.records) == 2


def test_where_a_store_failed_is_logged_for_its_author_without_its_words(cache, store, log):
    log.set_level(logging.DEBUG, "mcp_orchestra")
    store.broken = {"get_many"}
    cache.get("a")

    (place,) = [record.getMessage() for record in log.records if record.levelname == "DEBUG"]
    assert "raise self.error" in place
    assert "s3cret" not in log.text


def test_a_warning_names_the_store_and_the_kind_of_failure_and_no_secret(cache, store, log):
    store.broken = {"get_many"}
    cache.get("a")

    (record,) = log.records
    assert record.name.startswith("mcp_orchestra.")
    assert "Troubled" in record.getMessage()
    assert "OSError" in record.getMessage()
    assert "s3cret" not in log.text


def let_it_catch_up(cache: ResourceCache, store: Troubled) -> None:
    """Open the gate and wait until the store answers again, which is tried once in a while."""
    store.gate.set()
    deadline = time.monotonic() + 10
    while len(store.ended) < len(store.calls):  # what hung is under way
        assert time.monotonic() < deadline
    while not cache.get_stats()["available"]:
        assert time.monotonic() < deadline
        cache._clock.now += 1


class Returning:
    """A store that returns what it was given, whatever was asked."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def get_many(self, keys):
        return self.thing

    def set_many(self, entries):
        return self.thing

    def delete_many(self, keys):
        return self.thing

    def clear(self):
        return self.thing

    def count(self, now):
        return self.thing

    def purge(self, now):
        return self.thing

    def close(self):
        return self.thing


class ReturningObjects(Returning):
    """The same for objects."""

    def get_objects(self, keys):
        return self.thing

    def set_objects(self, entries):
        return self.thing


GOOD, _ = encode("a", Entry({"n": 1}, 0.0, 60.0))
FINE = pack("a", Entry({"n": 1}, 0.0, 60.0))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "thing",
    [
        None,
        -1,
        "junk",
        [],
        [("a", StoredEntry(GOOD, 60.0))],
        {"a": None},
        {"a": GOOD},
        {"a": (GOOD, 60.0)},
        {"a": StoredEntry(b"", 60.0)},
        {"a": StoredEntry(b"\xff\xfe\x00", 60.0)},
        {"a": StoredEntry(b"{}", 60.0)},
        {"a": StoredEntry(b"[" * 100_000, 60.0)},
        {"a": StoredEntry(GOOD[:-1], 60.0)},
        {"a": StoredEntry(encode("b", Entry({"n": 1}, 0.0, 60.0))[0], 60.0)},
        {"a": StoredEntry(None, 60.0)},
        {"a": StoredEntry(GOOD, "soon")},
        {"a": StoredEntry(GOOD, None)},
        {"a": StoredEntry(GOOD, float("nan"))},
        {"b": StoredEntry(GOOD, 60.0)},
    ],
    ids=range(19),
)
async def test_s36_a_store_that_returns_junk_is_a_miss_and_the_request_succeeds(thing, clock):
    await check_that_junk_is_a_miss(PlainCache(60, store=Returning(thing), clock=clock))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "thing",
    [
        None,
        -1,
        [],
        {"a": None},
        {"a": FINE},
        {"a": StoredEntry(GOOD, 60.0)},
        {"a": StoredObject(GOOD, 60.0, 1)},
        {"a": StoredObject(None, 60.0, 1)},
        {"a": StoredObject(("a", {"n": 1}), 60.0, 1)},
        {"a": StoredObject(pack("b", Entry({"n": 1}, 0.0, 60.0)), 60.0, 1)},
        {"a": StoredObject(FINE, "soon", 1)},
        {"a": StoredObject(FINE, float("nan"), 1)},
        {"b": StoredObject(FINE, 60.0, 1)},
    ],
    ids=range(13),
)
async def test_s36_a_store_of_objects_that_returns_junk_is_a_miss_and_the_request_succeeds(thing, clock):
    await check_that_junk_is_a_miss(PlainCache(60, store=ReturningObjects(thing), clock=clock))


async def check_that_junk_is_a_miss(cache: ResourceCache) -> None:
    assert await ask(cache) == {"n": "fetched"}
    assert cache.get("a") is None
    cache.set("a", {})
    cache.invalidate()
    assert cache.cleanup_expired() == 0

    stats = cache.get_stats()
    assert (stats["misses"], stats["total_requests"], stats["cached_items"]) == (2, 2, 0)
    assert stats["evictions"] >= 0
    assert stats["errors"] >= 3
    await cache.aclose()


def test_s36_junk_is_dropped_counted_once_and_leaves_the_other_entries_alone(cache, store, log):
    cache.set("b", {"n": 2})
    store.put("a", b"junk")
    store.put("c", b"junk")

    found = asyncio.run(cache.lookup(["a", "b", "c"]))

    assert found == {"b": {"n": 2}}
    assert cache.get("a") is None
    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["evictions"], stats["errors"]) == (1, 3, 0, 2)
    assert len(log.records) == 1


def test_s36_one_warning_for_a_burst_of_junk(cache, store, log):
    for _ in range(5):
        store.put("a", b"junk")
        cache.get("a")

    assert cache.get_stats()["errors"] == 5
    assert len(log.records) == 1


def test_an_entry_written_by_another_version_is_a_miss_and_no_trouble(clock, log):
    store = TroubledBytes()
    cache = PlainCache(60, store=store, clock=clock)
    store.put("a", b'{"v":99,"what":"ever"}')

    assert cache.get("a") is None
    assert cache.get_stats()["errors"] == 0
    assert log.records == []


@pytest.mark.parametrize("claimed", [1e9, float("inf")])
def test_s30_a_store_that_claims_a_later_expiry_is_not_believed(cache, store, clock, claimed):
    cache.set("a", {"n": 1})
    store.put("a", store.value("a"), claimed)
    clock.now = 59.0
    assert cache.get("a") == {"n": 1}
    clock.now = 60.0

    assert cache.get("a") is None
    assert cache.get_stats()["evictions"] == 1


@pytest.mark.parametrize("error", [OSError(), Panic()], ids=repr)
def test_an_expired_entry_that_cannot_be_deleted_is_a_miss_and_no_eviction_yet(cache, store, clock, error):
    store.error = error
    cache.set("a", {})
    clock.now = 30.0
    cache.set("b", {"n": 2})
    clock.now = 60.0
    store.broken = {"delete_many"}

    assert asyncio.run(cache.lookup(["a", "b"])) == {"b": {"n": 2}}
    assert cache.get_stats()["evictions"] == 0
    store.broken = set()
    assert cache.get("a") is None
    assert cache.get_stats()["evictions"] == 1


@pytest.mark.parametrize("key", ["a", None])
def test_what_was_invalidated_while_the_store_was_out_of_order_is_never_served_again(cache, store, key):
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})
    store.broken = {"delete_many", "clear"}
    cache.invalidate(key)
    assert cache.get("a") is None
    store.broken = set()

    assert cache.get("a") is None
    assert cache.get("b") == ({"n": 2} if key else None)


def test_what_could_not_be_replaced_is_never_served_again(cache, store):
    cache.set("a", {"n": "old"})
    store.broken = {"set_many"}
    cache.set("a", {"n": "new"})
    store.broken = set()

    assert cache.get("a") is None


@pytest.mark.anyio
async def test_a_write_that_was_only_slow_is_kept(blocking, store):
    store.gate.clear()
    assert await ask(blocking) == {"n": "fetched"}  # the look-up hangs
    let_it_catch_up(blocking, store)
    store.gate.clear()
    blocking.set("a", {"n": "slow"})
    let_it_catch_up(blocking, store)

    assert blocking.get("a") == {"n": "slow"}


@pytest.mark.anyio
async def test_what_could_not_be_replaced_because_the_store_was_busy_is_never_served_again(blocking, store):
    blocking.set("a", {"n": "old"})
    store.gate.clear()
    blocking.get("b")  # hangs
    blocking.set("a", {"n": "new"})
    let_it_catch_up(blocking, store)

    assert blocking.get("a") is None


def test_what_is_set_after_a_failed_invalidation_stays(cache, store):
    store.broken = {"clear"}
    cache.invalidate()
    store.broken = set()
    cache.set("a", {"n": 1})

    assert cache.get("a") == {"n": 1}


@pytest.mark.anyio
async def test_s36_a_store_that_hangs_is_a_miss_and_the_request_succeeds(blocking, store):
    blocking.set("a", {"n": "kept"})
    store.gate.clear()

    assert await ask(blocking) == {"n": "fetched"}
    assert blocking.get("a") is None
    blocking.set("a", {"n": "new"})
    blocking.invalidate("b")
    assert blocking.cleanup_expired() == 0

    stats = blocking.get_stats()
    assert (stats["hits"], stats["misses"], stats["cached_items"]) == (0, 2, 0)
    assert (stats["errors"], stats["available"]) == (1, False)  # that is known now, and not tried each time


@pytest.mark.anyio
async def test_the_event_loop_goes_on_while_a_store_hangs(store, clock):
    patient = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=10)
    store.gate.clear()
    looking = asyncio.create_task(patient.lookup(["a"]))
    await asyncio.to_thread(store.entered.wait, 10)

    assert not looking.done()
    store.gate.set()
    async with asyncio.timeout(10):
        assert await looking == {}


@pytest.mark.anyio
async def test_while_a_call_hangs_the_others_do_not_even_try(blocking, store, log):
    store.gate.clear()
    await blocking.lookup(["a"])
    calls = list(store.calls)

    for _ in range(20):
        await blocking.lookup(["a"])

    assert store.calls == calls == ["get_many"]
    assert blocking.get_stats()["errors"] == 1
    assert len(log.records) == 1


@pytest.mark.anyio
async def test_a_write_that_hung_does_not_come_after_an_invalidation(blocking, store):
    store.gate.clear()
    blocking.set("a", {"n": "old"})
    assert store.calls == ["set_many"]
    blocking.invalidate("a")
    let_it_catch_up(blocking, store)

    assert blocking.get("a") is None
    blocking.set("a", {"n": "new"})
    assert blocking.get("a") == {"n": "new"}


@pytest.mark.anyio
async def test_a_blocking_store_is_called_in_one_thread_that_is_not_the_event_loops(blocking, store):
    await ask(blocking)
    blocking.get("a")
    blocking.invalidate()
    await asyncio.to_thread(blocking.get_stats)

    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


@pytest.mark.anyio
async def test_invalidating_on_the_event_loop_does_not_wait_for_a_blocking_store(store, clock):
    patient = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=30)
    patient.set("a", {"n": 1})
    store.gate.clear()

    patient.invalidate("a")

    assert store.ended == ["set_many"]
    store.gate.set()
    assert patient.get("a") is None
    assert store.ended[:2] == ["set_many", "delete_many"]


@pytest.mark.anyio
async def test_an_invalidation_that_fails_behind_is_counted_and_holds(store, clock, log):
    patient = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=30)
    patient.set("a", {"n": 1})
    store.broken = {"delete_many"}
    patient.invalidate("a")
    assert patient.get_stats()["errors"] == 2  # the invalidation, and the count that had to come after it
    store.broken = set()

    assert patient.get("a") is None
    assert len(log.records) == 1


@pytest.mark.anyio
async def test_closing_deletes_what_was_condemned_before_it_closes_the_store(cache, store):
    store.broken = {"delete_many"}
    cache.invalidate("a")
    store.broken = set()
    store.calls.clear()

    await cache.aclose()

    assert store.calls[:2] == ["delete_many", "close"]


@pytest.mark.anyio
@pytest.mark.parametrize("broken", [True, False])
async def test_closing_does_not_wait_for_a_store_that_hangs_or_fails(store, clock, broken):
    cache = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=0.05)
    cache.get("a")
    if broken:
        store.broken = {"close"}
    else:
        store.gate.clear()

    async with asyncio.timeout(10):
        await cache.aclose()

    assert cache.closed


@pytest.mark.anyio
@pytest.mark.parametrize("blocking", [True, False])
async def test_closing_closes_the_store_once_and_ends_its_thread(store, clock, blocking):
    before = set(threading.enumerate())
    cache = PlainCache(60, store=store, clock=clock, blocking=blocking, near_entries=0, store_timeout=10)
    cache.set("a", {})
    await cache.aclose()
    await cache.aclose()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)

    assert store.calls.count("close") == 1
    assert set(threading.enumerate()) <= before


def test_the_thread_of_a_cache_that_nobody_holds_ends(store, clock):
    before = set(threading.enumerate())
    cache = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=10)
    cache.set("a", {})
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon

    del cache
    thread.join(10)

    assert not thread.is_alive()


def test_threads_that_share_a_cache_over_a_failing_store_see_misses_only(cache, store):
    store.broken = set(METHODS)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(cache.get, ["a"] * 800)) == {None}

    stats = cache.get_stats()
    assert (stats["misses"], stats["errors"]) == (800, 801)


class Forgetful(MemoryStore):
    """A store that does what it is asked and does not say how often."""

    def set_objects(self, entries):
        super().set_objects(entries)

    def count(self, now):
        super().count(now)

    def purge(self, now):
        super().purge(now)
        return -1


class ForgetfulOfBytes(Forgetful):
    get_objects = set_objects = None

    def set_many(self, entries):
        super().set_many(entries)
        return "some"


@pytest.mark.parametrize(("kind", "method"), [(Forgetful, "set_objects"), (ForgetfulOfBytes, "set_many")])
def test_what_a_store_does_not_count_is_kept_and_the_method_is_named(kind, method, clock, log):
    cache = PlainCache(60, store=kind(), clock=clock)
    cache.set("a", {"n": 1})

    assert f"{method} must return how many entries were evicted, not" in log.text
    assert cache.get("a") == {"n": 1}
    clock.now = 60.0
    assert cache.cleanup_expired() == 0
    assert "purge must return how many entries were removed, not a negative number" in log.text
    clock.now = 120.0
    assert cache.get_stats()["cached_items"] == 0
    assert "count must return how many entries were fresh, not NoneType" in log.text
    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["evictions"]) == (1, 0, 0)


@pytest.mark.anyio
async def test_two_hundred_who_look_up_at_once_are_served_by_two_calls(store, clock):
    cache = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=10)
    for n in range(10):
        cache.set(f"key {n}", {"n": [n]})
    store.calls.clear()
    store.gate.clear()
    store.entered.clear()
    looking = [asyncio.create_task(cache.lookup([f"key {n % 10}", "nobody"])) for n in range(200)]
    await asyncio.to_thread(store.entered.wait, 10)
    threads = [threading.Thread(target=cache.get, args=("key 1",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    while any(task.get_coro().cr_await is None for task in looking):  # until everyone has asked
        await asyncio.sleep(0)
    store.gate.set()

    async with asyncio.timeout(10):
        found = await asyncio.gather(*looking)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    assert found == [{f"key {n % 10}": {"n": [n % 10]}} for n in range(200)]
    assert len({id(one[f"key {n % 10}"]["n"]) for n, one in enumerate(found)}) == 200  # S31
    assert 2 <= store.calls.count("get_many") <= 4
    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["errors"]) == (205, 200, 0)


@pytest.mark.anyio
async def test_those_who_look_up_together_fail_together_and_the_next_ones_do_not(store, clock):
    cache = PlainCache(60, store=store, clock=clock, blocking=True, near_entries=0, store_timeout=10)
    cache.set("a", {"n": 1})
    store.broken = {"delete_many"}
    cache.invalidate("b")  # which has to succeed before anything is read
    store.broken = {"delete_many", "get_many"}
    assert await asyncio.gather(*(cache.lookup(["a"]) for _ in range(20))) == [{}] * 20
    store.broken = set()
    clock.now += 5  # for no longer it is left alone
    await cache.lookup(["a"])

    assert await asyncio.gather(*(cache.lookup(["a"]) for _ in range(20))) == [{"a": {"n": 1}}] * 20


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("method", ["get_many", "set_many", "delete_many", "count", "clear"])
def test_a_store_that_calls_its_own_cache_is_refused_and_does_not_wait_for_itself(method, blocking, clock, log):
    class Returning(MemoryStore):
        get_objects = set_objects = None

        def __getattribute__(self, name: str) -> object:
            if name == method:
                answers.extend([cache.get("other"), cache.set("other", {}), cache.invalidate("other")])
            return super().__getattribute__(name)

    def use() -> None:
        cache.set("a", {"n": 1})
        found.append(cache.get("a"))
        cache.invalidate("b")
        cache.invalidate()
        cache.get_stats()

    answers: list[object] = []
    found: list[object] = []
    cache = PlainCache(60, store=Returning(), clock=clock, blocking=blocking, near_entries=0, store_timeout=10)
    log.clear()
    user = threading.Thread(target=use, daemon=True)
    user.start()
    user.join(10)

    assert not user.is_alive()
    assert found == [{"n": 1}]
    assert set(answers) == {None}
    assert ["it calls the cache that is calling it" in record.getMessage() for record in log.records] == [True]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("no such key")])
def test_s36_what_cannot_be_deleted_is_not_served_and_costs_the_other_entries_nothing(cache, store, error):
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})
    store.error, store.broken = error, {"delete_many"}
    cache.invalidate("a")

    assert (cache.get("a"), cache.get("b")) == (None, {"n": 2})
    store.broken = set()
    assert (cache.get("a"), cache.get("b")) == (None, {"n": 2})


def test_very_many_deletions_that_have_waited_for_the_store_are_made(cache, store):
    cache.set("a", {"n": 1})
    store.broken = {"delete_many"}
    for number in range(11_000):
        cache._guard.condemn(str(number))
    cache.invalidate("a")
    store.broken = set()

    assert cache.get("a") is None
    cache.set("b", {"n": 2})
    assert cache.get("b") == {"n": 2}
    assert not cache._guard._unwanted
