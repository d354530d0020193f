"""What holds for every policy, and how each shares questions out among equals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra import Candidate, PluginManager, Question, RoutingPolicy
from mcp_orchestra_routing import ByPriority, LeastLatency, RoundRobin, Sticky, Weighted

POLICIES = {
    "priority": ByPriority,
    "round-robin": RoundRobin,
    "weighted": Weighted,
    "least-latency": lambda: LeastLatency(Random(7)),
    "sticky": Sticky,
}
STATELESS = ("priority", "sticky")
QUESTION = Question(kind="domain", value="products")

QUESTIONS = st.builds(
    Question, kind=st.sampled_from(["domain", "uri"]), value=st.text(max_size=3), key=st.none() | st.text(max_size=3)
)
LATENCIES = st.none() | st.floats(0, 60)


@st.composite
def candidates(draw: st.DrawFn, at_least: int = 0) -> list[Candidate]:
    """Draw candidates in any state and any order, with equal priorities among them."""
    drawn = [
        Candidate(
            server_id=f"s{position}",
            priority=draw(st.integers(1, 3)),
            position=position,
            usable=draw(st.booleans()),
            weight=draw(st.integers(1, 5)),
            in_flight=draw(st.integers(0, 3)),
            latency=draw(LATENCIES),
            peak_latency=draw(LATENCIES),
            share=draw(st.floats(0.01, 1)),
        )
        for position in range(draw(st.integers(at_least, 6)))
    ]
    return draw(st.permutations(drawn))


def equals(*names: str, **fields) -> list[Candidate]:
    return [Candidate(server_id=name, priority=1, position=place, **fields) for place, name in enumerate(names)]


def first(policy: RoutingPolicy, asked: Sequence[Candidate], question: Question = QUESTION) -> str:
    return policy.order(question, asked)[0].server_id


def firsts(policy: RoutingPolicy, asked: Sequence[Candidate], times: int) -> list[str]:
    return [first(policy, asked) for _ in range(times)]


# Every policy


@pytest.mark.parametrize("name", POLICIES)
def test_the_policy_is_offered_under_its_name_and_says_whether_it_keeps_a_state(name):
    manager = PluginManager()
    manager.discover()
    spec = manager.routing_policy(name)
    assert (spec.options, spec.stateful) == (None, name not in STATELESS)
    assert type(spec.create(None)) is type(POLICIES[name]())


@settings(deadline=None)  # a busy machine is no fault
@given(st.data(), st.sampled_from(sorted(POLICIES)))
def test_each_comes_once_by_priority_and_within_one_the_usable_first(data, name):
    policy = POLICIES[name]()
    drawn = data.draw(candidates())
    for question in data.draw(st.lists(QUESTIONS, min_size=1, max_size=4)):
        ordered = policy.order(question, drawn)
        assert sorted(ordered, key=lambda one: one.position) == sorted(drawn, key=lambda one: one.position)
        ranks = [(one.priority, not one.usable) for one in ordered]
        assert all(earlier <= later for earlier, later in pairwise(ranks))


@settings(deadline=None)
@given(st.data(), st.sampled_from(STATELESS), QUESTIONS)
def test_a_stateless_policy_gives_equal_questions_equal_orders(data, name, question):
    drawn = data.draw(candidates())
    shuffled = data.draw(st.permutations(drawn))
    policy = POLICIES[name]()
    before = policy.order(question, drawn)
    policy.order(data.draw(QUESTIONS), data.draw(candidates()))
    assert policy.order(question, shuffled) == before == POLICIES[name]().order(question, drawn)


# Round-robin


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 20), st.integers(1, 30))
def test_in_any_window_equals_have_had_their_turn_equally_often(number, before, window):
    policy, asked = RoundRobin(), equals(*(f"s{n}" for n in range(number)))
    firsts(policy, asked, before)
    counts = Counter({one.server_id: 0 for one in asked}) | Counter(firsts(policy, asked, window))
    turns = [counts[one.server_id] for one in asked]
    assert max(turns) - min(turns) <= 1


def test_questions_for_other_servers_do_not_disturb_the_turns():
    policy = RoundRobin()
    ours, theirs = equals("a", "b"), equals("b", "c")
    turns = [(first(policy, ours), first(policy, theirs)) for _ in range(4)]
    assert turns == [("a", "b"), ("b", "c"), ("a", "b"), ("b", "c")]


def test_a_server_that_is_back_gets_its_turn_and_no_more():
    policy, up = RoundRobin(), equals("a", "b", "c")
    down = [replace(one, usable=one.server_id != "a") for one in up]
    assert firsts(policy, down, 4) == ["b", "c", "b", "c"]
    assert firsts(policy, up, 6) == ["a", "b", "c", "a", "b", "c"]


def test_those_behind_the_first_are_in_the_order_of_their_turns():
    policy, asked = RoundRobin(), equals("a", "b", "c")
    policy.order(QUESTION, asked)
    assert [one.server_id for one in policy.order(QUESTION, asked)] == ["b", "c", "a"]


def test_what_is_remembered_of_groups_is_bounded():
    policy = RoundRobin()
    asked = equals("a", "b")
    assert first(policy, asked) == "a"
    for number in range(1_000):
        policy.order(QUESTION, equals("x", f"y{number}"))
    assert first(policy, asked) == "a"  # forgotten, so it starts anew
    assert first(policy, asked) == "b"
    for number in range(2_000):
        policy.order(QUESTION, equals("x", f"y{number}"))
        assert first(policy, asked) == "ab"[number % 2]  # what is in use is not what is forgotten


# Weighted


def test_turns_are_spread_as_nginx_spreads_them():
    a, b, c = equals("a", "b", "c")
    asked = [replace(a, weight=5), b, c]
    assert "".join(firsts(Weighted(), asked, 14)) == "aabacaa" * 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(1, 3), st.data())
def test_turns_are_in_proportion_to_the_weights(weights, rounds, data):
    asked = [replace(one, weight=weight) for one, weight in zip(equals(*"abcde"), weights, strict=False)]
    total = sum(weights)
    turns = firsts(Weighted(), asked, rounds * total)
    assert Counter(turns) == {one.server_id: rounds * one.weight for one in asked}
    until = data.draw(st.integers(1, len(turns)))
    counts = Counter(turns[:until])
    assert all(abs(counts[one.server_id] - until * one.weight / total) < len(weights) for one in asked)


def test_a_server_that_starts_slowly_gets_that_share_of_its_weight():
    slow, well = equals("slow", "well")
    turns = firsts(Weighted(), [replace(slow, share=0.25), well], 50)
    assert Counter(turns) == {"slow": 10, "well": 40}


# Least latency


def test_of_two_the_one_that_will_probably_answer_sooner_is_asked():
    slow, fast = equals("slow", "fast")
    asked = [replace(slow, peak_latency=0.2), replace(fast, peak_latency=0.05)]
    assert first(LeastLatency(), asked) == "fast"
    busy = [asked[0], replace(asked[1], in_flight=5)]
    assert first(LeastLatency(), busy) == "slow"
    recovering = [asked[0], replace(asked[1], share=0.1)]
    assert first(LeastLatency(), recovering) == "slow"


def test_the_smoothed_latency_counts_and_the_last_one_only_without_it():
    a, b = equals("a", "b")
    smoothed = [replace(a, peak_latency=0.2, latency=0.01), replace(b, peak_latency=0.1, latency=0.3)]
    assert first(LeastLatency(), smoothed) == "b"
    assert first(LeastLatency(), [replace(one, peak_latency=None) for one in smoothed]) == "a"


def test_a_server_that_nobody_knows_yet_is_tried_but_not_by_everybody_at_once():
    known, other, new = equals("known", "other", "new", peak_latency=0.001)
    new = replace(new, peak_latency=None)
    assert set(firsts(LeastLatency(), [known, other, new], 50)) == {"new"}
    assert first(LeastLatency(), [known, replace(new, in_flight=1)]) == "known"


def test_the_fastest_does_not_get_everything_and_the_slowest_nothing():
    asked = [replace(one, peak_latency=0.1 * (one.position + 1)) for one in equals(*"abcd")]
    counts = Counter(firsts(LeastLatency(Random(1)), asked, 1200))
    # Of the six pairs, three have a in them, two more b, one more c.
    assert counts["d"] == 0
    assert all(abs(counts[name] - 200 * share) < 100 for name, share in (("a", 3), ("b", 2), ("c", 1)))


# Sticky


KEYS = [Question(kind="domain", value="d", key=f"user {n}") for n in range(600)]


def test_a_key_goes_to_one_server_whatever_is_asked():
    policy, asked = Sticky(), equals(*"abcd")
    for value in ("x", "y"):
        assert first(policy, asked, Question(kind="domain", value=value, key="u")) == first(
            policy, asked, Question(kind="uri", value="z", key="u")
        )
    servers = {first(policy, asked, Question(kind="uri", value=f"x://{n}")) for n in range(50)}
    assert servers == set("abcd")  # without a key the value decides


def test_the_server_of_a_key_is_the_same_in_every_process():
    assert [first(Sticky(), equals(*"abcd"), question) for question in KEYS[:8]] == list("aabbbddb")


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.data())
def test_a_server_that_goes_moves_its_own_keys_only(number, data):
    everybody = equals(*(f"s{n}" for n in range(number)))
    gone = data.draw(st.sampled_from(everybody))
    left = [one for one in everybody if one is not gone]
    down = [replace(one, usable=one is not gone) for one in everybody]
    policy = Sticky()
    for question in KEYS[:60]:
        before = policy.order(question, everybody)
        stayed = [one.server_id for one in before if one is not gone]
        assert [one.server_id for one in policy.order(question, left)] == stayed
        assert [one.server_id for one in policy.order(question, down)] == [*stayed, gone.server_id]


def test_keys_are_shared_out_by_weight():
    a, b, c = equals("a", "b", "c")
    asked = [replace(a, weight=4), b, c]
    counts = Counter(first(Sticky(), asked, question) for question in KEYS)
    assert all(abs(counts[name] - 100 * share) < 50 for name, share in (("a", 4), ("b", 1), ("c", 1)))
