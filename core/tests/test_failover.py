"""S24 and the calling of tools: when another server may be asked."""

import pytest
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.errors import MCPConnectionError, ResourceFetchError, ToolCallError, ToolNotFoundError
from mcp_orchestra.failover import attempt_of, may_ask_another
from mcp_orchestra.registry import MCPRegistry

# What came back: whether a call may go on to another server.
CALLS = {
    "the connection was refused": ({"cause": "refused", "delivered": "no"}, True),
    "no connection in time": ({"cause": "timeout", "delivered": "no"}, True),
    "not connected": ({"cause": "lost", "delivered": "no"}, True),
    "refused by an HTTP status": ({"cause": "http", "delivered": "no", "status": 429}, True),
    "refused credentials": ({"cause": "auth", "delivered": "no", "status": 401}, True),
    "the session was forgotten twice": ({"cause": "session", "delivered": "no"}, True),
    "no answer in time": ({"cause": "timeout", "delivered": "maybe"}, False),
    "cut while under way": ({"cause": "lost", "delivered": "maybe"}, False),
    "an HTTP status that says nothing": ({"cause": "http", "delivered": "maybe", "status": 503}, False),
    "an answer that is too large": ({"cause": "too_large", "delivered": "yes"}, False),
    "an output that does not match its schema": ({"cause": "invalid_output", "delivered": "yes"}, False),
    "the server said no": ({"cause": "rejected", "delivered": "yes", "code": -32603}, False),
    "the server does not know the tool": ({"cause": "rejected", "delivered": "no", "code": -32601}, False),
    "nothing is known": ({}, False),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_call_goes_on_only_if_it_was_certainly_not_delivered(what):
    context, may = CALLS[what]
    assert may_ask_another("call", ToolCallError("no", context)) is may


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("kind", [MCPConnectionError, ResourceFetchError])
def test_s24_a_read_always_goes_on(what, kind):
    context, _ = CALLS[what]
    assert may_ask_another("read", kind("no", context))


def test_an_attempt_says_who_was_asked_and_why_it_failed():
    registry = MCPRegistry()
    registry.register_server("p", MCPServerConfig(name="Products"))
    error = ToolNotFoundError("no such tool", {"cause": "rejected", "delivered": "no"})
    assert attempt_of(registry.get_server("p"), error) == {
        "server": "Products",
        "server_id": "p",
        "reason": "no such tool",
        "cause": "rejected",
    }
