"""Who is asked: by domain, capability, URI and tool; and `explain`, which says so without asking."""

import asyncio
import math
from collections import Counter

import pytest
from mcp.shared.exceptions import MCPError
from mcp_orchestra import Explanation, NoMCPAvailableError, ResourceFetchError, ToolCallError, ToolNotFoundError
from mcp_orchestra.connection.backoff import Backoff
from mcp_orchestra.testing.faults import FaultProxy, http, sick_server
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess

pytestmark = pytest.mark.anyio


def text(answer):
    return (answer.contents if hasattr(answer, "contents") else answer.content)[0].text


def order(explanation):
    return [(one.server_id, one.because) for one in explanation.candidates]


async def replicas(serving, *names, **more):
    """Return the fields of servers of the domain ``d`` that differ in their names only."""
    return {
        name: {**await serving(ScriptedServer(name)), "domains": ["d"], "capabilities": ["c"], **more} for name in names
    }


# Policies


@pytest.mark.parametrize(
    ("policy", "counts"), [("priority", [12]), ("round-robin", [4, 4, 4]), ("weighted", [8, 2, 2])]
)
async def test_a_policy_shares_questions_out_among_equals(configure, serving, policy, counts):
    servers = await replicas(serving, "a", "b", "c")
    servers["a"]["weight"] = 4
    orchestrator = configure(servers, routing={"policy": policy})
    asked = Counter([text(await orchestrator.call_tool("echo", domain="d"))[0] for _ in range(12)])
    assert [count for _, count in sorted(asked.items())] == counts


async def test_a_domain_may_have_a_policy_of_its_own(configure, serving):
    orchestrator = configure(await replicas(serving, "a", "b"), routing={"domains": {"d": {"policy": "round-robin"}}})
    by_domain = [text(await orchestrator.call_tool("echo", domain="d")) for _ in range(4)]
    by_capability = [text(await orchestrator.call_tool("echo", capability="c")) for _ in range(3)]
    assert by_domain == ["a: ", "b: "] * 2
    assert by_capability == ["a: "] * 3


async def test_a_key_leads_calls_reads_and_domains_to_the_same_server(configure, serving):
    servers = {
        name: {
            **await serving(ScriptedServer(name, resources={"x://1": name})),
            "domains": ["d"],
            "capabilities": ["c"],
        }
        for name in ("a", "b", "c")
    }
    orchestrator = configure(servers, routing={"policy": "sticky"})
    await orchestrator.gather_all_resources()  # so that all of them are known to have the resource
    homes = set()
    for key in map(str, range(12)):
        home = text(await orchestrator.read_resource("x://1", key=key))
        homes.add(home)
        assert text(await orchestrator.call_tool("echo", domain="d", key=key)) == f"{home}: "
        assert text(await orchestrator.call_tool("echo", capability="c", key=key)) == f"{home}: "
        assert (await orchestrator.get_resources_for_domain("d", key=key))["1"]["data"] == home
        assert (await orchestrator.explain(domain="d", key=key)).candidates[0].server_id == home
    assert len(homes) > 1


async def test_a_key_that_is_no_text_is_a_wrong_call(configure, serving):
    orchestrator = configure(await replicas(serving, "a"))
    for asking in (
        orchestrator.call_tool("echo", key=1),
        orchestrator.read_resource("x://1", key=1),
        orchestrator.get_resources_for_domain("d", key=1),
        orchestrator.explain(domain="d", key=1),
    ):
        with pytest.raises(TypeError, match="key must be a str"):
            await asking


# Tools that may run twice


class Late(ScriptedServer):
    """Carries calls out, and answers too late."""

    async def _call_tool(self, ctx, params):
        answer = await super()._call_tool(ctx, params)
        await asyncio.sleep(5)
        return answer


