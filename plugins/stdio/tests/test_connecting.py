"""Starting a server, talking to it in both eras, and every way in which it cannot be started."""

import asyncio
import os
import sys
import time
from pathlib import Path

import anyio
import pytest
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.testing.servers import server_command

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_is_left")]


@pytest.mark.parametrize(("mode", "era"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_server_answers_in_both_eras(connect, endpoint, mode, era):
    command, *args = server_command(name="a", resources=2)
    async with connect(endpoint(command=command, args=args), mode) as client:
        assert client.protocol_version == era
        listed = await client.list_resources()
        assert [resource.uri for resource in listed.resources] == ["res://a/0", "res://a/1"]
        assert (await client.read_resource("res://a/1")).contents[0].text == "a text 1"
        assert (await client.call_tool("echo", {"text": "é\n\N{SNOWMAN}"})).content[0].text == "a: é\n\N{SNOWMAN}"


async def test_a_hundred_calls_at_once_each_get_their_own_answer(connect, endpoint):
    command, *args = server_command()
    results: dict[int, str] = {}
    async with connect(endpoint(command=command, args=args)) as client, anyio.create_task_group() as tasks:

        async def call(number: int) -> None:
            results[number] = (await client.call_tool("echo", {"text": str(number)})).content[0].text

        for number in range(100):
            tasks.start_soon(call, number)
    assert results == {number: f"scripted: {number}" for number in range(100)}


async def failure_of_starting(spec, endpoint) -> MCPConnectionError:
    with anyio.fail_after(20), pytest.raises(MCPConnectionError) as caught:
        async with spec.open(endpoint):
            pytest.fail("it must not start")
    return caught.value


async def test_a_missing_command_is_not_found_and_not_tried_again(spec, endpoint):
    error = await failure_of_starting(spec, endpoint(command="no-such-server"))
    assert error.context == {"cause": "not_found", "retryable": False}
    assert "'no-such-server' was not found" in error.message


async def test_a_command_with_its_arguments_in_it_says_where_they_belong(spec, endpoint):
    error = await failure_of_starting(spec, endpoint(command="sh; rm -rf /tmp/nothing"))
    assert error.context["cause"] == "not_found"
    assert "args" in error.message


async def test_a_file_that_is_not_executable_is_a_matter_of_permission(spec, endpoint, tmp_path):
    script = tmp_path / "server"
    script.write_text("#!/bin/sh\n")
    error = await failure_of_starting(spec, endpoint(command=str(script)))
    assert error.context == {"cause": "permission", "retryable": False}


async def test_a_file_that_is_no_program_is_a_matter_of_permission(spec, endpoint, tmp_path):
    script = tmp_path / "server"
    script.write_text("hello")
    script.chmod(0o755)
    error = await failure_of_starting(spec, endpoint(command=str(script)))
    assert error.context == {"cause": "permission", "retryable": False}


async def test_a_script_whose_interpreter_is_missing_is_not_said_to_be_missing_itself(spec, endpoint, tmp_path):
    script = tmp_path / "server"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    error = await failure_of_starting(spec, endpoint(command=str(script)))
    assert error.context == {"cause": "not_found", "retryable": False}
    assert "interpreter" in error.message


async def test_a_missing_directory_is_named_and_the_command_is_not_blamed(spec, endpoint, tmp_path):
    error = await failure_of_starting(spec, endpoint(command=sys.executable, cwd=str(tmp_path / "nowhere")))
    assert error.context == {"cause": "cwd", "retryable": False}
    assert "nowhere" in error.message
    assert sys.executable not in error.message


async def test_s6_arguments_and_variables_stay_out_of_errors(spec, endpoint):
    error = await failure_of_starting(spec, endpoint(command="no-such-server", args=["canary"], env={"K": "canary"}))
    assert "canary" not in error.message + repr(error.context)


TELL = """
for request in requests():
    answer(request, resources=[], tools=[{"name": name, "inputSchema": {"type": "object"}} for name in %s])
"""


async def test_the_environment_is_minimal_and_holds_what_was_configured(connect, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("LANGUAGE_OF_TEST", "canary")
    code = TELL % "[name for name in os.environ if name != 'LC_CTYPE']"
    async with connect(endpoint(code=code, env={"API_KEY": "x"})) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert names - {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"} == {"API_KEY"}


async def test_the_directory_is_the_configured_one(connect, endpoint, tmp_path):
    async with connect(endpoint(code=TELL % "[os.getcwd()]", cwd=str(tmp_path))) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [os.path.realpath(tmp_path)]


async def test_a_server_that_exits_at_once_ends_the_connection_with_its_status_and_last_words(connect, endpoint):
    ours = endpoint(code="sys.stderr.write('ImportError: no module named server\\n'); sys.exit(3)")
    with pytest.raises(ExceptionGroup):
        async with connect(ours):
            pytest.fail("it must not connect")
    assert ours.diagnostics.exit_code == 3
    assert ours.diagnostics.tail() == ["ImportError: no module named server"]


async def test_s10_a_silent_server_can_be_given_up_at_any_time_and_is_gone_then(spec, endpoint):
    with anyio.fail_after(20):
        with anyio.move_on_after(0.3) as scope:
            async with spec.open(endpoint(code="time.sleep(60)")) as (read, _write):
                await read.receive()
        assert scope.cancelled_caught


async def test_a_cancellation_while_the_process_is_being_started_leaks_nothing(spec, endpoint, monkeypatch):
    started = anyio.Event()
    let_go = anyio.Event()
    open_process = anyio.open_process

    async def slowly(*args, **kwargs):
        process = await open_process(*args, **kwargs)
        started.set()
        await let_go.wait()
        return process

    monkeypatch.setattr(anyio, "open_process", slowly)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def enter() -> None:
                async with spec.open(endpoint(code="serve()")):
                    await anyio.sleep(60)

            tasks.start_soon(enter)
            await started.wait()
            tasks.cancel_scope.cancel()
            let_go.set()
        assert tasks.cancel_scope.cancelled_caught


async def test_s14_a_task_that_is_cancelled_again_and_again_still_ends_its_server(spec, endpoint):
    ours = endpoint(code="signal.signal(signal.SIGTERM, signal.SIG_IGN); say('ready')\nwhile True: time.sleep(1)")
    entered = asyncio.Event()

    async def hold() -> None:
        async with spec.open(ours):
            entered.set()
            await asyncio.sleep(60)

    async with asyncio.timeout(20):
        task = asyncio.create_task(hold())
        await entered.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.05)
    assert task.cancelled()


async def test_nothing_is_started_before_the_transport_is_entered(spec, endpoint, tmp_path):
    marker = Path(tmp_path / "started")
    spec.open(endpoint(code=f"open({str(marker)!r}, 'w')"))
    time.sleep(0.2)  # noqa: ASYNC251 - nothing else runs in this loop
    assert not marker.exists()
