"""S13, S16, S33 and S42: a lost connection comes back by itself, in simulated time."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from mcp_orchestra.connection.faults import Fault
from mcp_orchestra.errors import MCPConnectionError

pytestmark = pytest.mark.anyio

REFUSED = ConnectionRefusedError()
CAP = 30.0


async def test_s42_a_loss_is_shown_at_once_and_explained(connect, upstream, registry):
    server = upstream({"leaving": 4.0}, afterwards={"fails": REFUSED})
    connection = connect(server)
    await connection.open()
    await server.link.hang_up()
    await asyncio.sleep(0.001)
    info = registry.get_server("a")
    assert (info.connected, info.client, info.state) == (False, None, "backing_off")
    assert info.connection_error == "the server closed the connection"
    assert connection.current is None


async def test_s13_a_lost_connection_is_made_again(connect, upstream, registry):
    server = upstream()
    connection = connect(server)
    await connection.open()
    for loss in range(1, 6):
        await server.link.hang_up()
        await asyncio.sleep(60)
        assert registry.get_server("a").connected
        assert len(server.attempts) == loss + 1
    assert (await connection.client.call_tool("echo", {"text": "x"})).content[0].text == "scripted: x"


async def test_s33_a_new_connection_says_that_things_may_have_changed(connect, upstream, changed):
    server = upstream()
    await connect(server).open()
    assert changed == []
    await server.link.hang_up()
    await asyncio.sleep(60)
    assert changed == [("a", {"resources", "tools"})]


async def test_s16_what_a_crashing_transport_cancels_is_nobody_elses(connect, upstream, registry):
    """The transport's own task group cancels the task that entered it; requests under way end with our error."""
    server = upstream()
    connection = connect(server)
    await connection.open()
    calls = [asyncio.create_task(connection.client.call_tool("slow", {"seconds": 100})) for _ in range(5)]
    await asyncio.sleep(1)
    server.link.crash(ConnectionResetError(104, "Connection reset by peer"))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome).__name__ for outcome in outcomes} == {"ToolCallError"}
    assert {outcome.context["delivered"] for outcome in outcomes} == {"maybe"}
    await asyncio.sleep(60)
    assert registry.get_server("a").connected


async def test_s13_attempts_go_on_for_ever_at_most_thirty_seconds_apart(connect, upstream):
    server = upstream(afterwards={"fails": REFUSED})
    await connect(server, max_retries=0).open()
    await asyncio.sleep(6 * 3600)
    waits = [later - earlier for earlier, later in pairwise(server.attempts)]
    assert len(waits) > 6 * 3600 / CAP
    assert max(waits) <= CAP + 0.001
    # Full jitter: half of the bound on average, and nothing periodic about it.
    late = waits[10:]
    assert 0.4 * CAP < sum(late) / len(late) < 0.6 * CAP
    assert len({round(wait, 3) for wait in late}) > 0.9 * len(late)


async def test_the_waits_start_over_after_a_success(connect, upstream):
    server = upstream(*[{"fails": REFUSED}] * 20)
    connection = connect(server)
    await connection.open()
    await asyncio.sleep(3600)
    assert connection.current is not None
    lost_at = asyncio.get_running_loop().time()
    await server.link.hang_up()
    await asyncio.sleep(60)
    assert server.attempts[-1] - lost_at <= 0.2 + 0.001


async def test_s42_the_time_of_the_next_attempt_is_true(connect, upstream, registry):
    server = upstream(afterwards={"entering": 0.5, "fails": REFUSED})
    await connect(server, max_retries=0).open()
    await asyncio.sleep(3600)
    assert len(server.attempts) > 120
    assert registry.promised[: len(server.attempts) - 1] == pytest.approx(server.attempts[1:], abs=0.001)


async def test_s42_the_state_follows_the_attempts(connect, upstream, registry, clock):
    server = upstream(afterwards={"entering": 0.5, "fails": REFUSED})
    await connect(server, max_retries=0).open()
    info = registry.get_server("a")
    for attempt in range(2, 10):
        await server.attempted(attempt)
        assert (info.state, info.retry_at, info.connection_error) == ("connecting", None, "connection refused")
        await asyncio.sleep(0.501)
        assert (info.state, info.connection_error) == ("backing_off", "connection refused")


