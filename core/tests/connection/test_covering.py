"""S33: changes of the contents that are kept are told, over both eras of the protocol, in simulated time."""

import asyncio

import mcp_types as types
import pytest
from mcp_orchestra.connection.resources import fetch_resources
from mcp_orchestra.testing.servers import ScriptedServer

pytestmark = pytest.mark.anyio

RESOURCES = {"resources"}
UNKNOWN = types.ErrorData(code=types.METHOD_NOT_FOUND, message="Method not found")
UNKNOWN_RESOURCE = types.ErrorData(code=types.INVALID_PARAMS, message="Unknown resource")
BUSY = types.ErrorData(code=types.INTERNAL_ERROR, message="Subscription limit reached")
HOUR = 3600
BOTH_ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def opened(connect, upstream):
    """Connect to a scripted server, and wait until it tells of its lists: ``await opened(resources=30)``."""

    async def open_(*, mode="auto", resources=3, **fields):
        server = upstream(server=ScriptedServer("s", resources=resources))
        connection = connect(server, mode=mode, **fields)
        assert await connection.open() is None
        await settle()
        return connection, server

    return open_


async def settle():
    await asyncio.sleep(0.001)


def subscriptions(server):
    return [asked.resource_subscriptions for asked in server.server.notifier.filters if asked.resource_subscriptions]


@BOTH_ERAS
async def test_s33_changed_contents_of_what_was_gathered_are_told_once(opened, changed, mode):
    connection, server = await opened(mode=mode)
    await fetch_resources(connection)
    await server.server.put("res://s/1", "new text")
    await settle()
    assert changed.take() == [RESOURCES]


@BOTH_ERAS
async def test_s33_contents_that_change_while_they_are_read_are_told(opened, changed, mode):
    connection, server = await opened(mode=mode)
    server.server.delay = 10
    fetching = asyncio.create_task(fetch_resources(connection))
    await asyncio.sleep(10.001)  # listed; the reads have begun
    assert server.asked["resources/read"] == 3
    await server.server.put("res://s/1", "new text")
    await settle()
    assert changed.take() == [RESOURCES]
    await fetching


async def test_a_modern_server_is_asked_for_all_contents_at_once_and_again_when_they_are_others(opened):
    connection, server = await opened()
    for _ in range(3):
        await fetch_resources(connection)
    await settle()
    assert subscriptions(server) == [["res://s/0", "res://s/1", "res://s/2"]]
    server.server.resources["res://s/9"] = "text"
    await fetch_resources(connection)
    await settle()
    assert subscriptions(server)[1:] == [["res://s/0", "res://s/1", "res://s/2", "res://s/9"]]
    assert server.server.notifier.open_streams == 2, "one for the lists, one for the contents"


async def test_the_contents_of_no_resources_are_not_asked_for(opened, changed):
    connection, server = await opened(resources=1)
    await fetch_resources(connection)
    await server.server.drop("res://s/0")
    await fetch_resources(connection)
    await settle()
    assert server.server.notifier.open_streams == 1
    assert len(subscriptions(server)) == 1


async def test_between_two_sets_of_contents_nothing_goes_unheard(opened, changed):
    """The old stream is closed only when the new one is acknowledged."""
    connection, server = await opened()
    await fetch_resources(connection)
    server.server.resources["res://s/9"] = "text"
    server.server.notifier.delay = 0.5
    fetching = asyncio.create_task(fetch_resources(connection))
    await asyncio.sleep(0.4)
    assert len(subscriptions(server)) == 2
    await server.server.put("res://s/1", "new text")
    await settle()
    assert changed.take() == [RESOURCES]
    await fetching


async def test_a_server_with_few_streams_gets_the_old_one_back_before_it_is_asked_again(opened):
    connection, server = await opened()
    await fetch_resources(connection)
    server.server.resources["res://s/9"] = "text"
    server.instead["subscriptions/listen"] = [BUSY]
    await fetch_resources(connection)
    await settle()
    assert server.server.notifier.open_streams == 1
    await asyncio.sleep(1)
    assert server.server.notifier.open_streams == 2
    assert len(subscriptions(server)) == 2


@BOTH_ERAS
async def test_what_is_not_read_is_not_asked_for(opened, mode):
    connection, server = await opened(mode=mode, resources=30, max_resources_read=12)
    await fetch_resources(connection)
    listening = [len(uris) for uris in subscriptions(server)]
    assert (listening, server.asked["resources/subscribe"]) == (([12], 0) if mode == "auto" else ([], 12))


