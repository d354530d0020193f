"""Decoded entries in front of a store that has to be waited for: never older than the store allows."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from fakes import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Fetched, Freshness
from mcp_orchestra.cache.entry import Entry, Kept, kept
from mcp_orchestra.cache.near import NearCache
from shared_store import BareClient, Client, Shared, TellingClient


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock) -> Shared:
    return Shared(clock)


def entry(key: str, text: str = "") -> Kept:
    return kept(key, Entry({"text": text}, 0.0, 1e9))


# The near cache by itself


def near_cache(clock: Clock, source: TellingClient | None = None, **options: object) -> NearCache:
    told = {"max_entries": 10, "seconds": 5.0, "changed": lambda: None} | options
    near = NearCache(source=source, clock=clock, **told)
    near.watch()
    return near


def read(near: NearCache, *keys: str, text: str = "") -> None:
    near.keep({key: entry(key, text) for key in keys}, keys, near.reading(keys))


def test_what_was_read_is_found_for_its_seconds(clock):
    near = near_cache(clock)
    read(near, "a")

    assert set(near.find(["a", "b"])) == {"a"}
    clock.now += 4.999
    assert set(near.find(["a"])) == {"a"}
    clock.now += 0.001
    assert near.find(["a"]) == {}


def test_the_seconds_count_from_when_the_store_was_asked(clock):
    near = near_cache(clock)
    token = near.reading(["a"])
    clock.now += 3
    near.keep({"a": entry("a")}, ["a"], token)
    clock.now += 2

    assert near.find(["a"]) == {}


def test_with_no_seconds_nothing_is_found_unless_the_store_tells_of_changes(clock, shared):
    plain = near_cache(clock, seconds=0.0)
    told = near_cache(clock, TellingClient(shared), seconds=0.0)
    read(plain, "a")
    read(told, "a")

    assert (set(plain.find(["a"])), set(told.find(["a"]))) == (set(), {"a"})


def test_what_a_store_tells_of_stays_until_it_is_told(clock, shared):
    source, other = TellingClient(shared), TellingClient(shared)
    near = near_cache(clock, source)
    read(near, "a", "b", "c")
    clock.now += 1e6
    assert set(near.find(["a", "b", "c"])) == {"a", "b", "c"}

    other.tell(["a", "unknown"])
    assert set(near.find(["a", "b", "c"])) == {"b", "c"}
    other.tell(None)
    assert near.find(["a", "b", "c"]) == {}


def test_a_store_that_lost_step_is_no_better_than_one_that_does_not_tell(clock, shared):
    source = TellingClient(shared)
    near = near_cache(clock, source)
    read(near, "a")
    clock.now += 4
    source.lose_step()
    assert set(near.find(["a"])) == {"a"}
    assert near.honours(near.good_until(["a"]))
    clock.now += 1
    assert near.find(["a"]) == {}
    assert not near.honours(near.good_until(["a"]))

    source.stepping = True
    assert near.honours(float("-inf"))


def test_a_store_that_cannot_say_whether_it_is_in_step_is_not(clock, shared):
    class Confused(TellingClient):
        def in_step(self) -> bool:
            raise ConnectionError

    near = near_cache(clock, Confused(shared))
    read(near, "a")

    assert set(near.find(["a"])) == {"a"}
    clock.now += 5
    assert near.find(["a"]) == {}


@pytest.mark.parametrize("told", [["a"], None])
def test_what_changes_between_being_read_and_being_kept_is_not_kept(clock, shared, told):
    source, other = TellingClient(shared), TellingClient(shared)
    near = near_cache(clock, source)
    token = near.reading(["a"])
    other.tell(told)
    near.keep({"a": entry("a")}, ["a"], token)

    assert near.find(["a"]) == {}


def test_what_is_not_there_any_more_is_forgotten(clock):
    near = near_cache(clock)
    read(near, "a")
    near.keep({}, ["a"], near.reading(["a"]))

    assert near.find(["a"]) == {}


def test_those_used_least_recently_go_first(clock):
    near = near_cache(clock, max_entries=2)
    read(near, "a")
    read(near, "b")
    near.find(["a"])
    read(near, "c")

    assert set(near.find(["a", "b", "c"])) == {"a", "c"}


def test_it_is_bounded_in_bytes_and_takes_nothing_that_is_larger_than_that(clock):
    near = near_cache(clock)
    third = "x" * (22 * 1024 * 1024)
    read(near, "a", text=third)
    read(near, "b", text=third)
    assert set(near.find(["a", "b"])) == {"a", "b"}
    read(near, "c", text=third)
    assert set(near.find(["a", "b", "c"])) == {"b", "c"}

    near.keep({"d": entry("d")._replace(size=64 * 1024 * 1024 + 1)}, ["d"], near.reading(["d"]))
    assert set(near.find(["b", "c", "d"])) == {"b", "c"}
    near.forget(None)
    read(near, "e", text=third)
    read(near, "f", text=third)
    assert set(near.find(["e", "f"])) == {"e", "f"}  # what was forgotten takes no room


def test_who_is_to_be_told_is_told_after_it_was_forgotten(clock, shared):
    seen: list[object] = []
    source, other = TellingClient(shared), TellingClient(shared)
    near = near_cache(clock, source, changed=lambda: seen.append(near.find(["a"])))
    read(near, "a")

    other.tell(["a"])

    assert seen == [{}]


# In front of a store


def open_cache(client: BareClient, clock: Clock, **options: object) -> ResourceCache:
    return ResourceCache(60, **{"store": client, "blocking": True, "clock": clock, "store_timeout": 5} | options)


@pytest.fixture
def client(shared) -> Client:
    return Client(shared)


@pytest.fixture
def cache(client, clock) -> ResourceCache:
    return open_cache(client, clock)


def asked(client: BareClient, action: Callable[[], object]) -> list[str]:
    """Return what the store is asked in the course of an action."""
    client.calls.clear()
    action()
    return client.calls.copy()


@pytest.mark.parametrize("kind", [BareClient, Client])
def test_a_second_look_up_does_not_ask_the_store(shared, clock, kind):
    kind(shared).set_many({})
    open_cache(kind(shared), clock).set("a", {"n": 1})
    client = kind(shared)
    cache = open_cache(client, clock, near_seconds=1e6)
    cache.get("a")

    assert asked(client, lambda: cache.get("a")) == []
    assert cache.get("a") == {"n": 1}


def test_s31_what_is_near_is_nobodys_own(cache):
    cache.set("a", {"list": [1]})
    cache.get("a")["list"].append(2)
    one = asyncio.run(cache.lookup(["a"]))["a"]
    one.copy()["list"].append(3)

    assert cache.get("a") == one.copy() == {"list": [1]}


def test_s30_what_is_near_ends_with_its_time(cache, clock):
    cache.set("a", {"n": 1})
    clock.now += 59.999
    assert cache.get("a") == {"n": 1}
    clock.now += 0.001
    assert cache.get("a") is None


def test_without_near_entries_the_store_is_asked_each_time(client, clock):
    cache = open_cache(client, clock, near_entries=0)
    cache.set("a", {"n": 1})

    for _ in range(3):
        assert asked(client, lambda: cache.get("a")) == ["get_many"]


def test_only_what_is_not_near_is_asked_for(cache, client, clock, shared):
    open_cache(Client(shared), clock).set("b", {"n": 2})
    cache.set("a", {"n": 1})
    wanted: list[object] = []
    get_many = client.get_many
    client.get_many = lambda keys: (wanted.append(list(keys)), get_many(keys))[1]

    found = asyncio.run(cache.lookup(["a", "b", "c"]))

    assert {key: answer.copy() for key, answer in found.items()} == {"a": {"n": 1}, "b": {"n": 2}}
    assert wanted == [["b", "c"]]


def test_what_this_cache_changes_shows_here_at_once(cache):
    for change, expected in [
        (lambda: cache.set("a", {"n": 2}), {"n": 2}),
        (lambda: cache.invalidate("a"), None),
        (lambda: cache.invalidate(), None),
        (lambda: cache.outdate("a"), None),
    ]:
        cache.set("a", {"n": 1})
        assert cache.get("a") == {"n": 1}
        change()
        assert cache.get("a") == expected


@pytest.mark.anyio
async def test_what_this_cache_changes_on_the_loop_shows_before_the_store_has_heard_of_it(cache, client):
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 1})
    assert len(await cache.lookup(["a", "b"])) == 2
    client.gate.clear()
    cache.invalidate("a")
    cache.outdate("b")
    looking = asyncio.create_task(cache.lookup(["a", "b"]))
    await asyncio.sleep(0)
    assert not looking.done()
    client.gate.set()

    async with asyncio.timeout(10):
        assert await looking == {}
    assert cache.get("a") is cache.get("b") is None
    await cache.aclose()


def test_what_was_replaced_is_not_served_while_the_store_takes_its_time(client, clock):
    cache = open_cache(client, clock, store_timeout=0.05)
    cache.set("a", {"n": 1})
    client.gate.clear()
    cache.set("a", {"n": 2})  # which does not wait for long

    assert cache.get("a") is None
    client.gate.set()


def test_what_others_change_shows_here_once_the_store_tells(cache, shared, clock):
    other = open_cache(Client(shared), clock)
    for change, expected in [
        (lambda: other.set("a", {"n": 2}), {"n": 2}),
        (lambda: other.invalidate("a"), None),
        (lambda: other.invalidate(), None),
        (lambda: other.outdate("a"), None),
    ]:
        cache.set("a", {"n": 1})
        assert cache.get("a") == {"n": 1}
        change()
        assert cache.get("a") == expected


class Holding(Client):
    """A client that can be held between having found something and returning it."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.found = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def get_many(self, keys):
        result = super().get_many(keys)
        self.found.set()
        assert self.go_on.wait(10)
        return result


