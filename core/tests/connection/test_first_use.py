"""Servers that are started when a question needs them, let go of when none does, and not restarted without end."""

import asyncio

import pytest
from mcp_orchestra.errors import MCPConnectionError

pytestmark = pytest.mark.anyio

REFUSED = ConnectionRefusedError()
ON_FIRST_USE = {"start": "on_first_use", "request_timeout": 10}


async def test_a_server_that_is_started_on_first_use_is_not_connected_before(connect, upstream, registry):
    server = upstream()
    assert await connect(server, **ON_FIRST_USE).open() is None
    await asyncio.sleep(3600)
    info = registry.get_server("a")
    assert (info.state, info.connected, info.connection_error) == ("pending", False, None)
    assert (info.available, info.usable) == (True, True)
    assert server.attempts == []


@pytest.mark.parametrize("method", ["resources", "tools", "call", "read", "revive"])
async def test_the_first_question_starts_it_and_those_that_come_meanwhile_wait(
    connect, upstream, registry, clock, method
):
    server = upstream(afterwards={"entering": 3.0})
    connection = connect(server, **ON_FIRST_USE)
    await connection.open()
    client = connection.client
    ask = {
        "resources": client.list_resources,
        "tools": client.list_tools,
        "call": lambda: client.call_tool("echo"),
        "read": lambda: client.read_resource("res://scripted/0"),
        "revive": lambda: connection.revive(10),
    }[method]
    asking = asyncio.gather(*(ask() for _ in range(10)))
    await asyncio.sleep(1)
    assert (registry.get_server("a").state, registry.get_server("a").available) == ("connecting", True)
    assert all(await asking)
    assert clock() == pytest.approx(3, abs=0.01)
    assert len(server.attempts) == 1
    assert registry.get_server("a").state == "ready"


async def test_a_first_start_that_fails_fails_the_question_and_goes_on_like_any_other(connect, upstream, registry):
    server = upstream({"fails": REFUSED}, {"fails": REFUSED})
    connection = connect(server, **ON_FIRST_USE)
    await connection.open()
    with pytest.raises(MCPConnectionError) as caught:
        await connection.client.list_tools()
    assert caught.value.context["delivered"] == "no"
    info = registry.get_server("a")
    assert (info.state, info.available, info.connection_error) == ("backing_off", False, "connection refused")
    await asyncio.sleep(60)
    assert info.connected


async def test_a_server_that_was_given_up_and_is_opened_again_waits_for_its_first_use_again(
    connect, upstream, registry
):
    server = upstream({"fails": FileNotFoundError()})
    connection = connect(server, **ON_FIRST_USE)
    await connection.open()
    assert not await connection.revive(10)
    await asyncio.sleep(1)
    assert not await connection.revive(10)
    assert await connection.open() is None
    await asyncio.sleep(60)
    assert (registry.get_server("a").state, len(server.attempts)) == ("pending", 1)
    assert (await connection.client.list_tools()).tools


@pytest.mark.parametrize("method", ["list", "read"])
async def test_a_question_does_not_wait_for_a_first_start_longer_than_its_own_time(connect, upstream, clock, method):
    connection = connect(upstream(afterwards={"entering": 20.0}), **ON_FIRST_USE)
    await connection.open()
    client = connection.client
    with pytest.raises(MCPConnectionError, match="not connected") as caught:
        await (client.list_tools() if method == "list" else client.read_resource("res://scripted/0"))
    assert caught.value.context["delivered"] == "no"
    assert clock() == pytest.approx(10, abs=0.01)
    await asyncio.sleep(20)
    assert connection.current is not None


async def test_a_server_that_nobody_asks_anything_is_let_go_of_and_started_again(connect, upstream, registry, changed):
    server = upstream()
    connection = connect(server, idle_stop=60, health_check_interval=10, **ON_FIRST_USE)
    await connection.open()
    info = registry.get_server("a")
    for start in range(1, 4):
        for _ in range(5):
            await connection.client.list_tools()
            await asyncio.sleep(50)
        assert (info.state, len(server.attempts)) == ("ready", start)
        await asyncio.sleep(11)
        assert (info.state, info.connected, info.connection_error, server.open) == ("pending", False, None, 0)
        await asyncio.sleep(3600)
        assert len(server.attempts) == start


async def test_a_server_at_work_is_not_idle(connect, upstream, registry):
    connection = connect(upstream(), idle_stop=60, **{**ON_FIRST_USE, "request_timeout": 1000})
    await connection.open()
    assert not (await connection.client.call_tool("slow", {"seconds": 900})).is_error
    await asyncio.sleep(50)
    assert registry.get_server("a").state == "ready"
    await asyncio.sleep(11)
    assert registry.get_server("a").state == "pending"


async def test_a_question_while_an_idle_server_is_let_go_of_waits_for_the_next_start(connect, upstream, registry):
    server = upstream(afterwards={"leaving": 3.0})
    connection = connect(server, idle_stop=60, **ON_FIRST_USE)
    await connection.open()
    await connection.client.list_tools()
    await asyncio.sleep(60.01)
    assert (registry.get_server("a").state, server.open) == ("pending", 1)
    assert (await connection.client.list_tools()).tools
    assert len(server.attempts) == 2


@pytest.mark.parametrize("state", ["pending", "starting", "leaving"])
async def test_s14_a_server_that_is_started_on_first_use_can_be_closed_at_any_time(connect, upstream, registry, state):
    server = upstream(afterwards={"entering": 1.0, "leaving": 2.0})
    connection = connect(server, idle_stop=60, **ON_FIRST_USE)
    await connection.open()
    question = asyncio.create_task(connection.revive(10)) if state != "pending" else None
    await asyncio.sleep(0.5 if state == "starting" else 62)
    await connection.close()
    assert registry.get_server("a").state == "closed"
    if question is not None:
        await question
    await asyncio.sleep(3600)
    assert server.open == 0
    assert len(server.attempts) == (0 if state == "pending" else 1)
    with pytest.raises(MCPConnectionError, match="not connected"):
        await connection.client.list_tools()


@pytest.mark.parametrize(("spawns", "most"), [(True, 10), (False, 70)])
async def test_a_process_that_ends_at_once_is_started_ten_times_a_minute_at_most(
    connect, upstream, clock, spawns, most
):
    """Whatever questions hurry it; a server that is only connected to is tried once a second for them."""
    server = upstream(afterwards={"fails": REFUSED})
    connection = connect(server, max_retries=0, spec={"spawns_process": spawns})
    await connection.open()
    while clock() < 600:
        await connection.revive(0.5)
        await asyncio.sleep(0.5)
    starts = server.attempts
    busiest = max(sum(start <= at < start + 60 for at in starts) for start in starts)
    assert most - 10 < busiest <= most


async def test_a_process_that_questions_start_and_idleness_stops_is_not_started_without_end(connect, upstream, clock):
    server = upstream()
    connection = connect(
        server, idle_stop=0.5, max_restarts_per_minute=3, spec={"spawns_process": True}, **ON_FIRST_USE
    )
    await connection.open()
    while clock() < 180:
        await connection.revive(30)
        await asyncio.sleep(1)
    assert max(sum(start <= at < start + 60 for at in server.attempts) for start in server.attempts) == 3