@pytest.mark.parametrize(
    ("late_may", "spare_may", "goes_on"),
    [(["echo"], [], True), (["*"], [], True), ([], ["echo"], False), (["count"], ["*"], False)],
)
async def test_a_call_that_may_have_run_is_repeated_only_if_its_servers_configuration_says_so(
    configure, serving, late_may, spare_may, goes_on
):
    late, spare = Late("late"), ScriptedServer("spare")
    orchestrator = configure(
        {
            "late": {**await serving(late), "priority": 1, "domains": ["d"], "safe_tools": late_may},
            "spare": {**await serving(spare), "priority": 2, "domains": ["d"], "safe_tools": spare_may},
        }
    )
    await orchestrator.list_tools()
    if goes_on:  # the timeout holds for each server that is asked
        assert text(await orchestrator.call_tool("echo", domain="d", timeout=1)) == "spare: "
    else:
        with pytest.raises(ToolCallError) as caught:
            await orchestrator.call_tool("echo", domain="d", timeout=1)
        assert caught.value.context["delivered"] == "maybe"
        assert [attempt["server_id"] for attempt in caught.value.context["attempts"]] == ["late"]
    assert (late.requests["tools/call"], spare.requests["tools/call"]) == (1, int(goes_on))


# Resources: owner, template, anybody


class Shop(ScriptedServer):
    """Has more than it lists: whatever its templates promise."""

    async def _read_resource(self, ctx, params):
        if params.uri.startswith("shop://"):
            self.resources[params.uri] = f"{self.name} has {params.uri}"
        return await super()._read_resource(ctx, params)


async def shops(serving):
    """Return three servers: one with nothing to do with it, one with a template, one that lists one thing."""
    servers = {
        "other": ScriptedServer("other", resources={"other://1": "o"}, templates=["other://{id}"]),
        "shop": Shop("shop", resources={"shop://opening-hours": "9 to 5"}, templates=["shop://{kind}/{id}"]),
        "owner": ScriptedServer("owner", resources={"shop://book/1": "the owner's"}),
    }
    return servers, {name: {**await serving(server), "domains": [name]} for name, server in servers.items()}


async def test_a_resource_is_read_from_its_owner_before_those_with_a_template(configure, serving):
    servers, fields = await shops(serving)
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    for server in servers.values():
        server.requests.clear()
    assert text(await orchestrator.read_resource("shop://book/1")) == "the owner's"
    assert [server.requests["resources/read"] for server in servers.values()] == [0, 0, 1]
    assert [server.requests["resources/templates/list"] for server in servers.values()] == [0, 0, 0]


async def test_a_resource_that_nobody_lists_is_read_from_whoever_has_a_template(configure, serving):
    servers, fields = await shops(serving)
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    for server in servers.values():
        server.requests.clear()
    for number in (2, 3, 4):
        assert text(await orchestrator.read_resource(f"shop://book/{number}")) == f"shop has shop://book/{number}"
    assert [server.requests["resources/read"] for server in servers.values()] == [0, 3, 0]
    assert [server.requests["resources/templates/list"] for server in servers.values()] == [1, 1, 0]
    assert orchestrator.cache.get("templates:shop") == {"templates": ["shop://{kind}/{id}"]}


async def test_s33_with_a_strict_policy_each_question_asks_anew_where_to_ask_and_those_at_once_share_that(
    configure, serving
):
    server = Shop("shop", templates=["shop://{kind}/{id}"], tools=["echo"])
    fields = {"shop": await serving(server), "other": await serving(ScriptedServer("other", tools=[]))}
    orchestrator = configure(fields, cache={"ttl_policy": "strict"})
    await orchestrator.initialize()
    for number in range(2):
        await orchestrator.read_resource(f"shop://book/{number}")
        await orchestrator.call_tool("echo", {"text": "hi"})
    assert (server.requests["resources/templates/list"], server.requests["tools/list"]) == (2, 2)
    await asyncio.gather(*(orchestrator.read_resource(f"shop://book/{number}") for number in range(20)))
    assert server.requests["resources/templates/list"] == 3
    server._hints["ttl_ms"] = 60_000
    for number in range(3):
        await orchestrator.read_resource(f"shop://book/{number}")
    assert server.requests["resources/templates/list"] == 4


