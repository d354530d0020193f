"""S22, S23 and S33: all pages of a listing, within limits, with the hints of all of them."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.config.models import LimitsConfig
from mcp_orchestra.connection.listing import CursorExpiredError, Hints, collect
from mcp_orchestra.connection.paging import Page
from mcp_orchestra.errors import ResourceFetchError

pytestmark = pytest.mark.anyio


class Pages:
    """A listing that a test writes down: pages by cursor, the first under None."""

    def __init__(self, pages, *, expired=()):
        self.pages = pages
        self.expired = list(expired)
        self.asked = []

    async def __call__(self, cursor):
        self.asked.append(cursor)
        if cursor in self.expired:
            self.expired.remove(cursor)
            raise CursorExpiredError
        items, following = self.pages[cursor]
        answer = SimpleNamespace(next_cursor=following, ttl_ms=None, cache_scope="public")
        return Page(key="things", items=items, answer=answer)

    async def collect(self, **limits):
        return await collect("things/list", self, LimitsConfig(**limits))


async def test_s22_pages_are_put_together_in_order():
    pages = Pages({None: (["a", "b"], "2"), "2": ([], "3"), "3": (["c"], None)})
    assert (await pages.collect()).items == ["a", "b", "c"]
    assert pages.asked == [None, "2", "3"]


async def test_s22_an_empty_text_is_a_cursor_like_any_other():
    pages = Pages({None: (["a"], ""), "": (["b"], None)})
    assert (await pages.collect()).items == ["a", "b"]


@pytest.mark.parametrize("repeated", ["2", "", "3"])
async def test_s23_a_cursor_that_comes_again_is_an_error_at_once(repeated):
    pages = Pages({None: (["a"], "2"), "2": (["b"], "3"), "3": (["c"], repeated), "": (["d"], "")})
    with pytest.raises(ResourceFetchError, match="repeats a page cursor") as caught:
        await pages.collect()
    assert caught.value.context["cause"] == "protocol"
    assert caught.value.context["items"] == len(pages.asked) <= 4


async def test_s23_a_listing_of_more_than_max_pages_is_an_error_that_names_the_limit():
    pages = Pages({None: (["a"], "1"), **{str(i): (["b"], str(i + 1)) for i in range(1, 100)}})
    with pytest.raises(ResourceFetchError, match=r"things/list exceeds max_pages=7 \(7 items so far\)") as caught:
        await pages.collect(max_pages=7)
    assert len(pages.asked) == 7
    assert caught.value.context == {"cause": "limit", "limit": "max_pages", "items": 7, "retryable": False}


async def test_s23_a_listing_of_more_than_max_items_is_an_error_that_names_the_limit():
    pages = Pages({None: (["a"] * 4, "2"), "2": (["a"] * 4, "3"), "3": (["a"], None)})
    with pytest.raises(ResourceFetchError, match="exceeds max_items=7") as caught:
        await pages.collect(max_items=7)
    assert pages.asked == [None, "2"]
    assert caught.value.context["limit"] == "max_items"


@pytest.mark.parametrize("limits", [{"max_pages": 3}, {"max_items": 9}])
async def test_s23_a_listing_that_just_fits_is_taken(limits):
    pages = Pages({None: (["a"] * 3, "2"), "2": (["a"] * 3, "3"), "3": (["a"] * 3, None)})
    assert len((await pages.collect(**limits)).items) == 9


async def test_an_expired_cursor_voids_what_was_read_and_starts_again():
    pages = Pages({None: (["a"], "2"), "2": (["b"], None)}, expired=["2"])
    assert (await pages.collect()).items == ["a", "b"]
    assert pages.asked == [None, "2", None, "2"]


async def test_a_cursor_that_expires_again_is_an_error():
    pages = Pages({None: (["a"], "2"), "2": (["b"], None)}, expired=["2", "2"])
    with pytest.raises(ResourceFetchError, match="refuses the page cursors"):
        await pages.collect()
    assert len(pages.asked) == 4


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=8), st.data())
async def test_s22_however_a_listing_is_cut_into_pages_nothing_is_lost_or_repeated(pages, data):
    cursors = data.draw(st.lists(st.text(max_size=2), min_size=len(pages) - 1, max_size=len(pages) - 1, unique=True))
    keys = [None, *cursors, None]
    listing = Pages({key: (items, keys[i + 1]) for i, (key, items) in enumerate(zip(keys, pages, strict=False))})
    assert (await listing.collect()).items == [item for items in pages for item in items]


HINTS = st.fixed_dictionaries(
    {},
    optional={
        "ttl_ms": st.none() | st.integers(-5, 10**9) | st.text(max_size=2),
        "cache_scope": st.sampled_from(["public", "private", "shared", None]),
    },
)


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(HINTS, min_size=1))
def test_s33_an_entry_of_several_answers_takes_the_smallest_time_and_the_narrowest_scope(answers):
    freshness = Hints()
    for answer in answers:
        freshness.add(SimpleNamespace(**answer))
    times = [a["ttl_ms"] for a in answers if isinstance(a.get("ttl_ms"), int) and a["ttl_ms"] > 0]
    assert freshness.ttl_ms == min(times, default=None)
    everybody = all(answer.get("cache_scope") == "public" for answer in answers)
    assert freshness.scope == ("public" if everybody else "private")


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(HINTS), st.randoms())
def test_s33_the_order_of_the_answers_does_not_matter(answers, random):
    one, other = Hints(), Hints()
    for answer in answers:
        one.add(SimpleNamespace(**answer))
    random.shuffle(answers)
    for answer in answers:
        other.add(SimpleNamespace(**answer))
    assert one == other


def test_s33_what_is_fetched_says_all_that_its_parts_said_about_keeping_it(monkeypatch):
    hints, now = Hints(), 100.0
    monkeypatch.setattr("mcp_orchestra.connection.listing.time.monotonic", lambda: now)
    hints.add(SimpleNamespace(ttl_ms=4000, cache_scope="public"))
    now = 103.0
    hints.add(SimpleNamespace(ttl_ms=9000, cache_scope="public"))
    fetched = hints.fetched({"a": 1})
    assert (fetched.data, fetched.ttl_ms, fetched.age, fetched.scope) == ({"a": 1}, 4000, 3.0, "public")
    assert fetched.hinted_whole
    assert fetched.cacheable
    hints.add(SimpleNamespace(ttl_ms=None, cache_scope="private"))
    assert not hints.fetched({}).hinted_whole
    assert hints.fetched({}).scope == "private"
    assert not hints.fetched({}, cacheable=False).cacheable
