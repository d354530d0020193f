"""The checker of histories finds what is wrong with one, and nothing in one that is right."""

from typing import Any

import pytest

from .history import History, Promise

PROMISE = Promise(ttl=10, max_stale=5, skew=1, push_delay=2)
Line = dict[str, Any]


class Story:
    """Tells what happened, in seconds; every call takes a tenth of one."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        for process in ("one", "two"):
            self.clock(process, 0, 0.0)

    def clock(self, process: str, at: float, offset: float) -> None:
        self.lines.append({"what": "clock", "process": process, "before": at, "after": at, "offset": offset})

    def fetched(self, agent: str, at: float, number: int, key: str = "k") -> Line:
        origin = f"{agent}:{len(self.lines)}"
        self.lines.append({"what": "fetched", "agent": agent, "origin": origin, "at": at})
        value = {"principal": agent.split("/")[1], "key": key, "number": number, "origin": origin}
        self.read(agent, at - 0.05, value, how="fetch")
        return value

    def read(
        self, agent: str, at: float, *values: Line, how: str = "lookup", key: str = "k", stale: bool = False
    ) -> None:
        served = [(key, value, stale) for value in values]
        self.lines.append({"what": "read", "how": how, "agent": agent, "start": at, "end": at + 0.1, "served": served})

    def change(
        self,
        agent: str,
        at: float,
        number: int,
        key: str | None = "k",
        *,
        returns: bool = True,
        settles: bool = True,
        **fields: object,
    ) -> None:
        change = f"{agent}:{len(self.lines)}"
        principal = agent.split("/")[1] if key is not None else None
        line = {"what": "change", "change": change, "agent": agent, "principal": principal, "key": key}
        self.lines.append({**line, "number": number, "start": at, **fields})
        if returns:
            self.lines.append({"what": "told", "change": change, "at": at + 0.1})
        if settles:
            self.lines.append({"what": "settled", "change": change, "at": at + 0.2})

    def set(self, agent: str, at: float, number: int, **fields: bool) -> Line:
        origin = f"{agent}:{len(self.lines)}"
        self.change(agent, at, number, origin=origin, **fields)
        return {"principal": agent.split("/")[1], "key": "k", "number": number, "origin": origin}

    def killed(self, process: str, at: float) -> None:
        self.lines.append({"what": "killed", "process": process, "at": at})

    @property
    def violations(self) -> list[str]:
        return [found.partition(":")[0] for found in History(self.lines, PROMISE).violations()]


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_value_is_served_while_it_is_fresh(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.read("one/alice", 5, value)
    story.read("two/alice", 10.9, value)
    assert story.violations == []


def test_a_value_beyond_its_time_to_live_is_found(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.read("two/alice", 11.2, value)
    assert story.violations == ["10.150 s old"]


def test_a_stale_value_may_be_older_but_not_for_ever(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.read("one/alice", 15.9, value, stale=True)
    assert story.violations == []
    story.read("one/alice", 16.2, value, stale=True)
    assert story.violations == ["15.150 s old"]


def test_a_value_of_somebody_whose_clock_is_fast_lives_longer(story: Story) -> None:
    story.clock("one", 0.5, 1.0)
    value = story.fetched("one/alice", 1, number=1)
    story.clock("one", 2, 0.0)
    story.read("two/alice", 11.9, value)
    assert story.violations == []
    story.read("two/alice", 12.2, value)
    assert story.violations == ["11.150 s old"]


def test_a_value_from_the_future_is_found(story: Story) -> None:
    value = story.fetched("one/alice", 5, number=1)
    story.clock("two", 5, -3.0)
    story.read("two/alice", 6.5, value)
    assert story.violations == ["from the future"]
    story.clock("two", 6, -0.5)
    assert story.violations == []  # it may have been put right before that


def test_a_value_of_another_principal_or_key_is_found(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.read("one/bob", 2, value)
    assert story.violations == ["another principal's"]
    story.read("one/alice", 2, value, key="other")
    assert story.violations == ["another principal's", "another key's"]


@pytest.mark.parametrize("key", ["k", None], ids=["one", "all"])
def test_what_an_agent_has_invalidated_it_does_not_serve_again(story: Story, key: str | None) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.change("one/alice", 2, 2, key, settles=False)
    story.read("one/alice", 2.05, value)  # at the same time
    assert story.violations == []
    story.read("one/alice", 2.15, value)
    assert story.violations == ["outdated by itself"]


def test_what_another_one_has_invalidated_is_not_served_after_the_delay(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.change("two/alice", 2, 2)
    story.read("one/alice", 4.1, value)
    assert story.violations == []
    story.read("one/alice", 4.3, value)
    assert story.violations == ["outdated by another"]


@pytest.mark.parametrize("returns", [True, False])
def test_an_invalidation_that_has_not_reached_the_store_does_not_bind_others(story: Story, returns: bool) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.change("two/alice", 2, 2, returns=returns, settles=False)
    story.read("one/alice", 9, value)
    assert story.violations == []


def test_the_invalidation_of_another_key_or_by_another_principal_does_not_matter(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.change("one/alice", 2, 2, "other")
    story.change("one/bob", 2, 2)
    story.read("one/alice", 9, value)
    assert story.violations == []


def test_what_was_read_after_the_invalidation_began_is_served(story: Story) -> None:
    story.change("one/alice", 2, 2)
    value = story.fetched("one/alice", 2.5, number=2)
    story.read("two/alice", 9, value)
    assert story.violations == []


def test_what_is_kept_of_a_fetch_that_an_invalidation_has_overtaken_is_found(story: Story) -> None:
    story.change("one/alice", 2, 2)
    value = story.fetched("one/alice", 3, number=1)
    assert story.violations == ["outdated by itself"]
    story.read("two/alice", 9, value)
    assert story.violations == ["outdated by itself", "outdated by another"]


def test_who_joins_a_fetch_gets_what_it_saw_when_it_began(story: Story) -> None:
    story.change("two/alice", 2, 2)
    value = story.fetched("one/alice", 5, number=1)
    assert story.violations == []
    story.read("one/alice", 5.2, value, how="fetch")  # which had ended by then
    assert story.violations == ["outdated by another"]


def test_an_outdated_value_is_served_as_stale_only(story: Story) -> None:
    value = story.fetched("one/alice", 1, number=1)
    story.change("one/alice", 2, 2, stale_is_served=True)
    story.read("one/alice", 3, value, stale=True)
    assert story.violations == []
    story.read("one/alice", 3, value)
    assert story.violations == ["outdated by itself"]
    story.change("one/alice", 4, 3)
    story.read("one/alice", 5, value, stale=True)
    assert story.violations == ["outdated by itself"] * 2


def test_what_was_set_takes_the_place_of_what_was_there(story: Story) -> None:
    fetched = story.fetched("one/alice", 1, number=1)
    first = story.set("one/alice", 2, number=2)
    second = story.set("one/alice", 3, number=3)
    story.read("one/alice", 4, second)
    assert story.violations == []
    story.read("one/alice", 4, first)
    story.read("two/alice", 6, fetched)
    assert story.violations == ["outdated by itself", "outdated by another"]


def test_what_was_set_while_it_was_invalidated_may_be_served(story: Story) -> None:
    value = story.set("one/alice", 2, number=2)
    story.change("two/alice", 2.05, 3)
    story.read("two/alice", 9, value)
    assert story.violations == []


def test_what_a_killed_process_has_set_counts_as_set_until_then(story: Story) -> None:
    value = story.set("one/alice", 2, number=2, returns=False, settles=False)
    story.killed("one", 3)
    story.change("two/alice", 2.9, 3)
    story.read("two/alice", 9, value)
    assert story.violations == []
    story.change("two/alice", 3.1, 4, settles=False)
    assert story.violations == ["outdated by itself"]