@pytest.mark.anyio
@pytest.mark.parametrize("who", ["the same", "another"])
@pytest.mark.parametrize("change", ["set", "invalidate", "invalidate everything", "outdate"])
@pytest.mark.parametrize("max_stale", [0, 30])
async def test_what_changes_while_it_is_being_read_does_not_stay_near(shared, clock, who, change, max_stale):
    client = Holding(shared)
    rules = Freshness(max_stale=max_stale)
    cache = open_cache(client, clock, freshness=rules)
    other = open_cache(Client(shared), clock, freshness=rules)
    other.set("a", {"n": 1})
    client.go_on.clear()
    client.found.clear()
    reading = asyncio.create_task(cache.lookup(["a"]))
    async with asyncio.timeout(10):
        await asyncio.to_thread(client.found.wait, 10)
        changing = cache if who == "the same" else other
        if change == "set":
            write = asyncio.create_task(asyncio.to_thread(changing.set, "a", {"n": 2}))
            if changing is other:
                await write
        elif change == "outdate":
            changing.outdate("a")
        else:
            changing.invalidate("a" if change == "invalidate" else None)
        if changing is other:
            await other.lookup(["b"])  # what was asked for before has reached the store then
        client.go_on.set()
        await reading
        if change == "set":
            await write

        found = {key: answer.copy() for key, answer in (await cache.lookup(["a"])).items()}
        assert found == ({"a": {"n": 2}} if change == "set" else {})
        await cache.aclose()
        await other.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("change", ["invalidate", "outdate"])
