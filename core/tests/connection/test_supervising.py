"""How requests fare with a server that fails, is busy, or has as many as it may get; in simulated time."""

import asyncio

import pytest
from mcp_orchestra.errors import MCPConnectionError, ResourceFetchError, ToolCallError
from mcp_orchestra.http.failures import session_forgotten
from mcp_orchestra.wire import transport_error
from mcp_types import ErrorData

pytestmark = pytest.mark.anyio

BROKEN = ErrorData(**transport_error("the server answered HTTP 500", kind="http", status=500))
REFUSED = ErrorData(code=-32603, message="no such thing")
FORGOTTEN = ErrorData(**session_forgotten())


def busy(seconds, status=429):
    fields = {"kind": "http", "delivered": "no", "status": status, "retry_after": seconds}
    return ErrorData(**transport_error(f"the server answered HTTP {status}", **fields))


@pytest.fixture
async def opened(connect, upstream):
    """Open a connection: ``connection, server = await opened("a", domains=["d"])``."""

    async def open_(server_id="a", server=None, **fields):
        server = server or upstream()
        connection = connect(server, server_id, **{"request_timeout": 10, **fields})
        assert await connection.open() is None
        return connection, server

    return open_


async def fails(connection, times=1):
    """Make requests that fail, and return what the last one raised."""
    for _ in range(times):
        with pytest.raises((ResourceFetchError, MCPConnectionError)) as caught:
            await connection.client.list_resources()
    return caught.value


async def test_a_failure_degrades_a_server_and_an_answer_makes_it_ready(opened, registry):
    connection, server = await opened()
    info = registry.get_server("a")
    server.instead["resources/list"] = BROKEN
    await fails(connection)
    assert (info.connected, info.state, info.connection_error) == (True, "degraded", "the server answered HTTP 500")
    assert info.usable
    server.instead.clear()
    await connection.client.list_resources()
    assert (info.connected, info.state, info.connection_error) == (True, "ready", None)


@pytest.fixture
async def sick(opened, upstream):
    """A server whose circuit is open, and another for the same domain."""
    await opened("other", domains=["d"])
    connection, server = await opened(domains=["d"])
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    return connection, server


async def test_s42_five_failures_open_the_circuit_of_a_server_that_stays_connected(sick, registry, clock):
    info = registry.get_server("a")
    assert (info.connected, info.state, info.usable) == (True, "circuit_open", False)
    assert info.connection_error == "the server answered HTTP 500"
    assert 0.5 <= info.retry_at - clock() <= 1


@pytest.mark.parametrize("method", ["list", "read", "call"])
async def test_a_server_with_an_open_circuit_is_not_asked(sick, clock, method):
    connection, server = sick
    await asyncio.sleep(0.25)
    before, started = server.asked.copy(), clock()
    client = connection.client
    asked = {
        "list": client.list_tools,
        "read": lambda: client.read_resource("x"),
        "call": lambda: client.call_tool("echo"),
    }
    expected = {"list": MCPConnectionError, "read": ResourceFetchError, "call": ToolCallError}
    with pytest.raises(expected[method]) as caught:
        await asked[method]()
    context = caught.value.context
    assert (context["cause"], context["delivered"], context["retryable"]) == ("circuit_open", "no", True)
    assert 0.25 <= context["retry_in"] <= 0.75
    assert "5 times in a row, at last: the server answered HTTP 500" in caught.value.message
    assert server.asked == before
    assert clock() == started


async def test_after_its_time_exactly_one_request_finds_out_whether_it_is_back(sick, registry, clock):
    connection, server = sick
    await asyncio.sleep(1)
    before = server.asked["resources/list"]
    outcomes = await asyncio.gather(*(connection.client.list_resources() for _ in range(20)), return_exceptions=True)
    assert server.asked["resources/list"] == before + 1
    assert sorted(error.context["cause"] for error in outcomes) == ["circuit_open"] * 19 + ["http"]
    assert 1 <= registry.get_server("a").retry_at - clock() <= 2


async def test_while_the_probe_has_the_only_turn_others_are_refused_at_once(opened, clock):
    await opened("other", domains=["d"])
    connection, server = await opened(domains=["d"], max_concurrent_requests=1)
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    server.instead["resources/list"] = ...
    await asyncio.sleep(1)
    probe = asyncio.create_task(fails(connection))
    await asyncio.sleep(0.1)
    started = clock()
    assert (await fails(connection)).context["cause"] == "circuit_open"
    assert clock() == started
    assert (await probe).context["cause"] == "timeout"


