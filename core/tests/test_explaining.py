"""What `explain` says of a question for a domain is what then becomes of it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.cache import Fetched, ResourceCache, resources_key
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.errors import NoMCPAvailableError
from mcp_orchestra.explaining import Explainer
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.routing import Router
from mcp_orchestra.types import Question
from mcp_orchestra_memory import MemoryStore
from mcp_orchestra_routing import ByPriority, LeastLatency, RoundRobin, Sticky, Weighted

STATES = ("ready", "circuit_open", "degraded", "failed", "disabled")
SERVERS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES),
        "cached": st.booleans(),
        "declares": st.booleans(),
        "priority": st.integers(1, 3),
        "peak_latency": st.none() | st.floats(0.001, 1),
    }
)


class Connection:
    """A connection as the gatherer sees it."""

    request_timeout = 5.0

    def __init__(self, server_id):
        self.server_id = server_id

    def cover_cached(self, uris):
        pass


class Connections(dict):
    """The connections as the gatherer sees them; nothing that is down comes back."""

    async def revive(self, servers):
        return any(info.connected for info in servers)

    def states(self):
        return {server_id: {} for server_id in self}


def resources_of(server_id):
    return {"it": {"uri": "x://it", "name": "it", "of": server_id}}


async def fetched_from(connection):
    return Fetched(data=resources_of(connection.server_id))


def register(registry, cache, server_id, server):
    domains, enabled = ["d"] if server["declares"] else [], server["state"] != "disabled"
    config = MCPServerConfig(name=server_id, priority=server["priority"], domains=domains, enabled=enabled)
    registry.register_server(server_id, config)
    if server["state"] in ("ready", "circuit_open", "degraded"):
        registry.mark_connected(server_id, object())
    if server["state"] in ("circuit_open", "degraded"):
        later = asyncio.get_running_loop().time() + 1000
        registry.mark_condition(server_id, server["state"], "it failed", retry_at=later)
    registry.get_server(server_id).peak_latency = server["peak_latency"]
    if server["cached"]:
        cache.set(resources_key(server_id), resources_of(server_id))


@pytest.fixture(autouse=True, scope="module")
def without_servers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcp_orchestra.gathering.fetch_resources", fetched_from)
        yield


@given(
    st.lists(SERVERS, max_size=5),
    st.sampled_from([ByPriority, RoundRobin, Weighted, LeastLatency, Sticky]),
    st.integers(1, 4),
)
def test_who_is_said_to_answer_answers(servers, policy, questions):
    async def world():
        registry, cache, router = MCPRegistry(), ResourceCache(store=MemoryStore()), Router(policy())
        for number, server in enumerate(servers):
            register(registry, cache, f"s{number}", server)
        connections = Connections({info.server_id: Connection(info.server_id) for info in registry.get_all_servers()})
        gatherer = Gatherer(registry=registry, connections=connections, cache=cache, router=router, fail_fast=False)
        explainer = Explainer(
            registry=registry, cache=cache, router=router, reader=None, catalogue=None, policy="any", domains={}
        )
        for _ in range(questions):
            said = await explainer.explain(Question(kind="domain", value="d"))
            try:
                answered = (await gatherer.domain("d"))["it"]["of"]
            except NoMCPAvailableError:
                answered = None
            assert said.answers == answered
            named = {one.server_id for one in said.candidates} | said.left_out.keys()
            assert named == connections.keys()
        await cache.aclose()

    asyncio.run(asyncio.wait_for(world(), 30))
