"""S10, S11 and S14: all connections of one configuration, opened together and closed together."""

import asyncio
from types import SimpleNamespace

import pytest
from mcp_orchestra.config.loaded import BoundTransport
from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.connections import Connections
from mcp_orchestra.errors import MCPConnectionError, NoMCPAvailableError
from mcp_orchestra.tasks import finish
from mcp_orchestra.telemetry import Telemetry

pytestmark = pytest.mark.anyio

REFUSED = ConnectionRefusedError()


@pytest.fixture
async def connections(deadline, registry, changed):
    """Make the connections to some servers: ``connections({"a": server}, max_retries=0)``."""
    made: list[Connections] = []

    def make(servers, *, secrets=(), spec=None, fields=None, **orchestration) -> Connections:
        config = MCPConfig.model_validate(
            {
                "mcp_servers": {key: {"name": key.title(), "timeout": 5, **(fields or {})} for key in servers},
                "orchestration": {"max_retries": 0, **orchestration},
            }
        )
        for server_id, server in config.mcp_servers.items():
            registry.register_server(server_id, server)
        transports = {key: BoundTransport(spec=server.spec(**(spec or {}))) for key, server in servers.items()}
        loaded = SimpleNamespace(config=config, transports=transports, secrets=frozenset(secrets))
        made.append(Connections(loaded, registry, Telemetry(), changed.tell))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    await asyncio.sleep(120)
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())] == []


async def test_s10_slow_servers_take_as_long_as_the_slowest(connections, upstream, clock):
    servers = {f"s{i}": upstream(afterwards={"entering": 1 + i / 50}) for i in range(100)}
    await connections(servers).open(fail_fast=True)
    assert clock() == pytest.approx(1 + 99 / 50, abs=0.1)


async def test_s10_sick_servers_do_not_keep_the_others_from_being_used(connections, upstream, registry, clock):
    servers = {"good": upstream(), "silent": upstream(afterwards={"silent": True})}
    servers["refused"] = upstream(afterwards={"fails": REFUSED})
    await connections(servers).open(fail_fast=False)
    assert clock() == pytest.approx(5, abs=0.1)
    assert [info.server_id for info in registry.get_connected_servers()] == ["good"]
    assert registry.get_server("silent").connection_error == "no answer within 5 s"


async def test_s11_with_fail_fast_the_first_failure_ends_the_opening(connections, upstream, clock):
    servers = {"good": upstream(), "bad": upstream(afterwards={"entering": 1.0, "fails": REFUSED})}
    servers["slow"] = upstream(afterwards={"entering": 4.0})
    opened = connections(servers)
    with pytest.raises(MCPConnectionError, match="1 server failed to connect: bad: connection refused") as caught:
        await opened.open(fail_fast=True)
    assert caught.value.context == {"failed": {"bad": "connection refused"}, "connected": ["good"]}
    assert clock() == pytest.approx(1, abs=0.01)
    await opened.close()
    assert [server.open for server in servers.values()] == [0, 0, 0]


async def test_s11_nobody_connected_is_an_error_with_every_reason_and_no_secret(connections, upstream):
    servers = {
        "a": upstream(afterwards={"fails": REFUSED}),
        "b": upstream(afterwards={"fails": MCPConnectionError("bad token s3cret", {"cause": "auth"})}),
    }
    with pytest.raises(NoMCPAvailableError) as caught:
        await connections(servers, secrets=["s3cret"]).open(fail_fast=False)
    assert caught.value.context["failed"] == {"a": "connection refused", "b": "bad token ***"}
    assert caught.value.context["connected"] == []
    assert caught.value.context["states"]["a"]["state"] == "backing_off"
    assert "s3cret" not in str(caught.value)


async def test_s11_nobody_configured_is_an_error(connections):
    with pytest.raises(NoMCPAvailableError, match="no server is configured and enabled"):
        await connections({}).open(fail_fast=True)


async def test_a_disabled_server_is_never_connected(connections, upstream, registry):
    server = upstream()
    opened = connections({"a": server}, fields={"enabled": False})
    with pytest.raises(NoMCPAvailableError, match="no server is configured and enabled"):
        await opened.open(fail_fast=False)
    await opened.close()
    assert registry.get_server("a").state == "disabled"
    assert server.attempts == []


async def test_s5_a_deprecated_transport_is_warned_about_once_for_each_server(connections, upstream, caplog):
    opened = connections({"a": upstream(), "b": upstream()}, spec={"deprecated": "use another"})
    await opened.open(fail_fast=True)
    warnings = [record.message for record in caplog.records if "deprecated" in record.message]
    assert warnings == [f"server {key}: transport scripted is deprecated: use another" for key in "ab"]


async def test_s14_many_slow_servers_are_let_go_of_at_once(connections, upstream, clock):
    servers = {f"s{i}": upstream(afterwards={"leaving": 4.0}) for i in range(50)}
    opened = connections(servers)
    await opened.open(fail_fast=True)
    started = clock()
    await opened.close()
    assert clock() - started == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("steps", range(25))
async def test_s14_an_opening_that_is_cancelled_at_any_step_can_be_closed(connections, upstream, steps):
    servers = {"a": upstream(), "b": upstream(afterwards={"entering": 4.0})}
    opened = connections(servers)
    opening = asyncio.create_task(opened.open(fail_fast=True))
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    assert opening.cancelled()
    await opened.close()
    await asyncio.sleep(60)
    assert [server.open for server in servers.values()] == [0, 0]
    attempts = [len(server.attempts) for server in servers.values()]
    await asyncio.sleep(600)
    assert [len(server.attempts) for server in servers.values()] == attempts


async def test_s14_closing_is_finished_though_its_waiter_is_cancelled(connections, upstream, clock):
    servers = {f"s{i}": upstream(afterwards={"leaving": 4.0}) for i in range(3)}
    opened = connections(servers)
    await opened.open(fail_fast=True)
    started = clock()
    closing = asyncio.create_task(finish(opened.close()))
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert clock() - started == pytest.approx(4, abs=0.1)
    assert [server.open for server in servers.values()] == [0, 0, 0]


async def test_several_servers_are_revived_at_once(connections, upstream, registry, clock):
    servers = {key: upstream({}, {"entering": 1.0}) for key in "abc"}
    opened = connections(servers)
    await opened.open(fail_fast=True)
    await asyncio.sleep(60)
    for server in servers.values():
        await server.link.hang_up()
    await asyncio.sleep(0.001)
    started = clock()
    assert await opened.revive(registry.get_all_servers())
    assert clock() - started < 1.1
    assert len(registry.get_connected_servers()) == 3


async def test_a_server_without_a_connection_has_an_error_of_its_own(connections, upstream):
    opened = connections({"a": upstream()})
    assert opened.get("nobody") is None
    with pytest.raises(MCPConnectionError, match="nobody is not in the configuration") as caught:
        opened["nobody"]
    assert caught.value.context["delivered"] == "no"