@pytest.mark.parametrize("max_stale", [0, 30])
async def test_what_changes_just_before_the_store_is_asked_does_not_stay_near(client, clock, change, max_stale):
    cache = open_cache(client, clock, freshness=Freshness(max_stale=max_stale))
    cache.set("a", {"n": 1})
    near = cache._near
    near.forget(None)
    reading = near.reading
    done = threading.Event()
    loop = asyncio.get_running_loop()

    def read_after_a_change(keys):
        # The worker has looked for what is to be deleted, found nothing, and is about to ask the store.
        near.reading = reading

        async def make_change() -> None:
            getattr(cache, change)("a")
            done.set()

        asyncio.run_coroutine_threadsafe(make_change(), loop)
        assert done.wait(10)
        return reading(keys)

    near.reading = read_after_a_change
    async with asyncio.timeout(10):
        await cache.lookup(["a"])  # was asked before the change: may find what was there
        assert await cache.lookup(["a"]) == {}
    await cache.aclose()


@pytest.mark.anyio
async def test_s34_what_is_invalidated_while_a_fetched_answer_is_written_does_not_stay_near(client, clock):
    cache = open_cache(client, clock)
    near = cache._near
    reading = near.reading
    done = threading.Event()
    loop = asyncio.get_running_loop()

    async def upstream() -> Fetched:
        near.reading = write_after_an_invalidation
        return Fetched(data={"n": 1})

    def write_after_an_invalidation(keys):
        near.reading = reading

        async def invalidate() -> None:
            cache.invalidate("a")
            done.set()

        asyncio.run_coroutine_threadsafe(invalidate(), loop)
        assert done.wait(10)
        return reading(keys)

    async with asyncio.timeout(10):
        await cache.fetch("a", upstream)
        assert await cache.lookup(["a"]) == {}
    await cache.aclose()


