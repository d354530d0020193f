"""S24 and the calling of tools: when another server may be asked, and who is."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.errors import MCPConnectionError, ResourceFetchError, ToolCallError, ToolNotFoundError
from mcp_orchestra.failover import Failover, attempt_of, in_words, may_ask_another, unusable, why_unusable
from mcp_orchestra.registry import MCPRegistry

# What came back, and whether another server may be asked: for a read, for a read from its owner, for a call, for a call
# of a tool that may be repeated.
TABLE = {
    "the connection was refused": ({"cause": "refused", "delivered": "no"}, "yyyy"),
    "no connection in time": ({"cause": "timeout", "delivered": "no"}, "yyyy"),
    "not connected": ({"cause": "lost", "delivered": "no"}, "yyyy"),
    "refused by an HTTP status": ({"cause": "http", "delivered": "no", "status": 429}, "yyyy"),
    "refused credentials": ({"cause": "auth", "delivered": "no", "status": 401}, "yyyy"),
    "the session was forgotten twice": ({"cause": "session", "delivered": "no"}, "yyyy"),
    "no answer in time": ({"cause": "timeout", "delivered": "maybe"}, "yyny"),
    "cut while under way": ({"cause": "lost", "delivered": "maybe"}, "yyny"),
    "an HTTP status that says nothing": ({"cause": "http", "delivered": "maybe", "status": 503}, "yyny"),
    "an answer that is no answer": ({"cause": "protocol", "delivered": "maybe"}, "yyny"),
    "an answer that is too large": ({"cause": "too_large", "delivered": "yes"}, "yyny"),
    "an output that does not match its schema": ({"cause": "invalid_output", "delivered": "yes"}, "yyny"),
    "the server failed inside": ({"cause": "rejected", "delivered": "yes", "code": -32603}, "yynn"),
    "the server does not know the method": ({"cause": "rejected", "delivered": "no", "code": -32601}, "ynnn"),
    "the server does not know the resource": ({"cause": "rejected", "delivered": "maybe", "code": -32602}, "ynnn"),
    "the server said no": ({"cause": "rejected", "delivered": "yes", "code": 42}, "ynnn"),
    "nothing is known": ({}, "yyny"),
}
PURPOSES = ("read", "owned read", "call", "safe call")


@pytest.mark.parametrize("what", TABLE)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_s24_another_server_is_asked_by_the_table(what, purpose):
    context, goes_on = TABLE[what]
    assert may_ask_another(purpose, ToolCallError("no", context)) is (goes_on[PURPOSES.index(purpose)] == "y")


def registered(*server_ids, **states):
    """Return connected servers, some of them in another state."""
    registry = MCPRegistry()
    for server_id in server_ids:
        registry.register_server(server_id, MCPServerConfig(name=server_id.upper()))
        if (state := states.get(server_id)) not in (None, "circuit_open"):
            registry.mark_disconnected(server_id, "gone", state=state)
            continue
        registry.mark_connected(server_id, object())
        if state is not None:
            registry.get_server(server_id).state = state
    return registry.get_all_servers()


def test_an_attempt_says_who_was_asked_and_why_it_failed():
    error = ToolNotFoundError("no such tool", {"cause": "rejected", "delivered": "no"})
    (info,) = registered("p")
    assert attempt_of(info, error) == {
        "server": "P",
        "server_id": "p",
        "reason": "no such tool",
        "cause": "rejected",
        "delivered": "no",
    }


@settings(deadline=None)  # a busy machine is no fault
@given(st.data())
def test_each_candidate_is_asked_once_at_most_and_nobody_after_the_table_says_stop(data):
    ids = [f"s{number}" for number in range(data.draw(st.integers(0, 6)))]
    candidates = registered(*ids)
    purposes = {one: data.draw(st.sampled_from(PURPOSES)) for one in ids}
    outcomes = {one: data.draw(st.sampled_from(["answers", "cannot be asked", *TABLE])) for one in ids}
    asked = []

    async def request(info):
        outcome = outcomes[info.server_id]
        if outcome == "cannot be asked":
            return None
        asked.append(info.server_id)
        if outcome == "answers":
            return info.server_id
        raise MCPConnectionError("no", TABLE[outcome][0])

    failover = Failover()
    # Twice over, as it happens when nobody could be asked at first.
    answer = asyncio.run(failover.ask([*candidates, *candidates], request, lambda info: purposes[info.server_id]))
    expected = []
    for one in [*ids, *(one for one in ids if outcomes[one] == "cannot be asked")]:
        outcome = outcomes[one]
        if outcome == "cannot be asked":
            continue
        expected.append(one)
        if outcome == "answers" or TABLE[outcome][1][PURPOSES.index(purposes[one])] == "n":
            break
    assert asked == expected
    last = expected[-1] if expected else None
    assert answer == (last if last is not None and outcomes[last] == "answers" else None)
    assert [attempt["server_id"] for attempt in failover.attempts] == [one for one in expected if one != answer]
    assert not failover.passed_over.keys() & set(expected)


def test_who_cannot_be_asked_is_passed_over_and_named():
    candidates = registered("down", "open", "well", "last", down="backing_off", open="circuit_open")

    async def request(info):
        if not info.usable:
            return
        raise ResourceFetchError(f"{info.server_id} failed", {"cause": "timeout", "delivered": "maybe"})

    failover = Failover()
    assert asyncio.run(failover.ask(candidates, request, lambda _: "read")) is None
    facts = failover.facts()
    assert [attempt["reason"] for attempt in facts["attempts"]] == ["well failed", "last failed"]
    assert facts["passed_over"] == {"down": "not connected (backing_off): gone", "open": "its circuit is open"}
    assert failover.error.message == "last failed"


def test_a_usable_server_is_not_said_to_be_unusable():
    (info,) = registered("a")
    assert why_unusable(info) is None


def test_s16_that_the_orchestrator_was_closed_is_no_failure_of_a_server():
    asked = []

    async def request(info):
        asked.append(info.server_id)
        raise MCPConnectionError("the orchestrator was closed", {"cause": "closed"})

    failover = Failover()
    with pytest.raises(MCPConnectionError, match="was closed"):
        asyncio.run(failover.ask(registered("a", "b"), request, lambda _: "read"))
    assert (asked, failover.attempts) == (["a"], [])


def test_s24_who_was_passed_over_may_be_asked_later_and_is_then_named_once():
    candidates = registered("a", "b", b="backing_off")
    failover, asked = Failover(), []

    async def request(info):
        if not info.usable:
            return
        asked.append(info.server_id)
        raise ResourceFetchError("no answer", {"cause": "timeout", "delivered": "maybe"})

    assert not failover.may_go_on  # nobody is left whom it could be put to
    asyncio.run(failover.ask(candidates, request, lambda _: "read"))
    assert failover.may_go_on
    candidates[1].connected, candidates[1].state = True, "ready"
    asyncio.run(failover.ask(candidates, request, lambda _: "read"))
    assert asked == ["a", "b"]
    assert [attempt["server_id"] for attempt in failover.attempts] == ["a", "b"]
    assert "passed_over" not in failover.facts()
    assert not failover.may_go_on


def test_s24_who_was_passed_over_is_not_asked_any_more_once_an_answer_has_ended_the_question():
    candidates = registered("down", "a", down="backing_off")

    async def request(info):
        if not info.usable:
            return
        raise ToolCallError("half done", {"cause": "timeout", "delivered": "maybe"})

    failover = Failover()
    asyncio.run(failover.ask(candidates, request, lambda _: "call"))
    assert failover.passed_over.keys() == {"down"}
    assert not failover.may_go_on


def test_why_a_server_is_not_asked_is_what_the_registry_knows():
    registry = MCPRegistry()
    for server_id in ("off", "open", "busy", "well"):
        registry.register_server(server_id, MCPServerConfig(name=server_id, enabled=server_id != "off"))
        registry.mark_connected(server_id, object())
    registry.mark_disconnected("off", None, state="disabled")
    registry.mark_condition("open", "circuit_open", "no answer within 3 s")
    registry.mark_condition("busy", "degraded", "it asked to be left alone", retry_at=float("inf"))
    servers = registry.get_all_servers()
    assert (
        in_words(unusable(servers))
        == " (off: disabled; open: its circuit is open: no answer within 3 s; busy: it asked to be left alone)"
    )
    assert in_words(unusable(servers[-1:])) == ""


@pytest.mark.parametrize(("count", "end"), [(5, "s4: disabled)"), (6, "s4: disabled; and 1 more)")])
def test_a_message_names_five_servers_at_most(count, end):
    registry = MCPRegistry()
    for number in range(count):
        registry.register_server(f"s{number}", MCPServerConfig(name=f"s{number}", enabled=False))
    assert in_words(unusable(registry.get_all_servers())).endswith(end)