@BOTH_ERAS
async def test_who_only_lists_asks_for_no_contents(opened, mode):
    connection, server = await opened(mode=mode, resource_contents=False)
    await fetch_resources(connection)
    assert subscriptions(server) == []
    assert server.asked["resources/subscribe"] == 0


async def test_a_legacy_server_is_asked_for_each_new_resource_and_a_few_at_a_time(opened, clock):
    connection, server = await opened(mode="legacy", resources=20, max_concurrent_reads=5)
    server.server.notifier.delay = 0.1
    started = clock()
    await fetch_resources(connection)
    assert clock() - started == pytest.approx(0.4), "twenty, five at a time"
    assert server.asked["resources/subscribe"] == 20
    server.server.resources["res://s/new"] = "text"
    await fetch_resources(connection)
    assert server.asked["resources/subscribe"] == 21
    del server.server.resources["res://s/new"]
    await fetch_resources(connection)
    assert server.asked["resources/subscribe"] == 21
    server.server.resources["res://s/new"] = "one that came back is a new one"
    await fetch_resources(connection)
    assert server.asked["resources/subscribe"] == 22


@BOTH_ERAS
async def test_s33_contents_that_were_read_before_a_late_acknowledgement_are_stale_with_it(
    opened, changed, clock, mode
):
    connection, server = await opened(mode=mode)
    server.server.notifier.delay = 3
    started = clock()
    await fetch_resources(connection)
    assert clock() - started == pytest.approx(1)
    assert changed.take() == []
    await asyncio.sleep(2.1)
    assert changed.take() == [RESOURCES]
    await fetch_resources(connection)
    await asyncio.sleep(HOUR)
    assert changed.take() == []


@BOTH_ERAS
async def test_a_server_that_refuses_to_tell_of_contents_is_not_asked_again(opened, changed, mode):
    connection, server = await opened(mode=mode)
    method = "subscriptions/listen" if mode == "auto" else "resources/subscribe"
    server.instead[method] = UNKNOWN
    await fetch_resources(connection)
    asked = server.asked[method]
    server.server.resources["res://s/9"] = "text"
    found = await fetch_resources(connection)
    await asyncio.sleep(HOUR)
    assert server.asked[method] == asked
    assert (len(found.data), found.cacheable) == (4, True)
    assert changed.take() == []


async def test_a_legacy_server_that_leaves_subscriptions_unanswered_costs_a_second_once(opened, clock):
    connection, server = await opened(mode="legacy", request_timeout=10)
    server.instead["resources/subscribe"] = ...
    started = clock()
    await fetch_resources(connection)
    assert clock() - started == pytest.approx(1)
    await asyncio.sleep(60)
    server.server.resources["res://s/9"] = "text"
    started = clock()
    await fetch_resources(connection)
    assert clock() == started
    assert server.asked["resources/subscribe"] == 3


async def test_a_resource_that_cannot_be_subscribed_to_does_not_keep_the_others_from_it(opened, changed):
    connection, server = await opened(mode="legacy", max_concurrent_reads=1)
    server.instead["resources/subscribe"] = [UNKNOWN_RESOURCE]
    await fetch_resources(connection)
    await server.server.put("res://s/2", "new text")
    await settle()
    assert changed.take() == [RESOURCES]
    await fetch_resources(connection)
    assert server.asked["resources/subscribe"] == 3


async def test_s33_a_lost_stream_for_contents_makes_them_stale_and_is_opened_again(opened, changed):
    connection, server = await opened()
    await fetch_resources(connection)
    server.server.notifier.break_streams()
    await asyncio.sleep(1)
    assert set().union(*changed.take()) == {"resources", "tools"}
    assert server.server.notifier.open_streams == 2
    await server.server.put("res://s/1", "new text")
    await settle()
    assert changed.take() == [RESOURCES]


@BOTH_ERAS
async def test_a_new_connection_is_asked_for_the_contents_anew(opened, changed, mode):
    connection, server = await opened(mode=mode)
    await fetch_resources(connection)
    await server.link.hang_up()
    await asyncio.sleep(60)
    await fetch_resources(connection)
    changed.take()
    await server.server.put("res://s/1", "new text")
    await settle()
    assert changed.take() == [RESOURCES]


@BOTH_ERAS
async def test_s14_a_close_while_contents_are_being_asked_for_leaves_nothing(opened, clock, mode):
    connection, server = await opened(mode=mode)
    server.server.notifier.delay = 100
    fetching = asyncio.create_task(fetch_resources(connection))
    await asyncio.sleep(0.5)
    started = clock()
    await connection.close()
    assert clock() - started < 1
    await asyncio.gather(fetching, return_exceptions=True)
    assert fetching.done()
