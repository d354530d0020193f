"""S33: servers tell what has changed, over both eras of the protocol, in simulated time."""

import asyncio

import mcp_types as types
import pytest
from mcp_orchestra.testing.servers import ScriptedServer
from mcp_orchestra.wire import transport_error

pytestmark = pytest.mark.anyio

RESOURCES, TOOLS, BOTH = {"resources"}, {"tools"}, {"resources", "tools"}
UNKNOWN = types.ErrorData(code=types.METHOD_NOT_FOUND, message="Method not found")
BUSY = types.ErrorData(code=types.INTERNAL_ERROR, message="Subscription limit reached")
DOWN = types.ErrorData.model_validate(transport_error("connection refused", kind="ConnectError", delivered="no"))
REFUSED = ConnectionRefusedError()
HOUR = 3600


@pytest.fixture
async def opened(connect, upstream):
    """Connect to a scripted server: ``connection, server = await opened(delay=3)`` sets what its notifier does."""

    async def open_(*, instead=None, mode="auto", tells=True, **manners):
        scripted = ScriptedServer(tools=("echo",), tells=tells)
        for name, value in manners.items():
            assert hasattr(scripted.notifier, name)
            setattr(scripted.notifier, name, value)
        server = upstream(server=scripted, instead=instead or {})
        connection = connect(server, mode=mode)
        assert await connection.open() is None
        return connection, server

    return open_


async def settle():
    await asyncio.sleep(0.001)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_s33_a_changed_list_is_told_once_and_as_what_it_is(opened, changed, mode):
    _, server = await opened(mode=mode)
    await settle()
    assert changed.take() == []
    await server.server.put("res://new", "text")
    await settle()
    assert changed.take() == [RESOURCES]
    await server.server.offer("count")
    await settle()
    assert changed.take() == [TOOLS]


async def test_a_modern_server_is_asked_once_and_a_legacy_server_not_at_all(opened):
    _, modern = await opened()
    _, legacy = await opened(mode="legacy")
    await asyncio.sleep(HOUR)
    assert modern.asked["subscriptions/listen"] == 1
    assert modern.server.notifier.filters == [
        types.SubscriptionFilter(tools_list_changed=True, resources_list_changed=True)
    ]
    assert legacy.asked["subscriptions/listen"] == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_server_that_declares_no_notices_is_not_asked_for_any(opened, mode):
    connection, server = await opened(mode=mode, tells=False)
    await connection.cover(["res://scripted/0"])
    await asyncio.sleep(HOUR)
    assert {"subscriptions/listen", "resources/subscribe"}.isdisjoint(server.asked)


async def test_connecting_does_not_wait_for_the_acknowledgement(opened, clock):
    started = clock()
    connection, _ = await opened(delay=20)
    assert clock() == started
    assert connection.current is not None


async def test_a_first_listing_waits_for_a_prompt_acknowledgement_and_is_covered(opened, changed, clock):
    connection, _ = await opened(delay=0.5)
    started = clock()
    await asyncio.gather(connection.client.list_resources(), connection.client.list_tools())
    assert clock() - started == pytest.approx(0.5)
    await connection.client.list_resources()
    assert clock() - started == pytest.approx(0.5)
    await asyncio.sleep(HOUR)
    assert changed == []


async def test_s33_what_was_fetched_before_a_late_acknowledgement_is_stale_with_it(opened, changed, clock):
    connection, _ = await opened(delay=3)
    started = clock()
    await connection.client.list_resources()
    assert clock() - started == pytest.approx(1)
    await connection.client.list_resources()
    assert clock() - started == pytest.approx(1)
    await asyncio.sleep(1.9)
    assert changed.take() == []
    await asyncio.sleep(0.2)
    assert changed.take() == [RESOURCES]


async def test_a_late_acknowledgement_says_nothing_of_what_was_not_fetched(opened, changed):
    await opened(delay=3)
    await asyncio.sleep(HOUR)
    assert changed == []


@pytest.mark.parametrize(
    "manner",
    [
        {"instead": {"subscriptions/listen": UNKNOWN}},
        {"honours": lambda _asked: types.SubscriptionFilter()},
        {"instead": {"subscriptions/listen": {"resultType": "complete"}}},
    ],
    ids=["knows no such method", "honours nothing", "ends the stream in its first word"],
)
async def test_a_server_that_refuses_is_not_asked_again_and_stays_connected(opened, changed, registry, manner):
    connection, server = await opened(**manner)
    await connection.client.list_resources()
    await asyncio.sleep(HOUR)
    assert server.asked["subscriptions/listen"] == 1
    assert changed == []
    assert registry.get_server("a").connected
    await server.link.hang_up()
    await asyncio.sleep(60)
    assert server.asked["subscriptions/listen"] == 2


async def test_what_is_not_honoured_is_not_said_to_have_been_lost(opened, changed):
    connection, server = await opened(honours=lambda _asked: types.SubscriptionFilter(tools_list_changed=True))
    await connection.client.list_resources()
    await server.server.put("res://new", "text")
    server.server.notifier.break_streams()
    await asyncio.sleep(60)
    assert changed.take() == [TOOLS]