async def test_a_server_that_is_slow_to_list_its_templates_does_not_hold_up_the_others(configure, serving):
    servers, fields = await shops(serving)
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    servers["other"].gate.clear()
    async with asyncio.timeout(8):
        for number in range(20):  # it is waited for once, and then left alone for a while
            assert text(await orchestrator.read_resource(f"shop://book/x{number}")) == f"shop has shop://book/x{number}"
    servers["other"].gate.set()


async def test_an_announced_change_brings_new_templates(configure, serving, until):
    servers, fields = await shops(serving)
    orchestrator = configure(fields)
    assert text(await orchestrator.read_resource("shop://book/2")) == "shop has shop://book/2"
    servers["shop"].templates.append("shop:{+rest}")
    await servers["shop"].notifier.tell_resources()

    async def known():
        explained = await orchestrator.explain(uri="shop:anything/at/all")
        return dict(order(explained))["shop"] == "has a template for it"

    await until(known)


async def test_what_an_owner_says_no_to_is_asked_of_nobody_else(configure, serving):
    first = ScriptedServer("first", resources={"x://1": "1"})
    second = ScriptedServer("second", resources={"x://1": "1"})
    orchestrator = configure({"first": await serving(first), "second": await serving(second)})
    await orchestrator.gather_all_resources()
    del first.resources["x://1"]  # without telling
    with pytest.raises(ResourceFetchError) as caught:
        await orchestrator.read_resource("x://1")
    (attempt,) = caught.value.context["attempts"]
    assert (attempt["server_id"], attempt["cause"]) == ("first", "rejected")


async def test_an_owner_that_fails_inside_is_replaced_by_another_owner(configure, serving):
    class Broken(ScriptedServer):
        async def _read_resource(self, ctx, params):
            if self.requests["resources/read"]:
                raise MCPError(-32603, "the disk is gone")
            return await super()._read_resource(ctx, params)

    fields = {
        "broken": {**await serving(Broken("broken", resources={"x://1": "broken"})), "priority": 1},
        "well": await serving(ScriptedServer("well", resources={"x://1": "well"})),
    }
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    assert text(await orchestrator.read_resource("x://1")) == "well"


# explain


async def test_explain_names_the_order_who_is_left_out_and_who_would_answer(configure, serving):
    servers = await replicas(serving, "a", "b")
    servers["a"] |= {"priority": 9, "weight": 3}
    servers["off"] = {**servers["b"], "enabled": False}
    servers["stranger"] = await serving(ScriptedServer("stranger"))
    async with ServerProcess(name="gone") as process:
        servers["gone"] = {"transport": "streamable-http", "url": process.url, "priority": 1, "domains": ["d"]}
        orchestrator = configure(servers)
        await orchestrator.initialize()
    while orchestrator.registry.get_server("gone").connected:
        await asyncio.sleep(0.01)
    explained = await orchestrator.explain(domain="d")
    assert isinstance(explained, Explanation)
    assert (explained.question.kind, explained.question.value, explained.policy) == ("domain", "d", "priority")
    assert [one.server_id for one in explained.candidates] == ["gone", "a", "b"]
    gone, a, _ = explained.candidates
    assert (gone.usable, a.usable, a.state, a.name, a.priority, a.weight) == (False, True, "ready", "A", 9, 3)
    assert explained.left_out.keys() == {"gone", "off", "stranger"}
    assert explained.left_out["gone"].startswith("not connected (")
    assert explained.left_out["off"] == "disabled"
    assert explained.left_out["stranger"] == "does not declare the domain 'd'"
    assert (explained.answers, explained.why) == (
        "a",
        "the first in this order that can be asked: declares the domain",
    )


async def test_a_cached_copy_answers_for_a_server_that_is_down(configure, serving):
    servers = await replicas(serving, "spare")
    async with ServerProcess(name="gone") as process:
        servers["gone"] = {"transport": "streamable-http", "url": process.url, "priority": 1, "domains": ["d"]}
        orchestrator = configure(servers)
        await orchestrator.get_resources_for_domain("d")
    while orchestrator.registry.get_server("gone").connected:
        await asyncio.sleep(0.01)
    explained = await orchestrator.explain(domain="d")
    assert explained.answers == "gone"
    assert "gone" not in explained.left_out
    assert (await orchestrator.get_resources_for_domain("d"))["0"]["data"] == "gone text 0"


