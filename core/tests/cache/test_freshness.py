"""S33: how long an answer is fresh; S35: how long it may be served after that."""

import asyncio

import pytest
from fakes import BytesStore, Clock
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import ResourceCache, StoredEntry
from mcp_orchestra.cache import Fetched, Freshness
from mcp_orchestra.cache.entry import Entry, encode
from mcp_orchestra.cache.freshness import CLOCK_SKEW
from mcp_orchestra.connection.listing import Hints
from mcp_orchestra_memory import MemoryStore

DAY = 24 * 3600.0
SECONDS = st.floats(0, 1e6)
HINTS = st.none() | st.integers(-5, 10**9) | st.just(10**400)


class Says:
    """An answer with caching hints."""

    def __init__(self, ttl_ms: object = None, cache_scope: object = None) -> None:
        self.ttl_ms = ttl_ms
        self.cache_scope = cache_scope


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[MemoryStore, BytesStore], ids=["objects", "bytes"])
def store(request) -> MemoryStore:
    return request.param()


def fetched(cache: ResourceCache, answer: Fetched, key: str = "a") -> None:
    async def upstream() -> Fetched:
        return answer

    asyncio.run(cache.fetch(key, upstream))


def is_fresh_until(cache: ResourceCache, clock: Clock, end: float, key: str = "a") -> None:
    clock.now = end - 0.001
    assert cache.get(key) is not None
    clock.now = end
    assert cache.get(key) is None


# How long an answer is fresh


@pytest.mark.parametrize(("ttl_ms", "seconds"), [(5000, 5.0), (1, 0.001), (3_600_000, 3600.0), (86_400_000, DAY)])
@pytest.mark.parametrize("policy", ["hint-or-default", "strict"])
def test_s33_a_positive_hint_wins_over_the_configured_time(ttl_ms, seconds, policy, store, clock):
    cache = ResourceCache(60, store=store, clock=clock, freshness=Freshness(ttl_policy=policy))
    fetched(cache, Fetched(data={}, ttl_ms=ttl_ms))

    clock.now = 1000.0 + seconds * 0.999
    assert cache.get("a") == {}
    clock.now = 1000.0 + seconds
    assert cache.get("a") is None


@pytest.mark.parametrize("ttl_ms", [86_400_001, 10**12, 10**400])
def test_s33_no_hint_holds_for_longer_than_a_day(ttl_ms, store, clock):
    cache = ResourceCache(60, store=store, clock=clock)
    fetched(cache, Fetched(data={}, ttl_ms=ttl_ms))

    is_fresh_until(cache, clock, 1000.0 + DAY)


@pytest.mark.parametrize("ttl_ms", [None, 0, -1])
def test_s33_without_a_positive_hint_the_configured_time_holds(ttl_ms, store, clock):
    cache = ResourceCache(60, store=store, clock=clock)
    fetched(cache, Fetched(data={}, ttl_ms=ttl_ms))

    is_fresh_until(cache, clock, 1060.0)


@pytest.mark.parametrize("ttl_ms", [None, 0, -1])
def test_s33_a_strict_cache_keeps_no_answer_without_a_positive_hint(ttl_ms, store, clock):
    cache = ResourceCache(60, store=store, clock=clock, freshness=Freshness(ttl_policy="strict"))
    fetched(cache, Fetched(data={}, ttl_ms=ttl_ms))

    assert cache.get("a") is None
    assert store.count(0.0) == 0


def test_s33_what_somebody_sets_is_kept_by_a_strict_cache_too(store, clock):
    cache = ResourceCache(60, store=store, clock=clock, freshness=Freshness(ttl_policy="strict"))
    cache.set("a", {"n": 1})

    is_fresh_until(cache, clock, 1060.0)


def test_s33_of_several_answers_the_smallest_hint_and_the_narrowest_scope_hold():
    hints = Hints()
    for part in (Says(9000, "public"), Says(3000, "public"), Says(5000, "public")):
        hints.add(part)
    assert (hints.ttl_ms, hints.scope) == (3000, "public")

    hints.add(Says(8000, "private"))
    hints.add(Says(8000, "public"))
    assert (hints.ttl_ms, hints.scope) == (3000, "private")