async def test_a_server_that_cannot_listen_yet_is_asked_again(opened, changed):
    connection, server = await opened(instead={"subscriptions/listen": [BUSY, BUSY, BUSY]})
    await connection.client.list_tools()
    await asyncio.sleep(10)
    assert server.asked["subscriptions/listen"] == 4
    assert changed.take() == [TOOLS]


async def test_a_request_to_listen_that_is_never_answered_is_made_again(opened, registry):
    _, server = await opened(instead={"subscriptions/listen": [..., ...]})
    await asyncio.sleep(120)
    assert server.asked["subscriptions/listen"] == 3
    assert server.server.notifier.open_streams == 1
    assert registry.get_server("a").connected


@pytest.mark.parametrize("ending", ["end_streams", "break_streams"])
async def test_s33_after_the_end_of_a_stream_everything_is_stale_and_the_next_one_tells(opened, changed, ending):
    _, server = await opened()
    await settle()
    getattr(server.server.notifier, ending)()
    await asyncio.sleep(1)
    assert changed.take() == [BOTH]
    assert server.asked["subscriptions/listen"] == 2
    await server.server.put("res://new", "text")
    await settle()
    assert changed.take() == [RESOURCES]


@pytest.mark.parametrize("ending", ["end_streams", "break_streams"])
async def test_s33_a_stream_that_does_not_come_back_leaves_nothing_fresh_for_longer_than_a_second(
    opened, changed, ending
):
    _, server = await opened()
    await settle()
    server.server.notifier.delay = 10
    getattr(server.server.notifier, ending)()
    await asyncio.sleep(1.01)
    assert changed.take() == [BOTH]
    await asyncio.sleep(15)
    assert changed.take() == [BOTH], "what happened between the streams was not told"


async def test_s33_a_server_that_refuses_to_go_on_telling_leaves_nothing_fresh(opened, changed):
    _, server = await opened()
    await settle()
    server.instead["subscriptions/listen"] = UNKNOWN
    server.server.notifier.break_streams()
    await asyncio.sleep(HOUR)
    assert changed.take() == [BOTH]
    assert server.asked["subscriptions/listen"] == 2


async def test_s24_a_server_that_dies_leaves_its_copies_fresh_until_it_is_back(opened, changed):
    _, server = await opened()
    await settle()
    server.afterwards = type(server.afterwards)(fails=REFUSED)
    await server.link.hang_up()
    await asyncio.sleep(HOUR)
    assert changed.take() == []
    server.afterwards = type(server.afterwards)()
    await asyncio.sleep(60)
    assert changed.take() == [BOTH]
    assert server.asked["subscriptions/listen"] == 2


async def test_s24_a_connection_that_is_lost_soon_after_its_stream_leaves_its_copies_fresh(opened, changed):
    _, server = await opened()
    await settle()
    server.instead["subscriptions/listen"] = ...
    server.server.notifier.break_streams()
    await asyncio.sleep(0.9)
    server.afterwards = type(server.afterwards)(fails=REFUSED)
    await server.link.hang_up()
    await asyncio.sleep(HOUR)
    assert changed.take() == []


@pytest.mark.parametrize("then", [[], [UNKNOWN]], ids=["tells again", "refuses"])
async def test_s24_a_server_that_is_down_leaves_its_copies_fresh_until_it_answers(opened, changed, then):
    """As over HTTP, where the connection need not be lost with the server."""
    _, server = await opened()
    await settle()
    server.instead["subscriptions/listen"] = [*[DOWN] * 8, *then]
    server.server.notifier.break_streams()
    while server.asked["subscriptions/listen"] < 9:
        await asyncio.sleep(0.01)
    assert changed.take() == []
    await asyncio.sleep(HOUR)
    assert changed.take() == [BOTH]


async def test_streams_that_break_at_once_are_opened_ever_more_seldom(opened, changed):
    _, server = await opened(lasting=0.1)
    await asyncio.sleep(60)
    changed.take()
    early = server.asked["subscriptions/listen"]
    assert early < 20
    await asyncio.sleep(24 * HOUR)
    asked = server.asked["subscriptions/listen"] - early
    assert 200 < asked < 1200
    assert len(changed.take()) <= 2 * asked


async def test_streams_that_last_are_reopened_promptly(opened):
    _, server = await opened(lasting=60)
    for _ in range(30):
        await asyncio.sleep(60.5)
        assert server.server.notifier.open_streams == 1


@pytest.mark.parametrize("delay", [0, 20], ids=["open", "not yet acknowledged"])
async def test_s14_streams_do_not_hold_up_a_close(opened, clock, delay):
    connection, _ = await opened(delay=delay)
    await settle()
    started = clock()
    await connection.close()
    assert clock() - started < 0.1


async def test_s14_a_close_does_not_wait_for_the_goodbye_of_a_stream(opened, clock):
    """The SDK takes its time to cancel a request of which a server that does not read cannot be told."""
    connection, server = await opened(instead={"notifications/cancelled": asyncio.Event()})
    await settle()
    started = clock()
    await connection.close()
    assert clock() - started < 5
    assert server.open == 0


async def test_after_a_close_nothing_is_told(opened, changed):
    connection, server = await opened()
    await settle()
    server.server.notifier.break_streams()
    await connection.close()
    await asyncio.sleep(HOUR)
    assert changed == []
