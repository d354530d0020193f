"""A connection outlives whatever a server writes, and ends when the server does."""

import asyncio
import os
import signal

import anyio
import mcp_types as types
import psutil
import pytest
from mcp import MCPError
from mcp.shared.message import SessionMessage
from mcp_orchestra.testing.servers import server_command
from mcp_orchestra.wire import TRANSPORT_ERROR, transport_facts

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]


# What it writes


async def test_a_banner_and_log_lines_on_stdout_are_noted_and_ignored(connect, endpoint):
    ours = endpoint(code="say('Welcome!'); say(''); say('{\"level\": \"info\"}')\nserve()")
    async with connect(ours) as client:
        assert (await client.list_tools()).tools == []
    assert ours.diagnostics.tail() == ["stdout: Welcome!", 'stdout: {"level": "info"}']


async def test_of_many_lines_that_are_no_messages_only_the_first_are_shown(connect, endpoint):
    ours = endpoint(code="for i in range(5000): say(f'line {i} ' + 'x' * 1000)\nserve()")
    async with connect(ours) as client:
        assert (await client.list_tools()).tools == []
    assert [line.split(" x")[0] for line in ours.diagnostics.tail(50)] == [
        *(f"stdout: line {i}" for i in range(5)),
        "stdout: further lines that are not messages are not shown",
    ]
    assert all(len(line) < 250 for line in ours.diagnostics.tail(50))


BYTES = """
for request in requests():
    tool = {"name": "t", "description": "caf@", "inputSchema": {"type": "object"}}
    line = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {**COMMON, "tools": [tool]}}) + "\\n"
    sys.stdout.buffer.write(b"\\xff\\xfe garbage\\n" + line.encode().replace(b"@", b"\\xe9"))
    sys.stdout.flush()
"""


async def test_invalid_utf_8_is_replaced_and_the_connection_goes_on(connect, endpoint):
    ours = endpoint(code=BYTES)
    async with connect(ours) as client:
        for _ in range(2):
            (tool,) = (await client.list_tools()).tools
            assert tool.description == "caf\N{REPLACEMENT CHARACTER}"
    assert ours.diagnostics.tail()[0].startswith("stdout: \N{REPLACEMENT CHARACTER}")


SIZED = """
for request in requests():
    size = int(request["params"].get("cursor", 0))
    tool = {"name": "t", "description": "d" * size, "inputSchema": {"type": "object"}}
    answer(request, tools=[tool])
"""


async def test_an_answer_of_five_megabytes_arrives_whole(connect, endpoint):
    async with connect(endpoint(code=SIZED)) as client:
        (tool,) = (await client.list_tools(cursor=str(5_000_000))).tools
        assert len(tool.description) == 5_000_000


async def test_s23_an_answer_over_the_limit_is_the_error_of_its_call_that_names_the_limit(connect, endpoint):
    async with connect(endpoint(code=SIZED, limit=1_000_000)) as client:
        with pytest.raises(MCPError) as caught:
            await client.list_tools(cursor=str(30_000_000))
        assert caught.value.code == TRANSPORT_ERROR
        facts = transport_facts(caught.value.code, caught.value.data)
        assert facts == {"kind": "too_large", "delivered": "yes"}
        assert "max_message_bytes=1000000" in caught.value.message
        (tool,) = (await client.list_tools(cursor="10")).tools
        assert tool.description == "d" * 10


async def test_a_huge_line_that_answers_nobody_is_noted_and_dropped(connect, endpoint):
    ours = endpoint(code="say('{\"method\": \"' + 'x' * 3_000_000)\nserve()", limit=1_000_000)
    async with connect(ours) as client:
        assert (await client.list_tools()).tools == []
    (note,) = ours.diagnostics.tail()
    assert "max_message_bytes=1000000" in note
    assert len(note) < 400


@pytest.mark.parametrize("text", ["\ud800", object()], ids=["half a pair", "an object"])
async def test_what_cannot_be_written_as_json_fails_alone(spec, endpoint, text):
    async with spec.open(endpoint(code="serve()")) as (read, write):
        for number, params in enumerate(({"arguments": {"text": text}}, {}), start=1):
            request = types.JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/list", params=params)
            await write.send(SessionMessage(request))
            with anyio.fail_after(30):
                answer = (await read.receive()).message
            assert answer.id == number
            if number == 1:
                facts = transport_facts(answer.error.code, answer.error.data)
                assert facts == {"kind": "unsendable", "delivered": "no"}
        assert isinstance(answer, types.JSONRPCResponse)


async def test_a_flood_on_stderr_neither_blocks_the_server_nor_fills_memory(connect, endpoint, until):
    flood = "line = 'e' * 99 + '\\n'\nfor i in range(2000): sys.stderr.write(line * 100)\n"
    ours = endpoint(code=flood + "sys.stderr.write('x' * 1_000_000 + '\\nlast words\\n'); sys.stderr.flush()\nserve()")
    async with connect(ours) as client:
        assert (await client.list_tools()).tools == []
        await until(lambda: ours.diagnostics.tail(1) == ["last words"])
    kept = ours.diagnostics.tail(10_000)
    assert sum(len(line) for line in kept) <= 65_536
    assert kept[-2].endswith("x …")