@pytest.mark.parametrize("scope", [None, "", "PUBLIC", "shared", 1])
def test_s33_a_scope_that_is_absent_or_unknown_is_private(scope):
    hints = Hints()
    hints.add(Says(1000, scope))

    assert hints.scope == "private"


@pytest.mark.parametrize("hint", [None, 0, -1, "5000", 5.5])
def test_s33_a_part_without_a_positive_hint_is_no_longer_fresh_than_without_the_others(hint, store, clock):
    hints = Hints()
    hints.add(Says(hint, "public"))
    hints.add(Says(3_600_000, "public"))
    assert (hints.ttl_ms, hints.complete) == (3_600_000, False)

    whole = Fetched(data={}, ttl_ms=hints.ttl_ms, hinted_whole=hints.complete)
    cache = ResourceCache(60, store=store, clock=clock)
    fetched(cache, whole)
    is_fresh_until(cache, clock, 1060.0)


def test_s33_a_strict_cache_keeps_nothing_that_has_a_part_without_a_hint(store, clock):
    cache = ResourceCache(60, store=store, clock=clock, freshness=Freshness(ttl_policy="strict"))
    fetched(cache, Fetched(data={}, ttl_ms=5000, hinted_whole=False))

    assert cache.get("a") is None


def test_s33_the_time_counts_from_when_the_first_part_arrived(store, clock):
    cache = ResourceCache(60, store=store, clock=clock)
    fetched(cache, Fetched(data={}, ttl_ms=10_000, age=4.0))

    is_fresh_until(cache, clock, 1006.0)


@given(SECONDS, HINTS, st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1e6))
def test_s33_jitter_shortens_a_time_to_live_by_its_part_at_most(now, ttl_ms, jitter, chance, ttl):
    plain = Freshness(ttl=ttl)
    jittery = Freshness(ttl=ttl, ttl_jitter=jitter, rng=lambda: chance)

    latest = plain.expiry(ttl_ms, now)
    assert now <= jittery.expiry(ttl_ms, now) <= latest
    assert jittery.expiry(ttl_ms, now) >= now + plain.lifetime(ttl_ms) * (1 - jitter) - 1e-3
    entry = Entry({}, now, jittery.expiry(ttl_ms, now), ttl_ms)
    assert jittery.limit(entry) <= latest


def test_jitter_makes_entries_of_one_moment_end_at_different_moments(clock):
    chances = iter([0.0, 0.5, 0.75])
    rules = Freshness(ttl_jitter=0.2, rng=lambda: next(chances))
    cache = ResourceCache(100, store=MemoryStore(), clock=clock, freshness=rules)
    for key in "abc":
        cache.set(key, {})

    assert [round(one["expires_in"], 6) for one in cache.describe("abc").values()] == [100.0, 90.0, 85.0]


@pytest.mark.parametrize(("before", "after", "end"), [(100, 10, 10), (10, 100, 10)])
def test_s33_a_time_that_a_new_configuration_shortens_is_shorter_for_what_was_stored_before(
    before, after, end, store, clock
):
    ResourceCache(before, store=store, clock=clock).set("a", {})
    is_fresh_until(ResourceCache(after, store=store, clock=clock), clock, 1000.0 + end)


def test_s33_a_new_configuration_does_not_shorten_what_a_server_said(store, clock):
    fetched(ResourceCache(100, store=store, clock=clock), Fetched(data={}, ttl_ms=50_000))

    is_fresh_until(ResourceCache(10, store=store, clock=clock), clock, 1050.0)


@pytest.mark.parametrize("extra", [{}, {"max_stale": 1e6}, {"stale_while_revalidate": 1e6}])
def test_what_was_stored_in_the_future_is_of_no_use(extra, store, clock):
    cache = ResourceCache(60, store=store, clock=clock, freshness=Freshness(**extra))
    cache.set("a", {})
    clock.now -= CLOCK_SKEW + 0.001

    assert asyncio.run(cache.lookup(["a"], failing=["a"])) == {}


# What may be done with it after that


