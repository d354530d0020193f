"""S22, S23 and S33: gathering all that one server has to read."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.config.models import LimitsConfig
from mcp_orchestra.connection.listing import Listing
from mcp_orchestra.connection.resources import fetch_resources
from mcp_orchestra.errors import MCPConnectionError, ResourceFetchError
from mcp_orchestra.testing.servers import ScriptedServer
from mcp_types import ErrorData, Resource

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gather(connect, upstream):
    """Connect to a scripted server: ``connection, server = await gather(resources=5)``."""

    async def open_(*, limits=None, **options):
        server = upstream(server=ScriptedServer(**options))
        connection = connect(server, **{"request_timeout": 10, **(limits or {})})
        assert await connection.open() is None
        return connection, server

    return open_


def listing(*pairs):
    """A server that lists resources with these names and URIs, and of which nothing is read."""

    async def collect_resources():
        return Listing(items=[Resource(name=name, uri=uri) for name, uri in pairs])

    return SimpleNamespace(
        current=None,
        limits=LimitsConfig(resource_contents=False),
        client=SimpleNamespace(collect_resources=collect_resources),
    )


# Few letters, so that names and URIs coincide often, also with each other.
TEXT = st.text(alphabet="ab:", max_size=2)


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
async def test_s22_every_resource_is_found_under_its_name_or_its_uri(pairs):
    found = (await fetch_resources(listing(*pairs))).data
    assert {entry["uri"] for entry in found.values()} == {uri for _, uri in pairs}
    assert all(key in (entry["name"], entry["uri"]) for key, entry in found.items())
    listed = set(pairs)
    for name, uri in listed:
        namesakes = [pair for pair in listed if pair[0] == name]
        strangers = [pair for pair in listed if pair[1] == name != uri]
        key = name if len(namesakes) == 1 and not strangers else uri
        assert found[key]["uri"] == uri


async def test_s22_what_is_listed_twice_is_one_resource():
    assert list((await fetch_resources(listing(("a", "x://1"), ("a", "x://1")))).data) == ["a"]


async def test_s22_a_name_that_is_the_uri_of_another_gives_way():
    assert list((await fetch_resources(listing(("x://2", "x://1"), ("b", "x://2")))).data) == ["x://1", "b"]


async def test_s22_a_server_that_does_not_know_resources_has_none(gather):
    connection, server = await gather(resources=0)
    assert (await fetch_resources(connection)).data == {}
    assert server.asked["resources/list"] == 0


async def test_s22_a_server_that_does_not_know_the_method_has_none(gather):
    connection, server = await gather()
    server.instead["resources/list"] = ErrorData(code=-32601, message="Method not found")
    fetched = await fetch_resources(connection)
    assert fetched.data == {}
    assert fetched.cacheable


async def test_a_failed_listing_is_an_error(gather):
    connection, server = await gather()
    server.instead["resources/list"] = ErrorData(code=-32603, message="busy")
    with pytest.raises(ResourceFetchError, match="busy"):
        await fetch_resources(connection)


async def test_a_connection_that_is_lost_ends_the_gathering(gather, clock):
    connection, server = await gather(resources=50)
    server.instead["resources/read"] = ["pass"] * 20 + [...] * 100
    gathering = asyncio.create_task(fetch_resources(connection))
    await asyncio.sleep(1)
    await server.link.hang_up()
    with pytest.raises(MCPConnectionError, match="the connection was closed"):
        await gathering
    assert clock() == pytest.approx(1, abs=0.01)
    assert server.asked["resources/read"] == 28


async def test_one_silent_resource_costs_its_own_content_only(gather, clock):
    connection, server = await gather(resources=50)
    server.instead["resources/read"] = ["pass", ...]
    fetched = await fetch_resources(connection)
    assert clock() == pytest.approx(10, abs=0.1)
    errors = [entry["error"] for entry in fetched.data.values() if "error" in entry]
    assert errors == ["A: resources/read failed: no answer within 10 s"]
    assert sum("data" in entry for entry in fetched.data.values()) == 49
    assert not fetched.cacheable


async def test_a_server_that_falls_silent_costs_its_timeout_once(gather, clock):
    connection, server = await gather(resources=50)
    server.instead["resources/read"] = ["pass"] * 5 + [...] * 100
    fetched = await fetch_resources(connection)
    assert clock() == pytest.approx(10, abs=0.1)
    assert server.asked["resources/read"] == 5 + 8
    assert sum("data" in entry for entry in fetched.data.values()) == 5
    unread = [entry["error"] for entry in fetched.data.values() if "not read, because" in entry.get("error", "")]
    assert len(unread) == 50 - 5 - 8
    assert list(fetched.data) == [str(i) for i in range(50)]


@pytest.mark.parametrize("at_once", [1, 3, 8])
async def test_s23_no_more_reads_run_at_once_than_allowed(gather, clock, at_once):
    connection, _ = await gather(resources=24, delay=1.0, limits={"max_concurrent_reads": at_once})
    await fetch_resources(connection)
    assert clock() == pytest.approx(1 + 24 / at_once, abs=0.1)


async def test_s23_nothing_is_read_where_nothing_may_be(gather):
    connection, server = await gather(resources=3, limits={"max_resources_read": 0})
    fetched = await fetch_resources(connection)
    assert [entry["skipped"] for entry in fetched.data.values()] == ["max_resources_read"] * 3
    assert server.asked["resources/read"] == 0
    assert fetched.cacheable


async def test_s33_a_gathering_is_as_fresh_as_the_stalest_of_its_answers(gather):
    connection, server = await gather(resources=2, ttl_ms=9000, scope="public")
    fetched = await fetch_resources(connection)
    assert (fetched.ttl_ms, fetched.scope) == (9000, "public")
    contents = [{"uri": "res://scripted/0", "text": "t"}]
    server.instead["resources/read"] = [
        {"resultType": "complete", "contents": contents, "ttlMs": 100, "cacheScope": "private"}
    ]
    fetched = await fetch_resources(connection)
    assert (fetched.ttl_ms, fetched.scope) == (100, "private")


async def test_a_cancelled_gathering_stops_reading(gather):
    connection, server = await gather(resources=50, delay=1.0)
    gathering = asyncio.create_task(fetch_resources(connection))
    await asyncio.sleep(2.5)
    gathering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathering
    await asyncio.sleep(60)
    assert server.asked["resources/read"] == 16
