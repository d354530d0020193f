"""The prompts of many servers, and failover among those that have one."""

import asyncio

import pytest
from mcp_orchestra import MCPConnectionError, MCPOrchestratorException, NoMCPAvailableError, UnknownServerError
from mcp_orchestra.connection.backoff import Backoff
from mcp_orchestra.testing.faults import FaultProxy
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


def text(prompt):
    (message,) = prompt.messages
    return message.content.text


def failing(method):
    """Return a server with a prompt that answers one method with an HTTP error."""

    async def answer(scope, receive, send):
        if dict(scope.get("headers", ())).get(b"mcp-method") == method.encode():
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    app = ScriptedServer("a", prompts={"greet": "hello"}).app()
    return answer


@pytest.fixture
async def three(configure, serving):
    """Three servers: one without prompts, two that share one."""
    servers = [
        ScriptedServer("a"),
        ScriptedServer("b", prompts={"greet": "hello {text}"}),
        ScriptedServer("c", prompts={"greet": "hi {text}", "leave": "bye"}),
    ]
    fields = {server.name: {**await serving(server), "domains": ["d"], "capabilities": ["x"]} for server in servers}
    fields["c"]["capabilities"] = ["x", "y"]
    return configure(fields), servers


async def test_the_prompts_of_all_servers_are_listed_and_one_that_has_none_is_no_failure(three):
    orchestrator, _ = three
    found = await orchestrator.list_prompts()
    assert [(prompt.server_id, prompt.name, prompt.required) for prompt in found] == [
        ("b", "greet", ("text",)),
        ("c", "greet", ("text",)),
        ("c", "leave", ()),
    ]
    assert found[0].arguments == ("text",)


async def test_a_prompt_comes_from_the_first_server_that_has_it(three):
    orchestrator, _ = three
    assert text(await orchestrator.get_prompt("greet", {"text": "you"})) == "b: hello you"
    assert text(await orchestrator.get_prompt("leave")) == "c: bye"
    assert text(await orchestrator.get_prompt("greet", {"text": "you"}, server="c")) == "c: hi you"
    assert text(await orchestrator.get_prompt("greet", {"text": "you"}, capability="y")) == "c: hi you"
    assert text(await orchestrator.get_prompt("greet", {"text": "you"}, domain="d", key="me")) == "b: hello you"


async def test_the_next_server_gives_a_prompt_when_one_fails_or_is_gone(configure, serving):
    async with ServerProcess(name="victim") as victim:
        fields = {
            "gone": {"transport": victim.transport, "url": victim.url, "priority": 1},
            "failing": {**await serving(failing("prompts/get")), "priority": 2},
            "well": {**await serving(ScriptedServer("c", prompts={"greet": "hello"})), "priority": 3},
        }
        orchestrator = configure(fields)
        await orchestrator.initialize()
        await victim.kill()
        assert text(await orchestrator.get_prompt("greet")) == "c: hello"
        with pytest.raises(MCPOrchestratorException, match="500"):
            await orchestrator.get_prompt("greet", server="failing")


async def test_s24_a_prompt_of_a_server_that_was_down_is_had_at_once_when_that_is_back(
    configure, serving, until, monkeypatch
):
    """Although another server, which never had it, says that there is no such prompt."""
    monkeypatch.setattr(Backoff, "next", lambda self: 30.0)
    owner = await serving(ScriptedServer("owner", prompts={"greet": "hello"}))
    other = await serving(ScriptedServer("other", prompts={}))
    async with asyncio.timeout(20), FaultProxy(owner["url"]) as proxy:
        orchestrator = configure({"owner": {**owner, "url": proxy.url}, "other": other})
        assert text(await orchestrator.get_prompt("greet")) == "owner: hello"
        await proxy.refuse()
        proxy.reset()
        await until(lambda: orchestrator.registry.get_server("owner").state == "backing_off")
        with pytest.raises(MCPConnectionError) as caught:
            await orchestrator.get_prompt("greet")
        assert "other: " not in caught.value.message
        assert "Unknown prompt" in caught.value.message
        assert "owner: not connected (backing_off)" in caught.value.message
        assert caught.value.context["passed_over"].keys() == {"owner"}
        await proxy.heal()
        assert text(await orchestrator.get_prompt("greet")) == "owner: hello"


async def test_a_prompt_that_nobody_has_is_an_error_that_names_everybody_asked(three):
    orchestrator, servers = three
    with pytest.raises(MCPConnectionError, match="no server could give the prompt 'none'") as caught:
        await orchestrator.get_prompt("none")
    assert [attempt["server_id"] for attempt in caught.value.context["attempts"]] == ["a", "b", "c"]
    assert [server.requests["prompts/get"] for server in servers] == [0, 1, 1]
    with pytest.raises(MCPConnectionError, match="Unknown prompt") as caught:
        await orchestrator.get_prompt("none", server="b")
    assert len(caught.value.context["attempts"]) == 1
    with pytest.raises(NoMCPAvailableError, match="declares what is asked for"):
        await orchestrator.get_prompt("greet", domain="nobody's")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": 5}, TypeError),
        ({"name": "greet", "arguments": {"text": 5}}, TypeError),
        ({"name": "greet", "arguments": ["text"]}, TypeError),
        ({"name": "greet", "key": 5}, TypeError),
        ({"name": "greet", "server": "nobody"}, UnknownServerError),
    ],
)
async def test_s16_a_wrong_question_for_a_prompt_is_refused_before_anybody_is_asked(three, given, error):
    orchestrator, servers = three
    with pytest.raises(error):
        await orchestrator.get_prompt(**given)
    assert [server.requests["prompts/get"] for server in servers] == [0, 0, 0]


async def test_a_server_that_cannot_list_its_prompts_is_left_out_unless_failures_are_wanted(configure, serving):
    sick = await serving(failing("prompts/list"))
    well = await serving(ScriptedServer("b", prompts={"greet": "hello"}))
    orchestrator = configure({"a": sick, "b": well})
    assert [prompt.server_id for prompt in await orchestrator.list_prompts()] == ["b"]
    hurried = configure({"a": sick, "b": well}, fail_fast=True)
    with pytest.raises(MCPOrchestratorException, match="500"):
        await hurried.list_prompts()