def standing(rules: Freshness, age: float, *, outdated: bool = False) -> tuple[bool, bool, bool]:
    found = rules.standing(Entry({}, 0.0, 60.0, outdated=outdated), age)
    return found.fresh, found.while_revalidating, found.while_failing


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0.0, (True, False, True)),
        (59.999, (True, False, True)),
        (60.0, (False, True, True)),
        (69.999, (False, True, True)),
        (70.0, (False, False, True)),
        (89.999, (False, False, True)),
        (90.0, (False, False, False)),
    ],
)
def test_s35_each_bound_is_where_it_was_set(age, expected):
    assert standing(Freshness(ttl=60, max_stale=30, stale_while_revalidate=10), age) == expected


@pytest.mark.parametrize("age", [60.0, 60.001, 1e9])
def test_s35_without_either_option_nothing_is_done_with_a_stale_entry(age):
    assert standing(Freshness(ttl=60), age) == (False, False, False)


@pytest.mark.parametrize("age", [-0.5, 0.0, 59.0, 60.0, 61.0])
def test_s35_what_is_outdated_is_served_only_while_its_server_fails(age):
    assert standing(Freshness(ttl=60, max_stale=30, stale_while_revalidate=30), age, outdated=True) == (
        False,
        False,
        True,
    )
    assert standing(Freshness(ttl=60, stale_while_revalidate=30), age, outdated=True) == (False, False, False)


@given(st.floats(0.001, 1e5), HINTS, st.floats(0, 1e5), st.floats(0, 1e5), st.floats(-10, 4e5), st.booleans())
def test_s33_s35_nothing_is_fresh_at_its_ttl_or_served_beyond_the_bounds(ttl, ttl_ms, max_stale, swr, age, outdated):
    rules = Freshness(ttl=ttl, max_stale=max_stale, stale_while_revalidate=swr)
    lifetime = rules.lifetime(ttl_ms)
    entry = Entry({}, 0.0, rules.expiry(ttl_ms, 0.0), ttl_ms, outdated=outdated)

    found = rules.standing(entry, age)

    assert lifetime <= max(ttl, DAY)
    if age >= lifetime:
        assert not found.fresh
    if age - lifetime >= swr:
        assert not found.while_revalidating
    if age - lifetime >= max_stale:
        assert not found.while_failing
    if -CLOCK_SKEW <= age < lifetime and not outdated:
        assert found.fresh
    assert not (found.fresh and found.while_revalidating)


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "fetch", "lookup", "outdate", "clock"]), st.integers(0, 40)), max_size=25
    ),
    st.sampled_from([0, 5, 15]),
    st.sampled_from([0, 5, 15]),
    st.booleans(),
)
def test_s33_s35_no_answer_is_passed_off_for_fresher_than_it_is(steps, max_stale, swr, as_bytes):
    clock = Clock()
    store = BytesStore() if as_bytes else MemoryStore()
    rules = Freshness(max_stale=max_stale, stale_while_revalidate=swr)
    cache = ResourceCache(10, store=store, clock=clock, freshness=rules)
    outdated: float | None = None
    for what, number in steps:
        if what == "set":
            cache.set("a", {"at": clock.now, "for": 10})
            outdated = None
        elif what == "fetch":
            fetched(cache, Fetched(data={"at": clock.now, "for": number or 10}, ttl_ms=number * 1000))
            outdated = None  # for what is outdated is fetched anew
        elif what == "outdate":
            cache.outdate("a")
            outdated = clock.now
        elif what == "clock":
            clock.now += number / 2
        else:
            for failing in ((), ("a",)):
                answer = asyncio.run(cache.lookup(["a"], failing=failing)).get("a")
                if answer is None:
                    continue
                made, lasts = answer.data["at"], answer.data["for"]
                beyond = clock.now - made - lasts
                assert answer.stale == (beyond >= 0 or outdated is not None)
                if answer.stale:
                    assert beyond < max(max_stale if failing else 0, swr)
                    assert outdated is None or (failing and max_stale)


def test_an_entry_that_claims_to_be_fresh_for_longer_than_it_may_is_not_believed(clock):
    store = BytesStore()
    value, _ = encode("a", Entry({}, 1000.0, 1e9))
    store.set_many({"a": StoredEntry(value, 1e9)})

    is_fresh_until(ResourceCache(60, store=store, clock=clock), clock, 1060.0)