async def test_s13_fifty_servers_that_fail_together_do_not_come_back_in_step(connect, upstream):
    servers = [upstream() for _ in range(50)]
    connections = [connect(server, f"s{i}") for i, server in enumerate(servers)]
    await asyncio.gather(*(connection.open() for connection in connections))
    lost_at = asyncio.get_running_loop().time()
    for server in servers:
        server.afterwards.fails = REFUSED
        await server.link.hang_up()
    await asyncio.sleep(300)
    attempts = [at - lost_at for server in servers for at in server.attempts[1:]]
    seconds = Counter(int(at) for at in attempts)
    # A fifth of the servers each second, and once as many from what had not been used before.
    assert seconds[0] <= 20
    assert max(count for second, count in seconds.items() if second) <= 12
    # Without the budget all fifty would have come back within the first fifth of a second, and again, and again.
    assert len([at for at in attempts if at < 0.2]) <= 12
    assert max(server.attempts[1] for server in servers) - lost_at <= 5.2
    assert len(attempts) > 50 * 240 / CAP


async def test_servers_that_hang_hold_up_no_other(connect, upstream, clock):
    """An attempt takes from the budget and holds nothing of it."""
    hanging = [upstream({}, afterwards={"entering": 1e5}) for _ in range(20)]
    other = upstream()
    connections = [connect(server, f"s{i}") for i, server in enumerate([*hanging, other])]
    await asyncio.gather(*(connection.open() for connection in connections))
    for server in hanging:
        await server.link.hang_up()
    await asyncio.sleep(20)
    lost_at = clock()
    await other.link.hang_up()
    await other.attempted(2)
    assert clock() - lost_at <= 0.21


async def test_the_first_connect_of_many_servers_waits_for_no_budget(connect, upstream, clock):
    servers = [upstream({"fails": REFUSED}) for _ in range(50)]
    connections = [connect(server, f"s{i}") for i, server in enumerate(servers)]
    await asyncio.gather(*(connection.open() for connection in connections))
    assert clock() <= 0.21


async def test_a_revive_makes_a_planned_attempt_now(connect, upstream, registry, clock):
    server = upstream(*[{"fails": REFUSED}] * 12)
    connection = connect(server, max_retries=0)
    await connection.open()
    await server.attempted(12)
    await asyncio.sleep(0.001)
    asked_at = clock()
    assert registry.get_server("a").retry_at > asked_at + 1
    assert await connection.revive(2.0)
    assert clock() == pytest.approx(asked_at + 1, abs=0.01)  # not sooner than a second after the last attempt
    assert registry.get_server("a").connected


async def test_a_revive_joins_an_attempt_under_way(connect, upstream, clock):
    server = upstream({"fails": REFUSED}, {"entering": 5.0})
    connection = connect(server, max_retries=0)
    await connection.open()
    await server.attempted(2)
    started = clock()
    revived = await asyncio.gather(*(connection.revive(10.0) for _ in range(20)))
    assert revived == [True] * 20
    assert clock() - started <= 5.001
    assert len(server.attempts) == 2


async def test_a_revive_gives_up_in_time(connect, upstream, clock):
    server = upstream({"fails": REFUSED}, {"entering": 5.0})
    connection = connect(server, max_retries=0)
    await connection.open()
    started = clock()
    assert not await connection.revive(1.0)
    assert clock() - started <= 1.001
    await asyncio.sleep(10)
    assert connection.current is not None


async def test_a_revive_of_what_fails_again_says_so_and_is_not_repeated(connect, upstream, clock):
    server = upstream(afterwards={"fails": REFUSED})
    connection = connect(server, max_retries=0)
    await connection.open()
    assert not await connection.revive(1.5)
    assert len(server.attempts) == 2


async def test_questions_cause_one_attempt_a_second_at_most(connect, upstream, clock):
    server = upstream(afterwards={"fails": REFUSED})
    connection = connect(server, max_retries=0)
    await connection.open()
    await asyncio.sleep(600)  # by now the back-off is at its longest
    before = len(server.attempts)
    started = clock()
    while clock() - started < 20:
        assert not await connection.revive(0.05)
    assert 15 <= len(server.attempts) - before <= 22


