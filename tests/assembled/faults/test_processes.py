"""What servers over stdio do wrong, and what it costs: their own question, and nobody else's."""

import asyncio
import json
import sys

import psutil
import pytest
from mcp_orchestra import NoMCPAvailableError

pytestmark = pytest.mark.anyio

LOST, LATE, ANSWER = "lost", "timeout", "answer"
LIMIT = 1_000_000

# Fault → what the question ends with, seconds in which it does so at the latest, whether the connection survives.
# A listing or read that fails is a ResourceFetchError, or MCPConnectionError if the connection is lost; a call that
# fails is a ToolCallError.
FAULTS = {
    # kill -9, exit(3), half a line then death
    "crashes": (LOST, 0.5, False),
    "exits": (LOST, 0.5, False),
    "half-line": (LOST, 0.5, False),
    # stderr flood
    "floods-stderr": (ANSWER, 0.5, True),
    # banner and log lines on stdout
    "banner": (ANSWER, 0.5, True),
    # server closes stdin or stdout and stays alive: the one is noticed with the next word to it, the other at once
    "closes-stdin": (LATE, 1.0, False),
    "closes-stdout": (LOST, 0.6, False),
    # garbage line instead of an answer; invalid UTF-8
    "garbage": (LATE, 1.0, True),
    "invalid-utf8": (ANSWER, 0.5, True),
    # what is slow, endless or for somebody else (also rows of the table of connections)
    "hangs": (LATE, 1.0, True),
    "notifies-endlessly": (LATE, 1.0, None),  # it reads nothing any more: lost if the pipe is full by then
    "foreign-id": (LATE, 1.0, True),
    # content
    "huge-line": ("too_large", 1.0, True),
    "malformed": ("protocol", 0.5, True),
}
GRACE = 1.0
"""Seconds more that a busy machine may take."""

CASES = {f"{fault}-{operation}": (fault, operation) for fault in FAULTS for operation in ("list", "read", "call")}


def verdict(operation: str, cause: str) -> str:
    if cause == ANSWER:
        return ANSWER
    if operation == "call":
        return f"ToolCallError {cause}"
    return f"{'MCPConnectionError' if cause == LOST else 'ResourceFetchError'} {cause}"


async def test_a_process_that_misbehaves_costs_its_own_question_in_time(ward, by_stdio):
    servers = {case: by_stdio(fault, on=operation) for case, (fault, operation) in CASES.items()}
    sick = await ward({case: {**fields, "max_message_bytes": LIMIT} for case, fields in servers.items()})
    since = sick.since()
    found = await sick.ask({case: operation for case, (_, operation) in CASES.items()})
    assert {case: one.verdict for case, one in found.items()} == {
        case: verdict(operation, FAULTS[fault][0]) for case, (fault, operation) in CASES.items()
    }
    late = {case: one.seconds for case, one in found.items() if one.seconds > FAULTS[CASES[case][0]][1] + GRACE}
    assert late == {}
    assert "max_message_bytes=1000000" in found["huge-line-call"].message
    survives = {case: FAULTS[fault][2] for case, (fault, _) in CASES.items() if FAULTS[fault][2] is not None}
    await asyncio.gather(*map(sick.recover, survives))
    at = sick.since()
    assert {case: at[case] == since[case] for case in survives} == survives


async def test_json_of_any_depth_costs_its_own_question(ward, by_stdio):
    """Whether the question is told or has to wait for its end depends on what can be read of the answer."""
    sick = await ward({operation: by_stdio("deep-json", on=operation) for operation in ("list", "read", "call")})
    since = sick.since()
    found = await sick.ask({operation: operation for operation in sick.sick})
    for operation, one in found.items():
        assert one.verdict in {verdict(operation, LATE), verdict(operation, "protocol")}
        assert one.seconds < 1 + GRACE
    await asyncio.gather(*map(sick.recover, sick.sick))
    assert sick.since() == since


async def test_what_a_process_says_beside_the_protocol_is_shown_and_bounded(ward, by_stdio):
    sick = await ward({fault: by_stdio(fault, on="list") for fault in ("banner", "garbage", "floods-stderr")})
    await sick.ask(dict.fromkeys(sick.sick, "list"))
    assert sick.status("banner")["stderr"] == ["stdout: Welcome!", 'stdout: {"level": "info", "message": "starting"}']
    assert sick.status("garbage")["stderr"] == ["stdout: Traceback (most recent call last): {["]
    assert len(json.dumps(sick.status("floods-stderr"))) < 64 * 1024


async def test_a_process_that_does_not_start_to_speak_costs_its_own_timeout(ward, by_stdio):
    servers = {"silent": by_stdio("silent", timeout=1), "exits-at-once": by_stdio("exits-at-once")}
    sick = await ward(servers, max_retries=0)
    assert "no answer within 1 s" in sick.status("silent")["error"]
    assert sick.status("exits-at-once")["error"] == "the process ended with status 3: the database is not there"
    loop = asyncio.get_running_loop()
    for server in sick.sick:
        started = loop.time()
        with pytest.raises(NoMCPAvailableError):
            await sick.orchestrator.read_resource("fault://0", server=server)
        assert loop.time() - started < 2 + GRACE


async def test_s14_twenty_processes_that_ignore_every_request_to_end_are_gone_in_five_seconds(ward, by_stdio):
    sick = await ward({f"s{number}": by_stdio("ignores-shutdown") for number in range(20)})
    async with asyncio.timeout(5):
        await sick.orchestrator.close()
    assert [child for child in psutil.Process().children() if "ignores-shutdown" in child.cmdline()] == []


async def test_s14_a_child_that_its_server_leaves_behind_is_ended(ward, by_stdio, until):
    sick = await ward({"a": by_stdio("leaves-child")})

    def family():
        servers = [child for child in psutil.Process().children() if "leaves-child" in child.cmdline()]
        return servers + [child for server in servers for child in server.children()]

    both = family()
    assert len(both) == 2
    await sick.orchestrator.close()
    await until(lambda: not any(one.is_running() for one in both))


async def test_a_process_that_stops_reading_is_given_up_once_it_takes_nothing_more(ward, by_stdio, outcome, until):
    sick = await ward({"a": by_stdio("stops-reading")})
    (before,) = psutil.Process().children()
    client = sick.orchestrator.registry.get_server("a").client
    reads = [outcome(client.read_resource(f"fault://{'x' * 10_000}")) for _ in range(40)]
    assert {one.verdict for one in await asyncio.gather(*reads)} <= {
        "ResourceFetchError timeout",
        "MCPConnectionError lost",
    }
    await until(lambda: not before.is_running())


async def test_a_command_is_never_given_to_a_shell(configure, tmp_path):
    victim = tmp_path / "victim"
    command = f"{sys.executable}; touch {victim}"
    orchestrator = configure({"a": {"transport": "stdio", "command": command, "args": [f"$(touch {victim})"]}})
    with pytest.raises(NoMCPAvailableError) as caught:
        await orchestrator.initialize()
    assert "was not found" in caught.value.context["failed"]["a"]
    assert not victim.exists()
