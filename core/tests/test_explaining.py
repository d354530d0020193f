"""What `explain` says of a question is what then becomes of it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.cache import Fetched, ResourceCache, resources_key
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.connection.listing import Listing
from mcp_orchestra.connection.tools import facts_of
from mcp_orchestra.errors import MCPConnectionError, MCPOrchestratorException, ResourceFetchError
from mcp_orchestra.explaining import Explainer
from mcp_orchestra.gathering import Gatherer
from mcp_orchestra.owners import Owners
from mcp_orchestra.reading import Reader
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.routing import Router
from mcp_orchestra.templates import Templates
from mcp_orchestra.types import Question
from mcp_orchestra_memory import MemoryStore
from mcp_orchestra_routing import ByPriority, LeastLatency, RoundRobin, Sticky, Weighted
from mcp_types import ResourceTemplate, Tool

STATES = ("ready", "circuit_open", "degraded", "failed", "disabled")
SERVERS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES),
        "cached": st.booleans(),
        "declares": st.booleans(),
        "has a template": st.booleans(),
        "has the tool": st.booleans(),
        "is known to have it": st.booleans(),
        "priority": st.integers(1, 3),
        "peak_latency": st.none() | st.floats(0.001, 1),
    }
)


class Server:
    """A server's connection and client in one, as those who ask see them."""

    request_timeout = 5.0
    current = None

    def __init__(self, registry, server_id, server, asked, *, fails):
        self.registry = registry
        self.server_id = server_id
        self.server = server
        self.asked = asked
        self.fails = fails

    @property
    def client(self):
        return self

    def cover_cached(self, uris):
        pass

    def answer(self):
        info = self.registry.get_server(self.server_id)
        if info.state == "degraded" or (info.state == "circuit_open" and not self.registry.is_last(info)):
            raise MCPConnectionError("it is left alone", {"cause": "busy", "delivered": "no"})
        self.asked.append(self.server_id)
        if self.fails:
            raise ResourceFetchError("no", {"cause": "refused", "delivered": "no"})
        return self.server_id

    async def collect_tools(self):
        return Listing([Tool(name="t", input_schema={})] if self.server["has the tool"] else [])

    async def collect_resource_templates(self):
        there = self.server["has a template"]
        return Listing([ResourceTemplate(uri_template="x://{name}", name="x")] if there else [])

    async def read_resource(self, _uri):
        return self.answer()

    async def call_tool(self, _name, _arguments, *, timeout, approve):
        return self.answer()


class Connections(dict):
    """The connections as the gatherer sees them; nothing that is down comes back."""

    async def revive(self, servers):
        return any(info.connected for info in servers)

    def states(self):
        return {server_id: {} for server_id in self}


def resources_of(server_id):
    return {"it": {"uri": "x://it", "name": "it", "of": server_id}}


async def fetched_from(connection):
    return Fetched(data=resources_of(connection.answer()))


def register(registry, cache, server_id, server):
    declared, enabled = ["d"] if server["declares"] else [], server["state"] != "disabled"
    config = MCPServerConfig(
        name=server_id, priority=server["priority"], domains=declared, capabilities=declared, enabled=enabled
    )
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


async def ask(kind, parts):
    registry, gatherer, reader, catalogue = parts
    match kind:
        case "domain":
            return (await gatherer.domain("d"))["it"]["of"]
        case "uri":
            return await reader.read("x://it", registry.get_all_servers())
        case "capability":
            question = Question(kind="capability", value="d")
            return await catalogue.call("t", None, registry.get_servers_by_capability("d"), question, None)
        case "tool":
            return await catalogue.call("t", None, registry.get_all_servers(), None, None)


VALUES = {"domain": "d", "capability": "d", "uri": "x://it", "tool": "t"}


@pytest.mark.parametrize("kind", VALUES)
@given(
    servers=st.lists(SERVERS, max_size=5),
    policy=st.sampled_from([ByPriority, RoundRobin, Weighted, LeastLatency, Sticky]),
    questions=st.integers(1, 4),
    fail=st.booleans(),
)
def test_who_is_said_to_answer_answers_and_who_is_said_to_be_asked_is_asked(kind, servers, policy, questions, fail):
    async def world():
        registry, cache, router = MCPRegistry(), ResourceCache(store=MemoryStore()), Router(policy())
        asked = []
        connections = Connections()
        for number, server in enumerate(servers):
            # That a server declares a capability does not say that it has a tool: here it does.
            has = {"has the tool": True, "is known to have it": True}
            known = {**server, **has} if kind == "capability" else server
            register(registry, cache, f"s{number}", known)
            connections[f"s{number}"] = Server(registry, f"s{number}", known, asked, fails=fail)
        common = {"registry": registry, "connections": connections, "cache": cache, "router": router}
        gatherer, catalogue = Gatherer(**common, fail_fast=False), Catalogue(**common, fail_fast=False)
        for server_id, server in connections.items():
            if server.server["is known to have it"]:
                catalogue.offers.of(server_id, {"tools": [facts_of(Tool(name="t", input_schema={}))]})
        reader = Reader(
            connections=connections,
            router=router,
            owners=Owners(registry, cache),
            templates=Templates(connections, cache),
        )
        explainer = Explainer(
            registry=registry, cache=cache, router=router, reader=reader, catalogue=catalogue, policy="any", domains={}
        )
        for _ in range(questions):
            said = await explainer.explain(Question(kind=kind, value=VALUES[kind]))
            assert asked == []
            try:
                answered = await ask(kind, (registry, gatherer, reader, catalogue))
            except MCPOrchestratorException:
                answered = None
            copies = {one.server_id for one in said.candidates if one.because == "has a cached copy"}
            usable = [one.server_id for one in said.candidates if one.usable or one.server_id in copies]
            if fail:
                until = next((place for place, one in enumerate(usable) if one in copies), len(usable))
                assert answered == next((one for one in usable if one in copies), None)
                expected = usable[:until] if said.answers is not None else []
                assert asked[: len(expected)] == expected
                assert usable or asked[:1] == [said.answers][: len(asked)]
            else:
                assert said.answers == answered
            asked.clear()
            named = {one.server_id for one in said.candidates} | said.left_out.keys()
            assert named == connections.keys()
        await cache.aclose()

    asyncio.run(asyncio.wait_for(world(), 30))