def open_circuit(orchestrator, server_id):
    """Have a server left alone for good, unless nobody else is there."""
    orchestrator._life.running.connections[server_id].supervisor.circuit.until = math.inf
    orchestrator.registry.get_server(server_id).state = "circuit_open"


async def test_a_server_whose_circuit_is_open_is_passed_over_until_it_is_the_last(configure, serving):
    orchestrator = configure(await replicas(serving, "a", "b"))
    await orchestrator.initialize()
    open_circuit(orchestrator, "a")
    explained = await orchestrator.explain(capability="c")
    assert (explained.left_out, explained.answers) == ({"a": "its circuit is open"}, "b")
    assert text(await orchestrator.call_tool("echo", capability="c")) == "b: "
    assert (await orchestrator.get_resources_for_domain("d"))["0"]["data"] == "b text 0"
    open_circuit(orchestrator, "b")
    assert (await orchestrator.explain(capability="c")).why.startswith("the last resort")
    assert text(await orchestrator.call_tool("echo", capability="c")) == "a: "
    orchestrator.cache.invalidate()
    assert (await orchestrator.get_resources_for_domain("d"))["0"]["data"] == "a text 0"
    assert text(await orchestrator.read_resource("res://a/0")) == "a text 0"


@pytest.mark.parametrize("asked", ["domain", "uri"])
async def test_when_who_is_connected_fails_one_that_is_back_already_is_connected_and_asked(
    configure, until, monkeypatch, asked
):
    monkeypatch.setattr(Backoff, "next", lambda self: 30.0)
    async with (
        asyncio.timeout(20),
        sick_server().listening() as sick,
        sick_server().listening() as well,
        FaultProxy(well.url) as proxy,
    ):
        fields = {"transport": "streamable-http", "domains": ["d"]}
        orchestrator = configure({"a": {**fields, "url": sick.url}, "b": {**fields, "url": proxy.url}})
        await orchestrator.gather_all_resources()
        await proxy.refuse()
        proxy.reset()
        b = orchestrator.registry.get_server("b")
        await until(lambda: b.state == "backing_off")
        await proxy.heal()
        sick.answers.update({"resources/list": http.cut_body, "resources/read": http.cut_body})
        if asked == "uri":
            assert text(await orchestrator.read_resource("fault://0")) == "well"
        else:
            orchestrator.cache.invalidate()
            assert list(await orchestrator.get_resources_for_domain("d")) == ["0"]
        assert b.state == "ready"


@pytest.mark.parametrize("servers", ["a", "ab"])
@pytest.mark.parametrize("asked", ["domain", "uri"])
async def test_an_error_has_the_facts_of_the_last_failure(configure, asked, servers):
    faults = {"resources/list": http.endless_cursor, "resources/read": http.garbage}
    async with asyncio.timeout(20), sick_server(faults).listening() as sick:
        fields = {"transport": "streamable-http", "domains": ["d"], "url": sick.url}
        orchestrator = configure(
            dict.fromkeys(servers, fields) | {servers[-1]: {**fields, "name": "Last"}}, max_pages=5
        )
        await orchestrator.initialize()
        asking = {"domain": orchestrator.get_resources_for_domain, "uri": orchestrator.read_resource}[asked]
        with pytest.raises(ResourceFetchError) as caught:
            await asking("d" if asked == "domain" else "fault://0")
    error = caught.value
    assert isinstance(error.__cause__, Exception)
    assert [one["server_id"] for one in error.context["attempts"]] == list(servers)
    expected = {"cause": "protocol"} if asked == "uri" else {"cause": "limit", "limit": "max_pages", "items": 5}
    assert expected.items() <= error.context.items()
    assert (error.context["server_id"], error.context["server"]) == (servers[-1], "Last")


