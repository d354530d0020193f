"""The servers of the fault kit answer as they should, but for their fault, and all faults have their function."""

import asyncio
import gzip
import json
import subprocess
import typing
from urllib.parse import urlsplit

import pytest
from mcp_orchestra.testing.faults import StdioFault, http, sick_command, sick_server
from mcp_orchestra.testing.faults.healthy import TOOL, URI
from mcp_orchestra.testing.faults.stdio import PROCESS_FAULTS, REQUEST_FAULTS
from mcp_orchestra.testing.raw_http import RawRequest, raw_answer

pytestmark = pytest.mark.anyio

METHODS = ("server/discover", "tools/list", "resources/list", "tools/call", "resources/read")


def said_by(fault: StdioFault, **options) -> list[str]:
    """What a server writes that is asked for everything once."""
    asked = [{"jsonrpc": "2.0", "id": method, "method": method, "params": {}} for method in METHODS]
    text = "".join(json.dumps(message) + "\n" for message in asked)
    done = subprocess.run(
        sick_command(fault, **options), input=text.encode(), capture_output=True, timeout=30, check=False
    )
    return done.stdout.decode(errors="replace").splitlines()


def answered(lines: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in lines if line.startswith("{")]


def test_every_fault_that_can_be_named_exists_and_the_other_way_round():
    assert set(typing.get_args(StdioFault)) == {*PROCESS_FAULTS, *REQUEST_FAULTS}


def test_a_fault_of_some_methods_leaves_the_others_alone():
    assert answered(said_by("hangs", on="tools/call,tools/list")) == [
        "server/discover",
        "resources/list",
        "resources/read",
    ]
    assert answered(said_by("hangs")) == ["server/discover"]
    assert answered(said_by("silent")) == []


def test_the_size_of_what_is_huge_can_be_said():
    lengths = [len(line) for line in said_by("huge-line", on="resources/read", size=50_000)]
    assert [length > 50_000 for length in lengths] == [False, False, False, False, True]


def test_what_a_server_that_is_well_otherwise_answers_is_complete():
    results = {line["id"]: line["result"] for line in map(json.loads, said_by("floods-stderr", size=1000))}
    assert set(results) == set(METHODS)
    assert results["tools/list"]["tools"][0]["name"] == TOOL
    assert results["resources/list"]["resources"][0]["uri"] == URI


async def asked(server, method: str, until: bytes = b"") -> bytes:
    """What a server answers over HTTP: up to a text, else until it closes the connection or is silent for a while."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).encode()
    head = f"POST /mcp HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)
    writer.write(head + body)
    answer = b""
    try:
        while not (until and until in answer) and (piece := await asyncio.wait_for(reader.read(65_536), 0.2)):
            answer += piece
    except TimeoutError:
        pass
    finally:
        writer.close()
    return answer


async def test_over_http_one_method_is_sick_and_may_recover_while_the_server_runs():
    async with asyncio.timeout(20), sick_server({"tools/call": http.hang}).listening() as server:
        assert await asked(server, "tools/call") == b""
        assert b"fault://0" in await asked(server, "resources/list")
        server.answers["tools/call"] = http.healthy
        assert b"well" in await asked(server, "tools/call")


async def test_a_legacy_server_has_a_session_and_knows_nothing_of_discovery():
    async with asyncio.timeout(20), sick_server(legacy=True).listening() as server:
        assert b"mcp-session-id: s1" in await asked(server, "initialize")
        assert b"-32601" in await asked(server, "server/discover")


async def test_an_answer_without_end_ends_with_its_client():
    async with asyncio.timeout(20), sick_server({"tools/call": http.endless_events()}).listening() as server:
        listening = asyncio.all_tasks()
        assert (await asked(server, "tools/call", until=b": ping\n\n: ping")).startswith(b"HTTP/1.1 200 OK")
        while asyncio.all_tasks() - listening:
            await asyncio.sleep(0.01)


def test_a_gzip_bomb_is_small_and_becomes_as_large_as_was_said():
    request = RawRequest("POST", "/mcp", {}, b'{"id": 7, "method": "tools/list"}')
    packed = http.gzip_bomb(5_000_000)(request).partition(b"\r\n\r\n")[2]
    assert len(packed) < 20_000
    message = json.loads(gzip.decompress(packed))
    assert (message["id"], len(message["result"]["x"])) == (7, 5_000_000)


def test_a_status_has_its_headers():
    assert b"429" in http.status(429, retry_after="7")
    assert b"retry-after: 7" in http.status(429, retry_after="7")
    assert raw_answer(307, location="http://b/") == http.redirect("http://b/")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http.huge_body, "the answer to tools/call is a function that makes answers: call it"),
        (lambda _: 1 // 0, "zero"),
    ],
)
async def test_a_mistake_in_an_answer_is_not_taken_for_a_fault_of_the_server(answer, said):
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as caught:
            async with sick_server({"tools/call": answer}).listening() as server:
                assert await asked(server, "tools/call") == b""
    assert said in str(caught.value.exceptions[0])
