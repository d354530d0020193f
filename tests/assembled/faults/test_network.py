"""What the network does between us and a server, over each transport that has one."""

import asyncio

import pytest
from mcp_orchestra import MCPOrchestratorException, ToolCallError
from mcp_orchestra.testing.faults import FaultProxy
from mcp_orchestra.testing.faults.healthy import URI
from mcp_orchestra.testing.servers import ScriptedServer

pytestmark = pytest.mark.anyio

GRACE = 1.0
"""Seconds more that a busy machine may take."""


def latency(proxy):
    proxy.upstream.latency = proxy.downstream.latency = 0.1
    proxy.downstream.jitter = 0.1


def lost_answers(proxy):
    proxy.downstream.swallow = True


def drip(proxy):
    proxy.downstream.drip = (1, 0.1)


def garbage(proxy):
    proxy.downstream.garbage = b"\x00\xff garbage\r\n\r\n"


# What the network does → what a question may end with. Over streamable HTTP it is the request that breaks; over SSE the
# stream of answers may be the first to notice, and with it ends the connection.
ANSWER, LATE, BROKEN = {"answer"}, {"timeout"}, {"broken", "lost"}
FAULTS = {
    "latency": (latency, ANSWER),
    "black-hole": (FaultProxy.black_hole, LATE),
    "lost-answers": (lost_answers, LATE),
    "pause": (FaultProxy.pause, LATE),
    "drip": (drip, LATE),
    "cut": (lambda proxy: proxy.downstream.cut(after=20), BROKEN),
    "reset-answer": (lambda proxy: proxy.downstream.reset(after=20), BROKEN),
    "reset-question": (lambda proxy: proxy.upstream.reset(after=20), BROKEN),
    "garbage": (garbage, BROKEN),
}


CASES = {f"{fault}-{operation}": (fault, operation) for fault in FAULTS for operation in ("list", "read", "call")}


@pytest.fixture(params=["streamable-http", "sse"])
def transport(request):
    return request.param


async def test_a_network_that_fails_costs_the_questions_on_their_way(ward, serving, proxied, transport):
    fields = await serving(ScriptedServer("behind", resources={URI: "x"}), transport)
    proxies = {case: await proxied(fields["url"]) for case in CASES}
    sick = await ward({case: {**fields, "url": proxy.url} for case, proxy in proxies.items()})
    for case, proxy in proxies.items():
        FAULTS[CASES[case][0]][0](proxy)
    found = await sick.ask({case: operation for case, (_, operation) in CASES.items()})
    wrong = {}
    for case, (fault, operation) in CASES.items():
        error, _, cause = found[case].verdict.rpartition(" ")
        failed = {"ToolCallError"} if operation == "call" else {"ResourceFetchError", "MCPConnectionError"}
        if cause not in FAULTS[fault][1] or error not in (failed if cause != "answer" else {""}):
            wrong[case] = found[case]
    assert wrong == {}
    assert {case: one.seconds for case, one in found.items() if one.seconds > 1 + GRACE} == {}
    for proxy in proxies.values():
        await proxy.heal()
    await asyncio.gather(*map(sick.recover, sick.sick))


async def test_a_server_behind_a_network_that_is_down_is_shown_so_and_answers_once_it_is_back(
    ward, serving, proxied, until, transport
):
    fields = await serving(ScriptedServer("behind"), transport)
    proxy = await proxied(fields["url"])
    sick = await ward({"a": {**fields, "url": proxy.url, "request_timeout": 5}})
    await proxy.refuse()
    proxy.reset()
    await until(lambda: not sick.status("a")["connected"], seconds=1 + GRACE)
    assert sick.status("a")["error"]
    with pytest.raises(MCPOrchestratorException):
        await sick.orchestrator.call_tool("echo", server="a")
    await proxy.heal()
    assert not (await sick.orchestrator.call_tool("echo", server="a")).is_error
    assert sick.status("a")["connected"]


@pytest.mark.parametrize("break_it", [lost_answers, FAULTS["cut"][0], FAULTS["reset-answer"][0]])
async def test_a_call_whose_answer_is_lost_is_not_made_again(ward, serving, proxied, transport, break_it):
    server = ScriptedServer("counts")
    fields = await serving(server, transport)
    proxy = await proxied(fields["url"])
    sick = await ward({"a": {**fields, "url": proxy.url}, "spare": {**fields}})
    break_it(proxy)
    with pytest.raises(ToolCallError) as caught:
        await sick.orchestrator.call_tool("count", server="a")
    assert caught.value.context["delivered"] == "maybe"
    await proxy.heal()
    await sick.recover("a")
    assert server.requests["tools/call:count"] == 1