async def test_a_call_that_fails_names_who_was_passed_over(configure, serving):
    servers = await replicas(serving, "a", "b")
    orchestrator = configure(servers)
    await orchestrator.list_tools()
    open_circuit(orchestrator, "a")
    with pytest.raises(ToolCallError) as caught:
        await orchestrator.call_tool("slow", {"seconds": 5}, domain="d", timeout=0.2)
    assert [attempt["server_id"] for attempt in caught.value.context["attempts"]] == ["b"]
    assert caught.value.context["passed_over"] == {"a": "its circuit is open"}


async def test_explain_uses_up_nobodys_turn(configure, serving):
    orchestrator = configure(await replicas(serving, "a", "b"), routing={"policy": "round-robin"})
    asked = []
    for _ in range(4):
        explained = [(await orchestrator.explain(domain="d")).answers for _ in range(3)]
        assert len(set(explained)) == 1
        asked.append(text(await orchestrator.call_tool("echo", domain="d"))[0])
        assert asked[-1] == explained[0]
    assert asked == ["a", "b", "a", "b"]


async def test_explain_asks_nobody_for_what_is_known_and_counts_nothing(configure, serving):
    servers, fields = await shops(serving)
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    await orchestrator.list_tools()
    await orchestrator.explain(uri="shop://book/2")
    requests, counted = [dict(server.requests) for server in servers.values()], orchestrator.cache.get_stats()
    for question in ({"domain": "shop"}, {"capability": "c"}, {"uri": "shop://book/3"}, {"tool": "shop__echo"}):
        await orchestrator.explain(**question)
    assert [dict(server.requests) for server in servers.values()] == requests
    assert orchestrator.cache.get_stats() == counted


async def test_explain_finds_who_has_a_resource(configure, serving):
    _, fields = await shops(serving)
    orchestrator = configure(fields)
    await orchestrator.gather_all_resources()
    listed = await orchestrator.explain(uri="shop://book/1")
    assert order(listed) == [("owner", "lists it"), ("other", "may have it"), ("shop", "may have it")]
    promised = await orchestrator.explain(uri="shop://book/2")
    assert order(promised) == [("shop", "has a template for it"), ("other", "may have it"), ("owner", "may have it")]
    assert (listed.answers, promised.answers) == ("owner", "shop")


async def test_explain_finds_who_has_a_tool(configure, serving):
    orchestrator = configure(
        {
            "a": await serving(ScriptedServer("a", tools=["echo", "count"])),
            "b": await serving(ScriptedServer("b", tools=["echo"])),
        }
    )
    alone = await orchestrator.explain(tool="count")
    assert (alone.answers, alone.left_out) == ("a", {"b": "does not list the tool 'count'"})
    shared = await orchestrator.explain(tool="echo")
    assert (shared.answers, [one.server_id for one in shared.candidates]) == (None, ["a", "b"])
    assert "call a__echo, b__echo" in shared.why
    with pytest.raises(ToolNotFoundError):
        await orchestrator.call_tool("echo")
    assert (await orchestrator.explain(tool="b__echo")).answers == "b"
    assert (await orchestrator.explain(tool="nothing")).why == "no server lists the tool 'nothing'"


async def test_explain_says_when_nobody_would_answer(configure, serving):
    orchestrator = configure(await replicas(serving, "a"))
    explained = await orchestrator.explain(domain="x")
    assert (explained.candidates, explained.answers) == ((), None)
    assert explained.why == "no enabled server declares the domain 'x'; known domains: d"
    with pytest.raises(NoMCPAvailableError):
        await orchestrator.get_resources_for_domain("x")


@pytest.mark.parametrize("given", [{}, {"domain": "d", "uri": "x://1"}, {"key": "k"}, {"tool": 1}])
async def test_explain_takes_exactly_one_question(configure, serving, given):
    orchestrator = configure(await replicas(serving, "a"))
    with pytest.raises(TypeError):
        await orchestrator.explain(**given)