async def test_a_probe_that_works_takes_the_server_back_slowly(sick, registry):
    connection, server = sick
    info = registry.get_server("a")
    assert info.share == 1.0
    server.instead.clear()
    await asyncio.sleep(1)
    await connection.client.list_resources()
    assert (info.state, info.usable, info.connection_error) == ("ready", True, None)
    shares = []
    for _ in range(4):
        shares.append(round(info.share, 3))
        await asyncio.sleep(10)
    assert shares == [0.1, 0.55, 1.0, 1.0]


async def test_a_probe_whose_caller_leaves_decides_nothing(sick):
    connection, server = sick
    server.instead["resources/list"] = ...
    await asyncio.sleep(1)
    probe = asyncio.create_task(connection.client.list_resources())
    await asyncio.sleep(0.1)
    probe.cancel()
    await asyncio.wait({probe})
    server.instead.clear()
    assert (await connection.client.list_resources()).resources


@pytest.mark.parametrize(
    ("domains", "others"),
    [(["d"], {}), (["d"], {"b": ["e"]}), (["d", "e"], {"b": ["e"]}), ([], {})],
    ids=["alone", "alone in its domain", "alone in one of its domains", "without a domain"],
)
async def test_the_last_server_of_a_domain_is_asked_though_its_circuit_is_open(opened, domains, others):
    for server_id, theirs in others.items():
        await opened(server_id, domains=theirs)
    connection, server = await opened(domains=domains)
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    server.instead.clear()
    assert (await connection.client.list_resources()).resources


async def test_while_the_last_server_is_probed_the_others_wait_for_the_verdict(opened, clock):
    connection, server = await opened()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    before = server.asked["resources/list"]
    server.instead["resources/list"] = [...]
    outcomes = await asyncio.gather(*(connection.client.list_resources() for _ in range(30)), return_exceptions=True)
    assert server.asked["resources/list"] == before + 1
    assert sorted(error.context["cause"] for error in outcomes) == ["circuit_open"] * 29 + ["timeout"]
    server.instead.clear()
    server.server.delay = 3.0
    outcomes = await asyncio.gather(*(connection.client.list_resources() for _ in range(30)))
    assert all(outcome.resources for outcome in outcomes)


async def test_who_waits_for_a_probe_that_fails_makes_none(opened, clock):
    connection, server = await opened()
    await connection.client.list_tools()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    server.instead["resources/list"] = ...
    started = clock()
    probe = asyncio.create_task(fails(connection))
    await asyncio.sleep(0.1)
    with pytest.raises(ToolCallError) as caught:
        await connection.client.call_tool("echo", timeout=100)
    assert caught.value.context["cause"] == "circuit_open"
    assert clock() - started == pytest.approx(10, abs=0.01)
    assert server.asked["tools/call"] == 0
    assert (await probe).context["cause"] == "timeout"


async def test_s13_those_who_wait_for_a_probe_leave_a_server_alone_that_then_asks_for_it(opened):
    connection, server = await opened()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    before = server.asked["resources/list"]
    server.instead["resources/list"] = busy("60")
    outcomes = await asyncio.gather(*(connection.client.list_resources() for _ in range(50)), return_exceptions=True)
    assert server.asked["resources/list"] == before + 1
    assert sorted(error.context["cause"] for error in outcomes) == ["busy"] * 49 + ["http"]


async def test_who_waits_for_one_probe_after_another_waits_no_longer_than_its_own_time(opened, clock):
    connection, server = await opened()
    await connection.client.list_tools()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    server.instead = {"resources/list": ..., "tools/call": ...}
    started = clock()
    first = asyncio.create_task(connection.client.list_resources())
    patient = asyncio.create_task(connection.client.call_tool("echo", timeout=100))
    waiting = asyncio.create_task(connection.client.list_resources())
    await asyncio.sleep(4)
    first.cancel()
    with pytest.raises(ResourceFetchError) as caught:
        await waiting
    assert caught.value.context["cause"] == "circuit_open"
    assert clock() - started == pytest.approx(10, abs=0.01)
    patient.cancel()


async def test_the_last_server_gets_another_probe_if_the_caller_of_the_first_leaves(opened):
    connection, server = await opened()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    server.instead["resources/list"] = [...]
    probe, other = (asyncio.create_task(connection.client.list_resources()) for _ in range(2))
    await asyncio.sleep(1)
    probe.cancel()
    assert (await other).resources


