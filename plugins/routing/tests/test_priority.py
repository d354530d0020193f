"""The policy ``priority``, and how it is found."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra import Candidate, PluginManager, Question
from mcp_orchestra_routing import ByPriority

QUESTION = Question(kind="domain", value="products")

LATENCIES = st.none() | st.floats(0, 60)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Draw candidates in any order, with equal priorities among them."""
    states = draw(st.lists(st.tuples(st.integers(1, 4), st.booleans(), LATENCIES), max_size=8))
    return draw(
        st.permutations(
            [
                Candidate(
                    server_id=f"s{position}",
                    priority=priority,
                    position=position,
                    connected=connected,
                    latency=latency,
                )
                for position, (priority, connected, latency) in enumerate(states)
            ]
        )
    )


def test_the_lowest_number_goes_first_and_equals_in_the_order_of_registration():
    def named(server_id: str, priority: int, position: int) -> Candidate:
        return Candidate(server_id=server_id, priority=priority, position=position)

    given_candidates = [named("late", 20, 0), named("second", 10, 3), named("first", 10, 1), named("top", 1, 4)]
    ordered = ByPriority().order(QUESTION, given_candidates)
    assert [one.server_id for one in ordered] == ["top", "first", "second", "late"]


@settings(deadline=None)  # a busy machine is no fault
@given(candidates())
def test_each_candidate_comes_once_and_nobody_before_a_better_one(drawn):
    ordered = ByPriority().order(QUESTION, drawn)
    assert sorted(ordered, key=lambda one: one.server_id) == sorted(drawn, key=lambda one: one.server_id)
    ranks = [(one.priority, one.position) for one in ordered]
    assert all(earlier < later for earlier, later in pairwise(ranks))


@settings(deadline=None)  # a busy machine is no fault
@given(st.data())
def test_the_order_does_not_depend_on_the_order_of_the_candidates(data):
    drawn = data.draw(candidates())
    shuffled = data.draw(st.permutations(drawn))
    assert ByPriority().order(QUESTION, drawn) == ByPriority().order(QUESTION, shuffled)


def test_a_disconnected_or_slow_server_keeps_its_place():
    down = Candidate(server_id="down", priority=1, position=0, connected=False, latency=30.0)
    up = Candidate(server_id="up", priority=2, position=1, connected=True, latency=0.001)
    assert ByPriority().order(QUESTION, [up, down]) == [down, up]


def test_the_installed_plugin_offers_the_policy():
    manager = PluginManager()
    manager.discover()
    spec = manager.routing_policy("priority")
    assert (spec.options, spec.stateful) == (None, False)
    assert isinstance(spec.create(None), ByPriority)
    (info,) = (info for info in manager.installed() if info.name == "routing")
    assert (info.distribution, info.state) == ("mcp-orchestra-routing", "active")
    assert "routing policy priority" in info.offers