async def test_a_server_that_dies_after_every_handshake_is_connected_ever_less_often(connect, upstream):
    server = upstream()
    connection = connect(server)
    await connection.open()
    for _ in range(12):
        await server.link.hang_up()
        await asyncio.sleep(0.001)
        while connection.current is None:
            await asyncio.sleep(0.1)
    gaps = [later - earlier for earlier, later in pairwise(server.attempts)]
    assert sum(gaps[6:]) > sum(gaps[:6]) * 3


async def test_what_worked_before_is_tried_again_even_if_it_is_refused(connect, upstream, registry):
    server = upstream({}, afterwards={"fails": MCPConnectionError("no", {"cause": "auth", "retryable": False})})
    connection = connect(server)
    await connection.open()
    await server.link.hang_up()
    await server.attempted(2)
    await asyncio.sleep(0.1)
    assert registry.get_server("a").state == "auth_required"
    server.afterwards.fails = None
    await asyncio.sleep(31)
    assert connection.current is not None


async def test_a_revive_that_joined_an_attempt_does_not_cut_the_wait_after_it(connect, upstream, registry, clock):
    server = upstream(*[{"fails": REFUSED}] * 12, afterwards={"entering": 5.0, "fails": REFUSED})
    connection = connect(server, max_retries=0)
    await connection.open()
    await server.attempted(13)
    assert not await connection.revive(10.0)
    await asyncio.sleep(0.001)
    assert registry.get_server("a").state == "backing_off"
    assert registry.get_server("a").retry_at > clock()
    await asyncio.sleep(0.01)
    assert len(server.attempts) == 13


async def test_a_revive_while_the_old_connection_is_let_go_of_waits_for_the_new_one(connect, upstream, clock):
    server = upstream({"leaving": 3.0})
    connection = connect(server)
    await connection.open()
    await server.link.hang_up()
    await asyncio.sleep(0.001)
    started = clock()
    assert await connection.revive(10.0)
    assert clock() - started <= 3.01


@pytest.mark.parametrize("reach", ["unopened", "hopeless", "closed"])
async def test_a_revive_of_what_will_not_come_back_is_false_at_once(connect, upstream, clock, reach):
    server = upstream(afterwards={"fails": FileNotFoundError(2, "No such file")})
    connection = connect(server)
    if reach != "unopened":
        await connection.open()
    if reach == "closed":
        await connection.close()
    assert not await connection.revive(5.0)
    assert clock() < 0.001


async def test_a_revive_of_what_is_connected_changes_nothing(connect, upstream):
    server = upstream()
    connection = connect(server)
    await connection.open()
    assert await connection.revive(5.0)
    assert len(server.attempts) == 1


async def test_the_loss_of_an_old_connection_does_not_end_the_new_one(connect, upstream):
    server = upstream()
    connection = connect(server)
    await connection.open()
    old = connection.current
    await server.link.hang_up()
    await asyncio.sleep(0.001)
    assert await connection.revive(5.0)
    new = connection.current
    connection.lose(old, Fault(reason="late news", cause="lost"))
    await asyncio.sleep(60)
    assert connection.current is new
    assert len(server.attempts) == 2


async def test_s6_what_a_request_finds_out_is_shown_without_secrets(connect, upstream, registry, caplog):
    server = upstream(afterwards={"leaving": 1.0})
    connection = connect(server, secrets=["s3cret-token"])
    await connection.open()
    connection.lose(connection.current, Fault(reason="refused s3cret-token", cause="refused"))
    assert registry.get_server("a").connection_error == "refused ***"
    await asyncio.sleep(60)
    assert "s3cret" not in caplog.text


async def test_a_process_that_ended_is_explained_by_its_last_words(connect, upstream, registry):
    server = upstream({"leaving": 1.0}, afterwards={"entering": 10.0})
    connection = connect(server, secrets=["s3cret-token"])
    await connection.open()
    for line in ("starting", "bad token s3cret-token", " "):
        connection.diagnostics.write(line)
    connection.diagnostics.exit_code = 3
    await server.link.hang_up()
    await asyncio.sleep(2)
    assert registry.get_server("a").connection_error == "the process ended with status 3: bad token ***"


async def test_a_request_while_disconnected_fails_at_once_and_was_not_delivered(connect, upstream, clock):
    connection = connect(upstream(afterwards={"fails": REFUSED}), max_retries=0)
    await connection.open()
    started = clock()
    with pytest.raises(MCPConnectionError) as caught:
        await connection.client.list_tools()
    assert caught.value.context["delivered"] == "no"
    assert clock() == started
