"""The documented behaviour of ResourceCache: S30, S31 and S32, over both kinds of stores."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from fakes import BytesStore, Clock
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import CacheStore, PluginError, ResourceCache
from mcp_orchestra.cache import resources_key, tools_key
from mcp_orchestra.stores import KeepsObjects
from mcp_orchestra_memory import MemoryStore
from plain_cache import PlainCache

DOCUMENTED_STATS = {"hits", "misses", "evictions", "total_requests", "hit_rate", "cached_items"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[MemoryStore, BytesStore], ids=["objects", "bytes"])
def store(request) -> MemoryStore:
    return request.param()


def kept_in(store: MemoryStore, *keys: str) -> set[str]:
    return {*store.get_many(keys), *(store.get_objects(keys) if store.get_objects is not None else ())}


def test_the_two_kinds_of_stores_are_told_apart():
    assert isinstance(MemoryStore(), KeepsObjects)
    assert isinstance(BytesStore(), CacheStore)
    assert not isinstance(BytesStore(), KeepsObjects)


@pytest.fixture
def cache(store: MemoryStore, clock: Clock) -> ResourceCache:
    return PlainCache(60, store=store, clock=clock)


def counts(cache: ResourceCache, *names: str) -> tuple[object, ...]:
    stats = cache.get_stats()
    return tuple(stats[name] for name in names)


def test_what_is_set_is_returned(cache):
    cache.set("resources:products", {"products": [{"id": 1, "price": 9.5, "tags": [], "note": None, "sold": True}]})

    assert cache.get("resources:products") == {
        "products": [{"id": 1, "price": 9.5, "tags": [], "note": None, "sold": True}]
    }


def test_an_unknown_key_is_none(cache):
    assert cache.get("resources:nobody") is None


def test_setting_a_key_again_replaces_its_data_and_starts_its_time_anew(cache, clock):
    cache.set("a", {"n": 1})
    clock.now += 59
    cache.set("a", {"n": 2})
    clock.now += 59

    assert cache.get("a") == {"n": 2}


def test_s30_an_entry_is_served_while_its_age_is_below_the_ttl(cache, clock):
    cache.set("a", {"n": 1})

    clock.now += 59.999
    assert cache.get("a") == {"n": 1}
    clock.now = 1060.0
    assert cache.get("a") is None


def test_s30_an_expired_entry_found_by_get_is_one_eviction_and_one_miss_and_is_gone(cache, clock, store):
    cache.set("a", {})
    clock.now += 60

    assert cache.get("a") is None
    assert cache.get("a") is None

    assert counts(cache, "hits", "misses", "evictions") == (0, 2, 1)
    assert kept_in(store, "a") == set()


def test_s30_cleanup_expired_counts_evictions_and_returns_how_many(cache, clock, store):
    cache.set("old", {})
    cache.set("older", {})
    clock.now += 30
    cache.set("young", {})
    clock.now += 30

    assert cache.cleanup_expired() == 2
    assert cache.cleanup_expired() == 0

    assert counts(cache, "evictions", "misses", "cached_items") == (2, 0, 1)
    assert kept_in(store, "old", "older", "young") == {"young"}


@pytest.mark.parametrize("key", ["a", None])
def test_s30_invalidate_drops_entries_and_counts_no_eviction(cache, key):
    cache.set("a", {})

    cache.invalidate(key)

    assert cache.get("a") is None
    assert counts(cache, "evictions") == (0,)


def test_invalidating_one_key_leaves_the_others(cache):
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})

    cache.invalidate("a")
    cache.invalidate("unknown")

    assert (cache.get("a"), cache.get("b")) == (None, {"n": 2})


def test_s30_the_empty_key_is_a_key_and_not_everything(cache):
    cache.set("", {"n": 0})
    cache.set("a", {"n": 1})

    cache.invalidate("")

    assert (cache.get(""), cache.get("a")) == (None, {"n": 1})


def test_s30_empty_data_is_stored_and_is_a_hit(cache):
    cache.set("a", {})

    assert cache.get("a") == {}
    assert counts(cache, "hits", "misses") == (1, 0)


def test_s30_the_hit_rate_is_a_percentage_with_two_decimals(cache):
    assert cache.get_stats()["hit_rate"] == "0.00%"
    cache.set("a", {})
    for _ in range(15):
        cache.get("a")
    for _ in range(4):
        cache.get("b")

    assert counts(cache, "hits", "misses", "total_requests", "hit_rate") == (15, 4, 19, "78.95%")


def test_s30_cached_items_counts_live_entries_only(cache, clock):
    cache.set("a", {})
    clock.now += 30
    cache.set("b", {})

    assert counts(cache, "cached_items") == (2,)
    clock.now += 30
    assert counts(cache, "cached_items") == (1,)


def test_the_statistics_have_the_documented_keys(cache):
    assert set(cache.get_stats()) >= DOCUMENTED_STATS
    assert set(cache.get_stats()) - DOCUMENTED_STATS == {
        "available",
        "bytes_read",
        "bytes_written",
        "errors",
        "evictions_by_cause",
        "fetches",
        "fetches_saved",
        "notices",
        "servers",
        "stale",
    }


def test_entries_that_must_make_room_count_as_evictions(clock):
    cache = PlainCache(60, store=MemoryStore(max_entries=2), clock=clock)
    for key in ("a", "b", "c"):
        cache.set(key, {"key": key})

    assert (cache.get("a"), cache.get("c")) == (None, {"key": "c"})
    assert counts(cache, "evictions", "cached_items") == (1, 2)


@pytest.mark.parametrize("ttl", [0, -1, -0.5, True, False, float("nan"), float("inf"), 10**400, "300", None])
def test_s30_a_ttl_that_is_no_positive_number_of_seconds_is_refused(ttl, store):
    with pytest.raises(ValueError, match="ttl_seconds"):
        PlainCache(ttl, store=store)


def test_a_ttl_may_be_a_fraction_of_a_second(store, clock):
    cache = PlainCache(0.5, store=store, clock=clock)
    cache.set("a", {})

    clock.now += 0.25
    assert cache.get("a") == {}
    clock.now += 0.25
    assert cache.get("a") is None


def test_without_a_store_the_installed_memory_backend_is_used():
    cache = PlainCache(ttl_seconds=600)
    cache.set("a", {"n": 1})

    assert cache.get("a") == {"n": 1}


def test_two_caches_without_a_store_share_nothing():
    one, other = PlainCache(), PlainCache()
    one.set("a", {"n": 1})

    assert other.get("a") is None


def test_without_a_store_no_other_plug_in_is_imported_than_the_memory_backend():
    program = (
        "import sys, importlib.metadata\n"
        "from mcp_orchestra import ResourceCache\n"
        "ResourceCache().set('a', {})\n"
        "modules = {one.module for one in importlib.metadata.entry_points(group='mcp_orchestra')}\n"
        "assert len(modules) > 1\n"
        "print(*sorted(modules & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["mcp_orchestra_memory"]


def test_without_a_memory_backend_the_error_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("MCP_ORCHESTRA_DISABLE_PLUGINS", "memory")

    with pytest.raises(PluginError, match="memory"):
        PlainCache()


def change(data: object) -> None:
    """Ruin everything that can be changed."""
    if isinstance(data, dict):
        for value in data.values():
            change(value)
        data.clear()
        data["ruined"] = True
    elif isinstance(data, list):
        for value in data:
            change(value)
        data[:] = ["ruined"]


def test_s31_changing_what_get_returned_does_not_change_what_is_served(cache):
    cache.set("a", {"list": [{"deep": [1]}], "dict": {"x": {}}})

    change(cache.get("a"))

    assert cache.get("a") == {"list": [{"deep": [1]}], "dict": {"x": {}}}


def test_s31_changing_what_was_given_to_set_does_not_change_what_is_served(cache):
    data = {"list": [{"deep": [1]}]}
    cache.set("a", data)

    change(data)

    assert cache.get("a") == {"list": [{"deep": [1]}]}


def test_s31_two_who_get_one_entry_share_nothing(cache):
    part = [1]
    cache.set("a", {"one": part, "other": part, "deep": [[part]]})
    one, other = cache.get("a"), cache.get("a")

    change(one)

    assert other == {"one": [1], "other": [1], "deep": [[[1]]]}


@dataclass
class Point:
    at: list[int]


ODD = {
    "tuple": (1, [2]),
    "set": {3},
    "bytes": b"\xff",
    "when": datetime(2026, 1, 1, tzinfo=UTC),
    "object": Point([4]),
    "infinite": float("inf"),
    "text": "\ud800",
    5: "a key that is no text",
}


def test_the_documented_example_of_set_works_as_it_is_printed():
    cache = PlainCache(ttl_seconds=600)
    cache.set("resources:product_server", {"products": [...]})

    assert cache.get("resources:product_server") == {"products": [...]}


def test_a_store_of_objects_keeps_what_json_cannot_carry():
    cache = PlainCache(60, store=MemoryStore())
    cache.set("a", ODD)

    assert cache.get("a") == ODD
    assert type(cache.get("a")["tuple"]) is tuple


def test_s31_changing_what_json_cannot_carry_does_not_change_what_is_served():
    cache = PlainCache(60, store=MemoryStore())
    given = {"tuple": (1, [2]), "set": {3}, "object": Point([4])}
    cache.set("a", given)

    for found in (given, cache.get("a")):
        found["tuple"][1].append("changed")
        found["set"].add("changed")
        found["object"].at.append("changed")

    assert cache.get("a") == {"tuple": (1, [2]), "set": {3}, "object": Point([4])}


def test_a_circle_comes_back_as_one():
    circle: dict[str, object] = {"n": 1}
    circle["self"] = circle
    cache = PlainCache(60, store=MemoryStore())
    cache.set("a", circle)

    found = cache.get("a")

    assert found["self"]["self"]["self"]["n"] == 1


def test_data_of_any_depth_is_kept_as_an_object():
    data: dict[str, object] = {}
    for _ in range(5000):
        data = {"a": data}
    cache = PlainCache(60, store=MemoryStore())
    cache.set("a", data)

    found = cache.get("a")
    for _ in range(5000):
        found = found["a"]
    assert found == {}


def test_a_value_that_cannot_be_copied_any_more_is_a_miss_and_no_error(clock):
    class Once:
        copies = 0

        def __deepcopy__(self, memo):
            Once.copies += 1
            if Once.copies > 1:
                raise RuntimeError("not again")
            return Once()

    cache = PlainCache(60, store=MemoryStore(), clock=clock)
    cache.set("a", {"once": Once()})

    assert cache.get("a") is None
    assert counts(cache, "hits", "misses", "cached_items", "errors") == (0, 1, 0, 1)


@pytest.mark.anyio
async def test_s31_changing_what_lookup_returned_does_not_change_what_is_served(cache):
    cache.set("a", {"list": [{"deep": [1]}]})

    change(await cache.lookup(["a"]))

    assert await cache.lookup(["a"]) == {"a": {"list": [{"deep": [1]}]}}


def test_s32_keys_say_what_they_are_for():
    assert resources_key("product_server") == "resources:product_server"
    assert tools_key("product_server") == "tools:product_server"


@pytest.mark.anyio
async def test_lookup_returns_what_is_fresh_and_counts_each_key_once(cache, clock):
    cache.set("old", {})
    clock.now += 30
    cache.set("a", {"n": 1})
    cache.set("b", {"n": 2})
    clock.now += 30

    assert await cache.lookup(["a", "old", "b", "nobody", "a"]) == {"a": {"n": 1}, "b": {"n": 2}}
    assert counts(cache, "hits", "misses", "evictions", "total_requests") == (2, 2, 1, 4)


@pytest.mark.anyio
async def test_lookup_of_nothing_finds_nothing(cache):
    assert await cache.lookup([]) == {}
    assert counts(cache, "total_requests") == (0,)


def test_lookup_in_memory_never_gives_up_control(cache):
    cache.set("a", {"n": 1})
    lookup = cache.lookup(["a"])

    with pytest.raises(StopIteration) as finished:
        lookup.send(None)

    assert finished.value.value == {"a": {"n": 1}}


@pytest.mark.parametrize("key", [5, None, b"a", ("a",)])
def test_a_key_that_is_no_text_is_a_type_error(cache, key):
    with pytest.raises(TypeError, match="key"):
        cache.set(key, {})
    with pytest.raises(TypeError, match="key"):
        cache.get(key)
    if key is not None:
        with pytest.raises(TypeError, match="key"):
            cache.invalidate(key)


@pytest.mark.parametrize("data", [[], "text", None, 5, (("a", 1),)])
def test_data_that_is_no_dict_is_a_type_error(cache, data):
    with pytest.raises(TypeError, match=r"'resources:a' must be a dict"):
        cache.set("resources:a", data)


def test_a_refused_value_leaves_the_old_one_in_place(cache):
    cache.set("a", {"n": 1})
    with pytest.raises(TypeError, match=r"'a' cannot be kept.*data\['n'\].*generator"):
        cache.set("a", {"n": (n for n in "x")})

    assert cache.get("a") == {"n": 1}


@given(
    ttl=st.integers(1, 10**6),
    steps=st.lists(st.integers(0, 10**6).map(lambda eighths: eighths / 8), min_size=1, max_size=20),
)
def test_s30_never_served_at_or_after_its_ttl_and_never_lost_before(ttl, steps):
    clock = Clock()
    cache = PlainCache(ttl, store=MemoryStore(), clock=clock)
    cache.set("a", {"n": 1})
    for step in steps:
        clock.now += step
        assert cache.get("a") == ({"n": 1} if clock.now - 1000.0 < ttl else None)


@pytest.fixture
def shared(store) -> MemoryStore:
    """A store that outlives its cache, as one on a disk does."""
    return store


def test_s30_a_shorter_ttl_holds_for_what_was_stored_under_a_longer_one(shared, clock):
    PlainCache(86_400, store=shared, clock=clock).set("a", {"n": 1})
    cache = PlainCache(10, store=shared, clock=clock)
    clock.now += 9
    assert cache.get("a") == {"n": 1}

    clock.now += 86_390  # a second before it expires: its remaining time is within the new limit, its age is not
    assert cache.get("a") is None


def test_s30_a_longer_ttl_does_not_prolong_what_was_stored_under_a_shorter_one(shared, clock):
    PlainCache(10, store=shared, clock=clock).set("a", {"n": 1})
    clock.now += 10

    assert PlainCache(60, store=shared, clock=clock).get("a") is None


def test_s30_after_the_clock_was_put_back_what_was_stored_before_is_expired(cache, clock):
    cache.set("a", {"n": 1})
    clock.now -= 30

    assert cache.get("a") is None
    assert counts(cache, "evictions") == (1,)


def test_an_entry_of_another_host_whose_clock_is_a_second_ahead_is_served(cache, clock):
    cache.set("a", {"n": 1})
    clock.now -= 1.0

    assert cache.get("a") == {"n": 1}
