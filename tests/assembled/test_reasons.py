"""What an error and `explain` say of the servers that were not asked: why, in words that lead to the remedy."""

import asyncio
import math

import pytest
from mcp_orchestra import (
    MCPConnectionError,
    MCPOrchestratorException,
    NoMCPAvailableError,
    ToolCallError,
    ToolNotFoundError,
)
from mcp_orchestra.testing.faults import http, sick_server
from mcp_orchestra.testing.servers import ScriptedServer, free_port

pytestmark = pytest.mark.anyio

ASKING = {
    "gather": lambda orchestrator: orchestrator.gather_all_resources(),
    "domain": lambda orchestrator: orchestrator.get_resources_for_domain("d"),
    "read": lambda orchestrator: orchestrator.read_resource("x://1"),
    "tools": lambda orchestrator: orchestrator.list_tools(),
    "prompts": lambda orchestrator: orchestrator.list_prompts(),
    "prompt": lambda orchestrator: orchestrator.get_prompt("p"),
    "prompt by capability": lambda orchestrator: orchestrator.get_prompt("p", capability="c"),
}
CALLING = {
    "call": lambda orchestrator: orchestrator.call_tool("echo"),
    "call by capability": lambda orchestrator: orchestrator.call_tool("echo", capability="c"),
    "call at": lambda orchestrator: orchestrator.call_tool("locked__echo"),
}
DECLARED = {"domains": ["d"], "capabilities": ["c"], "timeout": 3}


@pytest.fixture
async def locked():
    """The fields of a server that refuses our credentials."""
    async with sick_server({"server/discover": http.status(401), "initialize": http.status(401)}).listening() as server:
        yield {"transport": "streamable-http", "url": f"{server.url}?key=canary-1234", **DECLARED}


@pytest.fixture
async def only_locked(locked, configure, serving):
    """An orchestrator of which the only server that was there when it started is gone, and another is locked."""
    orchestrator = configure(
        {
            "well": {**await serving(ScriptedServer("well")), "capabilities": ["other"]},
            "locked": locked,
            "off": {"transport": "stdio", "command": "true", "enabled": False, **DECLARED},
        }
    )
    await orchestrator.initialize()
    orchestrator.registry.mark_disconnected("well", "gone for this test", state="failed")
    return orchestrator


@pytest.mark.parametrize("asked", [*ASKING, *CALLING])
async def test_s24_an_error_says_of_each_candidate_why_it_was_not_asked(only_locked, asked):
    kind = NoMCPAvailableError if asked in ASKING else ToolCallError
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(10):
            await (ASKING | CALLING)[asked](only_locked)
    message = caught.value.message
    assert "locked: not connected (auth_required): " in message
    assert "refused the credentials with HTTP 401" in message
    assert ("off: disabled" in message) is (asked != "call at")
    candidates = {"gather", "read", "tools", "prompts", "prompt", "call"}  # where everybody is one
    assert ("gone for this test" in message) is (asked in candidates)
    assert "canary" not in f"{message} {caught.value.context}"
    assert "auth_required" in str(caught.value.context)


async def test_an_error_names_a_few_servers_and_counts_the_others(configure, serving):
    gone = {"transport": "streamable-http", "url": f"http://127.0.0.1:{free_port()}/mcp", **DECLARED}
    servers = {f"s{number}": gone for number in range(8)}
    orchestrator = configure({**servers, "well": await serving(ScriptedServer("well"))}, max_retries=0)
    with pytest.raises(NoMCPAvailableError) as caught:
        async with asyncio.timeout(10):
            await orchestrator.get_resources_for_domain("d")
    message = caught.value.message
    assert [f"s{number}: not connected" in message for number in range(8)] == [True] * 5 + [False] * 3
    assert message.endswith("; and 3 more)")
    assert len(caught.value.context["candidates"]) == 8


async def test_a_prompt_that_many_lack_names_a_few_of_them_and_counts_the_others(configure, serving):
    orchestrator = configure({f"s{number}": await serving(ScriptedServer(f"s{number}")) for number in range(8)})
    with pytest.raises(MCPConnectionError) as caught:
        async with asyncio.timeout(10):
            await orchestrator.get_prompt("nowhere")
    assert caught.value.message.count("prompts/get nowhere failed") == 5
    assert caught.value.message.endswith("; and 3 more")
    assert len(caught.value.context["attempts"]) == 8