@pytest.mark.parametrize("last", [True, False])
async def test_what_a_server_refuses_opens_no_circuit(opened, registry, last):
    if not last:
        await opened("b")
    connection, server = await opened()
    server.instead["resources/list"] = REFUSED
    await fails(connection, 50)
    assert registry.get_server("a").state == "ready"
    assert server.asked["resources/list"] == 50


async def test_time_that_a_caller_does_not_give_is_no_failure_of_the_server(opened, registry):
    connection, server = await opened()
    for _ in range(10):
        with pytest.raises(ToolCallError, match="no answer within 0"):
            await connection.client.call_tool("slow", {"seconds": 5}, timeout=0.5)
    assert registry.get_server("a").state == "ready"
    server.instead["resources/list"] = ...
    assert "no answer within 10 s" in str(await fails(connection, 5))
    assert registry.get_server("a").state == "circuit_open"


async def test_a_tool_call_that_probes_a_server_and_gets_no_answer_leaves_it_alone_for_longer(opened, registry, clock):
    await opened("other", domains=["d"])
    connection, server = await opened(domains=["d"])
    await connection.client.list_tools()
    server.instead["resources/list"] = BROKEN
    await fails(connection, 5)
    await asyncio.sleep(1)
    with pytest.raises(ToolCallError, match="no answer within 10 s"):
        await connection.client.call_tool("slow", {"seconds": 50})
    info = registry.get_server("a")
    assert info.state == "circuit_open"
    assert 1 <= info.retry_at - clock() <= 2


async def test_the_threshold_is_the_servers_own(opened, registry):
    connection, server = await opened(failure_threshold=2)
    server.instead["resources/list"] = BROKEN
    await fails(connection, 2)
    assert registry.get_server("a").state == "circuit_open"


async def test_a_new_connection_is_a_new_chance(sick, registry):
    connection, server = sick
    server.instead.clear()
    await server.link.hang_up()
    await asyncio.sleep(1)
    info = registry.get_server("a")
    assert (info.connected, info.state) == (True, "ready")
    assert 0.1 <= info.share < 0.2
    answers = await asyncio.gather(*(connection.client.list_resources() for _ in range(3)))  # none is a mere probe
    assert all(answer.resources for answer in answers)


async def test_a_new_connection_is_not_bound_by_what_the_one_before_asked_for(opened):
    connection, server = await opened()
    server.instead["resources/list"] = [busy("600")]
    await fails(connection)
    await server.link.hang_up()
    await asyncio.sleep(1)
    assert (await connection.client.list_resources()).resources


async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(opened, registry, clock):
    connection, server = await opened()
    info = registry.get_server("a")
    server.instead["resources/list"] = [busy("30")]
    await fails(connection)
    assert (info.state, info.usable, info.retry_at) == ("degraded", False, clock() + 30)
    asked = server.asked.copy()
    for _ in range(29):
        error = await fails(connection)
        assert (error.context["cause"], error.context["delivered"]) == ("busy", "no")
        assert error.context["retry_in"] == pytest.approx(info.retry_at - clock(), abs=0.001)
        await asyncio.sleep(1)
    assert server.asked == asked
    await asyncio.sleep(1.5)
    assert info.usable
    assert (await connection.client.list_resources()).resources
    assert info.state == "ready"


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(busy(None), 1), (busy("86400"), 600), (busy("20", 503), 20), (busy(None, 503), 0)],
    ids=["does not say", "says too much", "is being mended", "is down"],
)
async def test_how_long_a_server_is_left_alone(opened, registry, clock, answer, seconds):
    connection, server = await opened()
    server.instead["resources/list"] = [answer]
    await fails(connection)
    assert (registry.get_server("a").retry_at or clock()) - clock() == pytest.approx(seconds, abs=0.001)


async def test_a_tool_of_a_busy_server_was_certainly_not_called(opened):
    connection, server = await opened()
    server.instead["tools/list"] = busy("30")
    for _ in range(2):
        with pytest.raises(ToolCallError) as caught:
            await connection.client.call_tool("echo")
        assert caught.value.context["delivered"] == "no"
    assert caught.value.context["cause"] == "busy"
    assert caught.value.context["retry_in"] == pytest.approx(30, abs=0.001)


async def test_further_requests_wait_for_their_turn(opened, registry, clock):
    connection, _ = await opened(max_concurrent_requests=4)
    await connection.client.list_tools()
    calls = [asyncio.create_task(connection.client.call_tool("slow", {"seconds": 3})) for _ in range(12)]
    most = 0
    while not all(call.done() for call in calls):
        most = max(most, registry.get_server("a").in_flight)
        await asyncio.sleep(0.5)
    assert most == 4
    assert not any(call.result().is_error for call in calls)
    assert clock() == pytest.approx(9, abs=0.6)
    assert registry.get_server("a").in_flight == 0


