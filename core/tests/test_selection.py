"""Whom a question is for, by what its caller says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.errors import UnknownServerError
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.selection import narrowing, question_of, selected
from mcp_orchestra.types import Question

NOTHING = {"domain": None, "capability": None, "uri": None, "tool": None, "key": None}


@settings(deadline=None)
@given(st.data())
def test_the_servers_that_fit_are_those_that_a_search_would_find_in_priority_order(data):
    registry = MCPRegistry()
    some = st.lists(st.sampled_from("xy"), max_size=2)
    for number in range(data.draw(st.integers(1, 5))):
        config = MCPServerConfig(
            name=f"N{number}",
            priority=data.draw(st.integers(1, 2)),
            domains=data.draw(some),
            capabilities=data.draw(some),
        )
        registry.register_server(f"s{number}", config)
    maybe = st.none() | st.sampled_from("xyz")
    domain, capability, server = data.draw(maybe), data.draw(maybe), data.draw(st.sampled_from([None, "s0", "N0"]))
    assert selected(registry, server, domain, capability) == [
        info
        for info in registry.get_all_servers()
        if (domain is None or domain in info.config.domains)
        and (capability is None or capability in info.config.capabilities)
        and server in (None, info.server_id, info.name)
    ]


def test_an_id_wins_over_another_servers_name():
    registry = MCPRegistry()
    registry.register_server("a", MCPServerConfig(name="b"))
    registry.register_server("b", MCPServerConfig(name="c"))
    assert [info.server_id for info in selected(registry, "b")] == ["b"]
    with pytest.raises(UnknownServerError, match="there are: a, b"):
        selected(registry, "nobody", "no domain")


def test_a_domain_decides_before_a_capability_whose_policy_is_asked():
    assert narrowing("d", "c", "k") == Question(kind="domain", value="d", key="k")
    assert narrowing(None, "c", None) == Question(kind="capability", value="c")
    assert narrowing(None, None, "k") is None


@pytest.mark.parametrize("kind", ["domain", "capability", "uri", "tool"])
def test_one_question_is_one_question(kind):
    assert question_of(**{**NOTHING, kind: "v", "key": "k"}) == Question(kind=kind, value="v", key="k")


@pytest.mark.parametrize("given_too", [{}, {"domain": "a", "tool": "b"}, {"domain": 1}, {"tool": "t", "key": b"k"}])
def test_none_or_two_or_something_that_is_no_text_is_a_wrong_call(given_too):
    with pytest.raises(TypeError):
        question_of(**{**NOTHING, **given_too})
