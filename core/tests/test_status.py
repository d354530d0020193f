"""S42 and S6: the status has the document's shape, is true, and shows no secret."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import looptime
import pytest
from mcp_orchestra.config.loaded import BoundTransport
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.plugins import PluginInfo
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.status import describe_plugins, describe_servers
from mcp_orchestra.types import TransportSpec
from mcp_types import Implementation

DOCUMENTED = {"name": str, "connected": bool, "priority": int, "domains": list, "error": str | None}
FURTHER = {
    "id": str,
    "state": str,
    "capabilities": list,
    "transport": str,
    "url": str | None,
    "protocol_version": str | None,
    "server_version": str | None,
    "last_connected": str | None,
    "retry_in": float | None,
    "latency": float | None,
    "peak_latency": float | None,
    "in_flight": int,
    "share": float,
    "protocol_errors": int,
    "warning": str | None,
    "tools_not_as_pinned": dict,
    "stderr": list,
}
TRANSPORTS = {"p": BoundTransport(spec=TransportSpec(name="streamable-http", open=lambda endpoint: endpoint.options))}


@pytest.fixture
def registry() -> MCPRegistry:
    registry = MCPRegistry()
    registry.register_server(
        "p",
        MCPServerConfig(
            name="Products",
            url="https://me:s3cret@host.example/s3cret/mcp?key=s3cret",
            transport="http",
            priority=10,
            domains=["products"],
            capabilities=["search"],
        ),
    )
    return registry


@pytest.fixture
def connected(registry):
    """What the status needs of the connections, once the server is connected."""
    registry.mark_connected("p", client=object())
    diagnostics = Diagnostics()
    connection = SimpleNamespace(
        diagnostics=diagnostics,
        protocol_version="2026-07-28",
        server_info=Implementation(name="shop", version="1.2 s3cret"),
    )
    return SimpleNamespace(diagnostics=diagnostics, get={"p": connection}.get)


def describe(registry, connections=None):
    (described,) = describe_servers(registry, TRANSPORTS, connections, Redactor(["s3cret"]))
    return described


@pytest.mark.parametrize("state", ["registered", "connected", "lost"])
def test_s42_a_server_has_the_documented_keys_and_further_ones(registry, connected, state):
    if state == "lost":
        registry.mark_disconnected("p", "the server closed the connection", state="backing_off", retry_at=1e9)
    described = describe(registry, None if state == "registered" else connected)
    assert list(described) == [*DOCUMENTED, *FURTHER]
    for key, kind in {**DOCUMENTED, **FURTHER}.items():
        assert isinstance(described[key], kind), key
    assert json.loads(json.dumps(described)) == described


def test_s42_a_connected_server_is_described_as_it_is(registry, connected):
    registry.get_server("p").latency = 0.25
    described = describe(registry, connected)
    last_connected = described.pop("last_connected")
    assert described == {
        "name": "Products",
        "connected": True,
        "priority": 10,
        "domains": ["products"],
        "error": None,
        "id": "p",
        "state": "ready",
        "capabilities": ["search"],
        "transport": "streamable-http",
        "url": "https://host.example/***/mcp?***",
        "protocol_version": "2026-07-28",
        "server_version": "shop 1.2 ***",
        "retry_in": None,
        "latency": 0.25,
        "protocol_errors": 0,
        "warning": None,
        "tools_not_as_pinned": {},
        "peak_latency": None,
        "in_flight": 0,
        "share": 1.0,
        "stderr": [],
    }
    assert datetime.now(UTC) >= datetime.fromisoformat(last_connected)


def test_s42_a_lost_server_says_why_and_when_it_is_tried_again(registry, connected):
    async def look() -> None:
        registry.mark_disconnected(
            "p", "refused", state="backing_off", retry_at=asyncio.get_running_loop().time() + 12.3456
        )
        described = describe(registry, connected)
        assert (described["connected"], described["error"]) == (False, "refused")
        assert (described["state"], described["retry_in"]) == ("backing_off", 12.346)
        await asyncio.sleep(10)
        assert describe(registry, connected)["retry_in"] == pytest.approx(2.346)
        await asyncio.sleep(10)
        assert describe(registry, connected)["retry_in"] == 0.0

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(look())


def test_s42_the_status_can_be_asked_for_without_an_event_loop(registry, connected):
    async def lose() -> None:
        registry.mark_disconnected("p", "refused", retry_at=asyncio.get_running_loop().time() + 1000)

    asyncio.run(lose())
    assert 900 < describe(registry, connected)["retry_in"] <= 1000


def test_s6_the_last_lines_of_a_server_are_shown_without_secrets(registry, connected):
    for number in range(30):
        connected.diagnostics.write(f"{number}: s3cret")
    assert describe(registry, connected)["stderr"] == [f"{number}: ***" for number in range(10, 30)]


def test_a_server_that_was_registered_by_hand_is_described_too(registry):
    registry.register_server("mine", MCPServerConfig(name="Mine", priority=999))
    described = describe_servers(registry, TRANSPORTS, None, Redactor())
    assert [(server["id"], server["transport"], server["url"]) for server in described][1] == ("mine", "sse", None)


def test_servers_come_in_priority_order(registry):
    for server_id, priority in (("late", 900), ("early", 1), ("tie", 10)):
        registry.register_server(server_id, MCPServerConfig(name=server_id, priority=priority))
    described = describe_servers(registry, {}, None, Redactor())
    assert [server["id"] for server in described] == ["early", "p", "tie", "late"]


def test_what_a_status_holds_is_the_callers_own(registry, connected):
    describe(registry, connected)["domains"].append("changed")
    assert registry.get_server("p").config.domains == ["products"]


def test_a_plugin_is_described_with_what_became_of_it():
    plugin = PluginInfo(
        name="tcp", module="tcp", distribution="tcp-plugin", version="1.0", state="failed", reason="no module"
    )
    assert describe_plugins([plugin]) == [
        {
            "name": "tcp",
            "distribution": "tcp-plugin",
            "version": "1.0",
            "state": "failed",
            "reason": "no module",
            "offers": [],
        }
    ]