async def test_who_gets_no_turn_in_time_was_not_delivered(opened, clock):
    connection, server = await opened(max_concurrent_requests=1)
    await connection.client.list_tools()
    first = asyncio.create_task(connection.client.call_tool("slow", {"seconds": 9}))
    await asyncio.sleep(1)
    with pytest.raises(ToolCallError, match="no turn within 2 s: max_concurrent_requests=1") as caught:
        await connection.client.call_tool("echo", timeout=2)
    assert (caught.value.context["cause"], caught.value.context["delivered"]) == ("busy", "no")
    assert clock() == pytest.approx(3, abs=0.01)
    assert server.asked["tools/call"] == 1
    assert not (await first).is_error


async def test_waiting_for_a_turn_and_for_the_answer_take_the_time_of_one_request(opened, clock):
    connection, _ = await opened(max_concurrent_requests=1)
    await connection.client.list_tools()
    calls = [connection.client.call_tool("slow", {"seconds": 6}) for _ in range(2)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[1], ToolCallError)
    assert outcomes[1].context["delivered"] == "maybe"
    assert clock() <= 10.51


async def test_a_request_that_got_its_turn_late_says_nothing_of_the_server(opened, registry):
    connection, _ = await opened(max_concurrent_requests=1, failure_threshold=1)
    await connection.client.list_tools()
    calls = [connection.client.call_tool("slow", {"seconds": 6}) for _ in range(2)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert registry.get_server("a").state == "ready"


async def test_a_cancelled_request_gives_its_turn_back(opened):
    connection, _ = await opened(max_concurrent_requests=1)
    await connection.client.list_tools()
    calls = [asyncio.create_task(connection.client.call_tool("slow", {"seconds": 9})) for _ in range(3)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert not (await connection.client.call_tool("echo")).is_error


async def test_a_server_that_takes_all_its_turns_keeps_none_of_anothers(opened, clock):
    slow, _ = await opened("slow", max_concurrent_requests=2, request_timeout=60)
    other, _ = await opened("other")
    calls = [asyncio.create_task(slow.client.call_tool("slow", {"seconds": 5})) for _ in range(20)]
    await asyncio.sleep(1)
    started = clock()
    assert (await other.client.list_resources()).resources
    assert clock() == started
    await asyncio.wait(calls)


async def test_fifty_calls_of_a_forgotten_session_are_each_repeated_once(opened):
    """Each was refused, and its refusal still arrives although the first has shown that the session is gone."""
    connection, server = await opened(mode="legacy")
    await connection.client.list_tools()
    server.instead["tools/call"] = [FORGOTTEN] * 50
    calls = [connection.client.call_tool("echo", {"text": str(i)}) for i in range(50)]
    outcomes = await asyncio.gather(*calls)
    assert [outcome.content[0].text for outcome in outcomes] == [f"scripted: {i}" for i in range(50)]
    assert server.server.requests["tools/call"] == 50
    assert len(server.attempts) == 2


async def test_a_request_that_is_repeated_has_no_more_time_than_any_other(opened, clock):
    connection, server = await opened(mode="legacy")
    await connection.client.list_tools()
    started = clock()
    server.afterwards.entering = 6.0
    server.instead["tools/call"] = [FORGOTTEN, ...]
    with pytest.raises(ToolCallError):
        await connection.client.call_tool("echo")
    assert clock() - started == pytest.approx(10, abs=0.6)


async def test_a_call_that_hangs_does_not_keep_a_forgotten_session_for_long(opened, clock):
    connection, server = await opened(mode="legacy")
    await connection.client.list_tools()
    server.instead["tools/call"] = [..., FORGOTTEN]
    hanging = asyncio.create_task(connection.client.call_tool("echo"))
    await asyncio.sleep(0.01)
    assert not (await connection.client.call_tool("echo")).is_error
    assert clock() <= 2
    with pytest.raises(ToolCallError) as caught:
        await hanging
    assert caught.value.context["delivered"] == "maybe"


async def test_s6_what_a_sick_server_says_is_shown_without_secrets(opened, registry):
    connection, server = await opened(secrets=["s3cret"], failure_threshold=2)
    quoting = transport_error("the server answered HTTP 500 s3cret", kind="http", status=500)
    server.instead["resources/list"] = ErrorData(**quoting)
    await opened("other")
    for _ in range(3):
        assert "s3cret" not in str(await fails(connection))
        assert "s3cret" not in registry.get_server("a").connection_error
