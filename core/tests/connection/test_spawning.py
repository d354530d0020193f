"""S10: processes are started a few at a time, and a silent one does not keep the others waiting."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def test_s10_at_most_sixteen_processes_are_being_started(connect, upstream, clock):
    servers = [upstream(afterwards={"entering": 0.5}) for _ in range(100)]
    connections = [
        connect(server, f"s{i}", spec={"spawns_process": True}, timeout=60) for i, server in enumerate(servers)
    ]
    faults = await asyncio.gather(*(connection.open() for connection in connections))
    assert faults == [None] * 100
    starts = sorted(server.attempts[0] for server in servers)
    assert [sum(start <= at < start + 0.499 for at in starts) for start in starts if start < 3] == [16] * 96
    assert clock() == pytest.approx(3.5, abs=0.1)


async def test_s10_other_transports_connect_all_at_once(connect, upstream, clock):
    servers = [upstream(afterwards={"entering": 1.0}) for _ in range(100)]
    connections = [connect(server, f"s{i}") for i, server in enumerate(servers)]
    assert await asyncio.gather(*(connection.open() for connection in connections)) == [None] * 100
    assert clock() == pytest.approx(1.0, abs=0.1)


SILENT = {
    "silent": {"silent": True},
    "hangs": {"entering": 1e5},
    "stays": {"silent": True, "leaving": 60.0, "stubborn": True},
}


@pytest.mark.parametrize("manner", SILENT.values(), ids=SILENT)
async def test_s10_silent_processes_cost_their_own_timeout_and_nobody_elses(connect, upstream, clock, manner):
    silent = [connect(upstream(afterwards=manner), f"s{i}", spec={"spawns_process": True}) for i in range(40)]
    good = connect(upstream(), "good", spec={"spawns_process": True})
    opening = [asyncio.create_task(connection.open()) for connection in silent]
    await asyncio.sleep(0)
    assert await good.open() is None
    assert clock() < 15
    assert {(await task).cause for task in opening} == {"timeout"}
    assert clock() == pytest.approx(30.0, abs=0.1)


async def test_what_was_closed_while_it_waited_for_its_turn_is_not_started(connect, upstream):
    servers = [upstream(afterwards={"entering": 1.0}) for _ in range(20)]
    connections = [connect(server, f"s{i}", spec={"spawns_process": True}) for i, server in enumerate(servers)]
    opening = [asyncio.create_task(connection.open()) for connection in connections]
    await asyncio.sleep(0.5)
    await asyncio.gather(*(connection.close() for connection in connections))
    assert {(await task).cause for task in opening} == {"closed"}
    assert sum(len(server.attempts) for server in servers) == 16
