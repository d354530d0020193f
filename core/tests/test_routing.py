"""The router: whatever a policy answers, each server is asked exactly once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra import Candidate, MCPServerConfig, MCPServerInfo, Question
from mcp_orchestra.routing import Router, candidate

DOMAIN = Question(kind="domain", value="products")

Order = Callable[[Question, Sequence[Candidate]], Sequence[Candidate]]


class Policy:
    """A policy made of a function, which remembers what it was asked."""

    def __init__(self, answer: Order) -> None:
        self.answer = answer
        self.asked: list[tuple[Question, list[Candidate]]] = []

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        self.asked.append((question, list(candidates)))
        return self.answer(question, candidates)


def as_given() -> Policy:
    return Policy(lambda question, candidates: candidates)


def backwards() -> Policy:
    return Policy(lambda question, candidates: candidates[::-1])


def server(server_id: str, position: int, priority: int = 100, weight: int = 1, **fields) -> MCPServerInfo:
    config = MCPServerConfig(name=server_id.upper(), priority=priority, weight=weight)
    return MCPServerInfo(name=config.name, config=config, server_id=server_id, position=position, **fields)


def ids(servers: Sequence[MCPServerInfo]) -> list[str]:
    return [info.server_id for info in servers]


def raising(question, candidates):
    raise RuntimeError("hunter2")


MISBEHAVING: dict[str, Order] = {
    "raises": raising,
    "drops one": lambda question, candidates: candidates[1:],
    "drops all": lambda question, candidates: [],
    "repeats one": lambda question, candidates: [*candidates, candidates[0]],
    "repeats one for another": lambda question, candidates: [candidates[0], *candidates[:-1]],
    "adds a stranger": lambda question, candidates: [
        *candidates,
        Candidate(server_id="stranger", priority=1, position=0),
    ],
    "puts a stranger for one": lambda question, candidates: [
        *candidates[1:],
        Candidate(server_id="stranger", priority=1, position=0),
    ],
    "changes one": lambda question, candidates: [replace(candidates[0], priority=999), *candidates[1:]],
    "returns ids": lambda question, candidates: [one.server_id for one in candidates],
    "returns nothing": lambda question, candidates: None,
    "returns what cannot be compared": lambda question, candidates: [[] for _ in candidates],
    "never stops": lambda question, candidates: repeat(candidates[0]),
    "empties the list that it was given": lambda question, candidates: candidates.clear() or candidates,
}


@st.composite
def servers(draw: st.DrawFn, at_least: int = 0) -> list[MCPServerInfo]:
    """Draw servers in any order, with equal priorities among them."""
    priorities = draw(st.lists(st.integers(1, 4), min_size=at_least, max_size=8))
    drawn = [server(f"s{position}", position, priority) for position, priority in enumerate(priorities)]
    return draw(st.permutations(drawn))


@settings(deadline=None)  # a busy machine is no fault
@given(st.data())
def test_servers_are_asked_in_the_order_of_the_policy(data):
    asked = data.draw(servers())
    wanted = data.draw(st.permutations(asked))
    rank = {info.server_id: place for place, info in enumerate(wanted)}
    policy = Policy(lambda question, candidates: sorted(candidates, key=lambda one: rank[one.server_id]))
    assert Router(policy).order(DOMAIN, asked) == wanted


def test_a_policy_may_return_candidates_of_its_own_that_are_equal():
    policy = Policy(lambda question, candidates: [replace(one) for one in candidates[::-1]])
    assert ids(Router(policy).order(DOMAIN, [server("a", 0), server("b", 1)])) == ["b", "a"]


@settings(deadline=None)  # a busy machine is no fault
@given(servers(at_least=2), st.sampled_from(sorted(MISBEHAVING)))
def test_a_misbehaving_policy_is_overruled_by_priority_and_position(given_servers, fault):
    ordered = Router(Policy(MISBEHAVING[fault])).order(DOMAIN, given_servers)
    assert ordered == sorted(given_servers, key=lambda info: (info.config.priority, info.position))


@settings(deadline=None)  # a busy machine is no fault
@given(servers())
def test_the_callers_list_is_left_alone_and_the_answer_is_its_own(given_servers):
    before = list(given_servers)
    ordered = Router(Policy(MISBEHAVING["empties the list that it was given"])).order(DOMAIN, given_servers)
    ordered.clear()
    assert given_servers == before


@pytest.mark.parametrize("fault", MISBEHAVING)
def test_a_misbehaving_policy_is_warned_about_once_and_asked_again(caplog: pytest.LogCaptureFixture, fault: str):
    policy = Policy(MISBEHAVING[fault])
    router = Router(policy)
    with caplog.at_level(logging.WARNING, "mcp_orchestra.routing"):
        for _ in range(3):
            router.order(DOMAIN, [server("a", 0), server("b", 1)])
    assert len(policy.asked) == 3
    (message,) = [record.getMessage() for record in caplog.records if record.name == "mcp_orchestra.routing"]
    assert message.startswith("the routing policy Policy ")
    assert "asked for the domain 'products'" in message
    assert "hunter2" not in caplog.text


def test_each_misbehaving_policy_gets_its_own_warning(caplog: pytest.LogCaptureFixture):
    router = Router(Policy(raising), {"products": Policy(MISBEHAVING["drops one"])})
    pair = [server("a", 0), server("b", 1)]
    for question in (DOMAIN, Question(kind="tool", value="echo"), DOMAIN):
        assert ids(router.order(question, pair)) == ["a", "b"]
    assert [record.getMessage().split(" (asked")[0] for record in caplog.records] == [
        "the routing policy Policy did not return each candidate exactly once",
        "the routing policy Policy raised RuntimeError",
    ]


def test_a_policy_that_recovers_is_followed_again():
    policy = Policy(raising)
    router = Router(policy)
    pair = [server("a", 0), server("b", 1)]
    assert ids(router.order(DOMAIN, pair)) == ["a", "b"]
    policy.answer = lambda question, candidates: candidates[::-1]
    assert ids(router.order(DOMAIN, pair)) == ["b", "a"]


def test_an_interrupt_passes_through_the_router():
    def interrupted(question, candidates):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Router(Policy(interrupted)).order(DOMAIN, [server("a", 0), server("b", 1)])


def test_a_domain_has_its_own_policy_and_everything_else_the_default():
    router = Router(as_given(), {"products": backwards()})
    pair = [server("a", 0), server("b", 1)]
    assert ids(router.order(DOMAIN, pair)) == ["b", "a"]
    assert ids(router.order(Question(kind="domain", value="orders"), pair)) == ["a", "b"]
    assert ids(router.order(Question(kind="capability", value="products"), pair)) == ["a", "b"]


def test_a_policy_gets_the_question_and_what_is_known_about_each_server(monkeypatch):
    monkeypatch.setattr("mcp_orchestra.registry.loop_time", lambda: 100.0)
    policy = as_given()
    slow = server("slow", 3, priority=7, weight=5, connected=True, latency=1.5, peak_latency=2.5, in_flight=2)
    slow.recovered_at, slow.slow_start = 90.0, 20.0
    new = server("new", 4, priority=9)
    open_circuit = server("open", 5, connected=True, state="circuit_open")
    Router(policy).order(DOMAIN, [new, slow, open_circuit])
    assert policy.asked == [
        (
            DOMAIN,
            [
                Candidate(server_id="new", priority=9, position=4, connected=False, usable=False),
                Candidate(
                    server_id="slow",
                    priority=7,
                    position=3,
                    connected=True,
                    latency=1.5,
                    usable=True,
                    weight=5,
                    in_flight=2,
                    peak_latency=2.5,
                    share=0.55,
                ),
                Candidate(server_id="open", priority=100, position=5, connected=True, usable=False),
            ],
        )
    ]


def test_a_candidate_is_a_snapshot():
    info = server("a", 0, connected=True, latency=0.25)
    seen = candidate(info)
    info.connected, info.latency = False, 9.0
    assert (seen.connected, seen.latency) == (True, 0.25)


def test_where_there_is_nothing_to_decide_the_policy_is_not_asked():
    policy = Policy(raising)
    only = server("a", 0)
    assert Router(policy).order(DOMAIN, []) == []
    assert Router(policy).order(DOMAIN, [only]) == [only]
    assert policy.asked == []


class Counting:
    """A policy with a state: the server that comes first changes with each question."""

    def __init__(self) -> None:
        self.asked = 0

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        self.asked += 1
        return sorted(candidates, key=lambda one: (one.position + self.asked) % len(candidates))


def test_a_preview_is_what_comes_next_and_changes_nothing():
    policy = Counting()
    router = Router(policy)
    three = [server(name, position) for position, name in enumerate("abc")]
    for _ in range(4):
        previews = [router.preview(DOMAIN, three) for _ in range(3)]
        before = policy.asked
        assert previews == [router.order(DOMAIN, three)] * 3
        assert policy.asked == before + 1


def test_a_preview_of_a_policy_that_cannot_be_copied_is_by_priority_and_says_so_once(caplog: pytest.LogCaptureFixture):
    policy = backwards()
    policy.__dict__["lock"] = (character for character in "generators cannot be copied")
    pair = [server("a", 0), server("b", 1)]
    router = Router(policy)
    for _ in range(3):
        assert ids(router.preview(DOMAIN, pair)) == ["a", "b"]
        assert ids(router.order(DOMAIN, pair)) == ["b", "a"]
    (record,) = caplog.records
    assert "Policy raised TypeError (copied to explain the domain 'products')" in record.getMessage()