async def test_stderr_without_a_last_newline_is_kept(connect, endpoint):
    ours = endpoint(code="sys.stderr.write('one\\ntwo'); sys.stderr.flush(); os._exit(0)")
    with pytest.raises(ExceptionGroup):
        async with connect(ours):
            pytest.fail("it must not connect")
    assert ours.diagnostics.tail() == ["one", "two"]
    assert ours.diagnostics.exit_code == 0


# How it ends


async def read_until_end(read) -> None:
    with anyio.fail_after(10):
        async for _ in read:
            pass


async def test_a_kill_in_the_middle_of_a_call_ends_the_call_and_the_stream(connect, endpoint):
    command, *args = server_command()
    ours = endpoint(command=command, args=args)
    async with connect(ours) as client:
        pid = int((await client.call_tool("pid", {})).content[0].text)
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(MCPError, match="Connection closed"):
                    await client.call_tool("slow", {"seconds": 60})

            for _ in range(20):
                tasks.start_soon(call)
            await anyio.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(MCPError, match="Connection closed"):
            await client.list_tools()
    assert ours.diagnostics.exit_code == -signal.SIGKILL


async def test_the_last_answer_of_a_server_that_exits_arrives(connect, endpoint):
    code = "for request in requests():\n    answer(request, tools=[])\n    os._exit(7)"
    for _ in range(5):
        ours = endpoint(code=code)
        async with connect(ours) as client:
            assert (await client.list_tools()).tools == []
            with pytest.raises(MCPError):
                await client.list_tools()
        assert ours.diagnostics.exit_code == 7


@pytest.mark.parametrize("daemon", [False, True], ids=["in the group", "in a session of its own"])
async def test_a_grandchild_that_holds_the_pipes_does_not_keep_the_stream_open(spec, endpoint, daemon):
    code = (
        f"child = subprocess.Popen(['sleep', '60'], start_new_session={daemon})\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "os._exit(5)"
    )
    ours = endpoint(code=code)
    async with spec.open(ours) as (read, _write):
        await read_until_end(read)
        assert ours.diagnostics.exit_code == 5
    (pid,) = ours.diagnostics.tail()
    if daemon:  # out of reach by design
        os.kill(int(pid), signal.SIGKILL)


async def test_a_server_that_closes_its_output_but_lives_is_lost_and_killed(spec, endpoint):
    ours = endpoint(code="print(os.getpid(), file=sys.stderr, flush=True); os.close(1); time.sleep(60)")
    async with spec.open(ours) as (read, _write):
        await read_until_end(read)
    assert not psutil.pid_exists(int(ours.diagnostics.tail()[0]))


async def test_a_server_that_stops_listening_is_lost(connect, endpoint):
    ours = endpoint(code="for request in requests():\n    os.close(0); answer(request, tools=[]); time.sleep(60)")
    async with connect(ours) as client:
        assert (await client.list_tools()).tools == []
        with pytest.raises(MCPError, match="Connection closed"):
            await client.list_tools()


async def test_calls_to_a_server_that_does_not_read_can_be_given_up_at_once(connect, endpoint):
    ours = endpoint(code="next(requests()); time.sleep(60)")
    async with connect(ours) as client:
        # The SDK says goodbye to each call, and waits up to five seconds for a transport that does not take it.
        with anyio.fail_after(4):
            await give_up_three_calls(client)


async def give_up_three_calls(client) -> None:
    for _ in range(3):
        with anyio.move_on_after(0.1) as scope:
            await client.call_tool("echo", {"text": "x" * 100_000})
        assert scope.cancelled_caught


# How it is ended


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(['sleep', '60'])
print(os.getpid(), child.pid, file=sys.stderr, flush=True)
while True: time.sleep(1)
"""


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, even if whoever adopted it does not reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_s14_servers_that_ignore_the_end_of_input_and_sigterm_are_killed_side_by_side(spec, endpoint, until):
    async def one() -> None:
        ours = endpoint(code=STUBBORN)
        async with spec.open(ours):
            await until(ours.diagnostics.tail)
            server, child = map(int, ours.diagnostics.tail()[0].split())
            assert not is_gone(child)
        assert not psutil.pid_exists(server)
        await until(lambda: is_gone(child))

    async with asyncio.timeout(10), anyio.create_task_group() as tasks:  # one after the other: 20 seconds
        for _ in range(5):
            tasks.start_soon(one)


async def test_a_server_that_leaves_at_the_end_of_input_is_not_signalled(connect, endpoint, tmp_path):
    farewell = tmp_path / "farewell"
    code = f"serve()\nsys.stdout.write('x' * 500_000); sys.stdout.flush()\nopen({str(farewell)!r}, 'w').write('bye')"
    async with connect(endpoint(code=code)) as client:
        await client.list_tools()
    assert farewell.read_text() == "bye"


async def test_s14_a_child_that_outlives_the_server_is_ended_with_its_group(connect, endpoint, until):
    code = "child = subprocess.Popen(['sleep', '60']); print(child.pid, file=sys.stderr, flush=True)\nserve()"
    ours = endpoint(code=code)
    async with connect(ours) as client:
        await client.list_tools()
        await until(ours.diagnostics.tail)
        child = int(ours.diagnostics.tail()[0])
        assert not is_gone(child)
    await until(lambda: is_gone(child))


async def test_fifty_servers_come_and_go(spec, endpoint, until):
    ready = 0

    async def one() -> None:
        nonlocal ready
        ours = endpoint(code="say('x'); serve()")
        async with spec.open(ours):
            await until(ours.diagnostics.tail)
            ready += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    assert ready == 50