@pytest.mark.parametrize(("method", "asked"), [("tools/list", "tools"), ("prompts/list", "prompts")])
async def test_what_could_not_be_listed_because_all_was_closed_is_not_said_to_be_nothing(configure, method, asked):
    async with asyncio.timeout(10), sick_server({method: http.hang}).listening() as server:
        orchestrator = configure({"a": {"transport": "streamable-http", "url": server.url}})
        await orchestrator.initialize()
        asking = asyncio.create_task(ASKING[asked](orchestrator))
        while orchestrator.registry.get_server("a").in_flight == 0:
            await asyncio.sleep(0.01)
        await orchestrator.close()
        with pytest.raises(MCPConnectionError):
            await asking


@pytest.mark.parametrize("fields", [{"domain": "x"}, {"capability": "x"}, {"server": "well", "domain": "d"}])
async def test_what_nobody_declares_is_what_the_error_is_about(configure, serving, fields):
    orchestrator = configure(
        {
            "well": {**await serving(ScriptedServer("well", prompts={"p": "text"})), "domains": ["books"]},
            "other": {**await serving(ScriptedServer("other")), "domains": ["d"]},
        }
    )
    for asking, kind in ((orchestrator.call_tool, ToolNotFoundError), (orchestrator.get_prompt, NoMCPAvailableError)):
        with pytest.raises(kind, match="no server that may be asked declares what is asked for"):
            await asking("echo", **fields)
    with pytest.raises(NoMCPAvailableError, match="no server declares the domain 'boks'; did you mean 'books'"):
        await orchestrator.get_resources_for_domain("boks")


async def test_a_tool_that_nobody_offers_may_be_at_a_server_that_could_not_be_asked(locked, configure, serving):
    orchestrator = configure({"well": await serving(ScriptedServer("well")), "locked": locked})
    with pytest.raises(ToolNotFoundError, match=r"did you mean 'echo'.*locked: not connected .auth_required"):
        await orchestrator.call_tool("ecko")
    explained = await orchestrator.explain(tool="ecko")
    assert explained.left_out["well"] == "does not list the tool 'ecko'"
    assert explained.left_out["locked"].startswith("its tools cannot be listed: not connected (auth_required)")


async def test_explain_does_not_say_that_a_server_that_was_never_started_lacks_a_tool(configure, serving):
    on_first_use = {**await serving(ScriptedServer("later")), "start": "on_first_use"}
    orchestrator = configure({"well": await serving(ScriptedServer("well", tools=[])), "later": on_first_use})
    explained = await orchestrator.explain(tool="echo")
    assert explained.left_out["later"] == "its tools cannot be listed: it is not started yet"


async def test_a_server_that_asked_for_patience_is_said_to_have_and_answers_nothing(configure):
    async with asyncio.timeout(10), sick_server().listening() as busy, sick_server().listening() as well:
        fields = {"transport": "streamable-http", "request_timeout": 3}
        orchestrator = configure(
            {
                "busy": {**fields, "url": busy.url, "domains": ["d", "e"]},
                "well": {**fields, "url": well.url, "domains": ["d"]},
            }
        )
        await orchestrator.list_tools()
        busy.answers["tools/call"] = http.status(429, retry_after="30")
        with pytest.raises(ToolCallError) as first:
            await orchestrator.call_tool("busy__echo")
        assert "passed_over" not in first.value.context  # it was asked
        patience = "it asked to be left alone: the server answered HTTP 429 (Too Many Requests)"
        explained = await orchestrator.explain(domain="d")
        assert (explained.answers, explained.left_out) == ("well", {"busy": patience})
        for question in ({"tool": "busy__echo"}, {"domain": "e"}):
            explained = await orchestrator.explain(**question)
            assert (explained.answers, explained.left_out["busy"]) == (None, patience)
        for asking in (orchestrator.call_tool("busy__echo"), orchestrator.get_resources_for_domain("e")):
            with pytest.raises(MCPOrchestratorException) as caught:
                await asking
            assert caught.value.context["cause"] == "busy"


async def test_explain_does_not_promise_an_answer_that_the_circuit_will_refuse(configure, serving):
    """Nobody else has the tool, but its server is not the last one of its domain."""
    servers = {name: {**await serving(ScriptedServer(name)), "domains": ["d"]} for name in ("a", "b")}
    orchestrator = configure(servers)
    await orchestrator.list_tools()
    orchestrator._life.running.connections["a"].supervisor.circuit.until = math.inf
    orchestrator.registry.mark_condition("a", "circuit_open", "it fails", retry_at=math.inf)
    explained = await orchestrator.explain(tool="a__echo")
    assert (explained.answers, explained.left_out["a"]) == (None, "its circuit is open: it fails")
    with pytest.raises(ToolCallError) as caught:
        await orchestrator.call_tool("a__echo")
    assert caught.value.context["cause"] == "circuit_open"
