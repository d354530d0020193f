"""Which protocol era a server is asked for, and what is remembered of it."""

import asyncio

import pytest
from mcp_types import ErrorData

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
UNKNOWN_METHOD = ErrorData(code=-32601, message="Method not found")


async def lose_and_return(connection, server):
    """End the connection and wait for the next one, or for the attempts at it to fail."""
    await server.link.hang_up()
    await asyncio.sleep(60)


async def test_a_modern_server_is_asked_once_and_then_known(connect, upstream):
    server = upstream()
    connection = connect(server)
    await connection.open()
    assert server.asked["server/discover"] == 1
    await lose_and_return(connection, server)
    assert connection.protocol_version == MODERN
    assert server.asked["server/discover"] == 2  # asked whether it still is, not what it is
    assert server.asked["initialize"] == 0


async def test_a_known_server_that_answers_badly_for_once_is_not_taken_for_an_old_one(connect, upstream):
    """The SDK's own probe would take any error for that, and speak the legacy era from then on."""
    server = upstream()
    connection = connect(server)
    await connection.open()
    server.instead["server/discover"] = ErrorData(code=-32000, message="SSE stream failed: cut")
    await lose_and_return(connection, server)
    assert connection.current is None
    assert server.asked["initialize"] == 0
    del server.instead["server/discover"]
    await asyncio.sleep(60)
    assert connection.protocol_version == MODERN
    assert server.asked["initialize"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        UNKNOWN_METHOD,
        ErrorData(code=-32022, message="Unsupported protocol version", data={"supported": ["2025-11-25"]}),
        {"resultType": "complete"},
        {
            "resultType": "complete",
            "supportedVersions": ["2025-11-25"],
            "capabilities": {},
            "ttlMs": 0,
            "cacheScope": "public",
        },
    ],
    ids=["unknown method", "unsupported version", "nonsense", "no modern version"],
)
async def test_a_known_server_that_is_replaced_by_an_old_one_is_found_out_anew(connect, upstream, answer):
    server = upstream()
    connection = connect(server)
    await connection.open()
    server.instead["server/discover"] = answer
    await lose_and_return(connection, server)
    assert connection.current is not None
    assert connection.current.protocol_version == "2025-11-25"
    assert server.asked["initialize"] == 1
    assert (await connection.client.call_tool("echo", {"text": "x"})).content[0].text == "scripted: x"


async def test_an_old_server_is_probed_each_time_so_that_an_upgrade_is_noticed(connect, upstream):
    server = upstream()
    server.instead["server/discover"] = UNKNOWN_METHOD
    connection = connect(server)
    await connection.open()
    assert connection.protocol_version == "2025-11-25"
    del server.instead["server/discover"]
    await lose_and_return(connection, server)
    assert connection.protocol_version == MODERN


@pytest.mark.parametrize(("fields", "spec"), [({"mode": "legacy"}, {}), ({}, {"legacy_only": True})])
async def test_a_server_that_is_said_to_be_old_is_never_probed(connect, upstream, fields, spec):
    server = upstream()
    connection = connect(server, spec=spec, **fields)
    await connection.open()
    for _ in range(3):
        await lose_and_return(connection, server)
    assert connection.protocol_version == "2025-11-25"
    assert server.asked["server/discover"] == 0
    assert server.asked["initialize"] == 4


async def test_a_server_that_is_said_to_be_modern_is_asked_what_it_offers(connect, upstream):
    """Left to itself, the SDK would connect to anything and believe that it offers nothing."""
    server = upstream()
    connection = connect(server, mode=MODERN)
    assert await connection.open() is None
    assert connection.current.server_capabilities.resources is not None
    assert connection.server_info.name == "scripted"
    await lose_and_return(connection, server)
    assert server.asked["initialize"] == 0


async def test_a_server_that_is_wrongly_said_to_be_modern_is_not_connected(connect, upstream, registry):
    server = upstream()
    server.instead["server/discover"] = UNKNOWN_METHOD
    fault = await connect(server, mode=MODERN).open()
    assert fault.reason == "Method not found"
    assert registry.get_server("a").state == "failed"
    assert server.asked["initialize"] == 0


async def test_a_silent_server_that_is_said_to_be_modern_is_not_connected(connect, upstream):
    fault = await connect(upstream(afterwards={"silent": True}), mode=MODERN, timeout=3).open()
    assert fault.cause == "timeout"