def test_a_store_that_fails_does_not_take_away_what_is_near(cache, client, clock):
    cache.set("a", {"n": 1})
    client.broken = {"get_many"}

    assert cache.get("a") == {"n": 1}
    assert cache.get("b") is None


def test_a_store_whose_changes_cannot_be_watched_is_taken_for_one_that_does_not_tell(shared, clock):
    client = Client(shared)
    client.stepping = False
    client.watch = lambda changed: 1 / 0
    cache = open_cache(client, clock, near_seconds=1e6)
    cache.set("a", {"n": 1})

    assert asked(client, lambda: cache.get("a")) == []
    assert cache.get_stats()["errors"] == 1


# Step by step


KEYS = st.sampled_from("abc")
CACHES = st.integers(0, 1)


class TwoCaches(RuleBasedStateMachine):
    """Two caches over one store; the model knows which values may still be seen."""

    @initialize(seconds=st.sampled_from([0.0, 1e9]), max_stale=st.sampled_from([0, 50]))
    def start(self, seconds: float, max_stale: int) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock)
        self.clients = [Client(self.shared), Client(self.shared)]
        rules = Freshness(max_stale=max_stale)
        self.caches = [
            open_cache(client, self.clock, near_seconds=seconds, freshness=rules, near_entries=2)
            for client in self.clients
        ]
        for cache in self.caches:
            cache.get("")  # by now the store tells of changes
        self.value = 0
        self.current: dict[str, int] = {}
        self.until: dict[str, float] = {}

    def expect(self, key: str, data: dict | None) -> None:
        fresh = key in self.current and self.clock.now < self.until[key]
        assert data == ({"n": self.current[key]} if fresh else None)

    @rule(which=CACHES, key=KEYS)
    def set(self, which: int, key: str) -> None:
        self.value += 1
        self.caches[which].set(key, {"n": self.value})
        self.current[key], self.until[key] = self.value, self.clock.now + 60

    @rule(which=CACHES, key=KEYS)
    def fetch(self, which: int, key: str) -> None:
        self.value += 1
        number = self.value

        async def upstream() -> Fetched:
            return Fetched(data={"n": number}, ttl_ms=30_000)

        answer = asyncio.run(self.caches[which].fetch(key, upstream))
        assert not answer.stale
        if not (key in self.current and self.clock.now < self.until[key]):
            self.current[key], self.until[key] = number, self.clock.now + 30
        self.expect(key, answer.copy())

    @rule(which=CACHES, key=KEYS, on_a_loop=st.booleans())
    def fetch_while_another_invalidates(self, which: int, key: str, on_a_loop: bool) -> None:
        if key in self.current and self.clock.now < self.until[key]:
            return

        async def upstream() -> Fetched:
            await asyncio.to_thread(self.caches[1 - which].invalidate, key)
            if on_a_loop:
                self.caches[which].invalidate(key)
            return Fetched(data={"n": -1})

        asyncio.run(self.caches[which].fetch(key, upstream))
        self.current.pop(key, None)

    @rule(which=CACHES, key=KEYS, everything=st.booleans(), outdate=st.booleans())
    def invalidate(self, which: int, key: str, everything: bool, outdate: bool) -> None:
        if outdate:
            self.caches[which].outdate(key)
            self.current.pop(key, None)
        elif everything:
            self.caches[which].invalidate()
            self.current.clear()
        else:
            self.caches[which].invalidate(key)
            self.current.pop(key, None)

    @rule(which=CACHES, key=KEYS)
    def get(self, which: int, key: str) -> None:
        found = self.caches[which].get(key)
        self.expect(key, found)
        if found is not None:
            found["n"] = "changed"

    @rule(which=CACHES, keys=st.lists(KEYS, max_size=4))
    def lookup(self, which: int, keys: list[str]) -> None:
        found = asyncio.run(self.caches[which].lookup(keys))
        for key in keys:
            self.expect(key, found[key].copy() if key in found else None)

    @rule(seconds=st.sampled_from([0.5, 10, 30, 60]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(which=CACHES)
    def a_client_loses_step_and_regains_it(self, which: int) -> None:
        self.clients[which].lose_step()
        self.clients[which].regain_step()

    def teardown(self) -> None:
        for cache in getattr(self, "caches", ()):
            asyncio.run(cache.aclose())


TwoCaches.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_no_look_up_after_an_invalidation_sees_what_was_before = TwoCaches.TestCase
