"""Whatever is changed: exactly that is touched, and what runs then is what a fresh start would have made of it."""

import asyncio
from contextlib import asynccontextmanager

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.memory import create_client_server_memory_streams
from mcp_orchestra import MCPConfig, MCPOrchestrator, PluginManager, TransportSpec, hookimpl
from mcp_orchestra.testing.servers import ScriptedServer
from pydantic import BaseModel

PLACES = ("north", "south")

# What becomes of a connection when just one of these is changed.
KEPT = {
    "name": st.sampled_from(["", " too"]),
    "priority": st.integers(1, 3),
    "weight": st.integers(1, 3),
    "domains": st.lists(st.sampled_from("xyz"), max_size=2),
    "capabilities": st.lists(st.sampled_from("pq"), max_size=2),
    "max_resources_read": st.sampled_from([None, 1]),
}
REPLACED = {
    "place": st.sampled_from(PLACES),
    "timeout": st.sampled_from([20, 30]),
    "mode": st.sampled_from(["auto", "legacy"]),
    "enabled": st.sampled_from([True, True, False]),
}


def named(server_id, fields):
    return {**fields, "name": server_id + fields["name"], "transport": "inner"}


MAPPINGS = st.dictionaries(st.sampled_from("abcd"), st.fixed_dictionaries(KEPT | REPLACED)).map(
    lambda found: {server_id: named(server_id, fields) for server_id, fields in found.items()}
)
# Somebody has to be connected for a start to succeed.
ALWAYS = named(
    "e",
    {
        "name": "",
        "priority": 2,
        "weight": 1,
        "domains": ["x"],
        "capabilities": [],
        "max_resources_read": None,
        "place": "north",
        "timeout": 20,
        "mode": "auto",
        "enabled": True,
    },
)


@st.composite
def orchestrations(draw):
    return {
        "fail_fast": False,
        "max_retries": 0,
        "resource_cache_ttl": draw(st.integers(100, 102)),
        "max_items": draw(st.sampled_from([50, 60])),
        "routing": {"policy": "priority", "domains": {"x": {"policy": "priority"}} if draw(st.booleans()) else {}},
        "cache": {
            "max_stale": draw(st.sampled_from([0, 5])),
            "options": {"max_entries": draw(st.integers(1000, 1001))},
        },
    }


class Inner:
    """Reaches servers in this process, and knows how often each was connected to."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.open = 0

    @hookimpl
    def mcp_orchestra_transports(self):
        class Options(BaseModel):
            place: str

        yield TransportSpec(name="inner", open=self._connect, options=Options)

    @asynccontextmanager
    async def _connect(self, endpoint):
        place = endpoint.options.place
        self.opened.append(endpoint.server_id)
        server = ScriptedServer(place, resources=2, tools=["echo", place]).server
        async with create_client_server_memory_streams() as (ours, theirs), anyio.create_task_group() as group:
            group.start_soon(server.run, *theirs, server.create_initialization_options())
            self.open += 1
            try:
                yield ours
            finally:
                self.open -= 1
                group.cancel_scope.cancel()


def installed(inner):
    plugins = PluginManager()
    plugins.discover()
    plugins.register(inner, "inner")
    return plugins


def configured(servers, orchestration):
    return MCPConfig.model_validate({"mcp_servers": servers, "orchestration": orchestration})


def expected(old, new):
    """Return what becomes of each server, by what this file says of the fields."""
    both = [server_id for server_id in new if server_id in old]

    def differ(server_id, names):
        return any(old[server_id][name] != new[server_id][name] for name in names)

    changed = [server_id for server_id in both if differ(server_id, REPLACED)]
    updated = [server_id for server_id in both if server_id not in changed and differ(server_id, KEPT)]
    return {
        "added": [server_id for server_id in new if server_id not in old],
        "removed": [server_id for server_id in old if server_id not in new],
        "changed": changed,
        "updated": updated,
        "unchanged": [server_id for server_id in both if server_id not in changed + updated],
    }


async def picture(orchestrator):
    """Return all that can be seen of an orchestrator, but for what depends on the time of day."""
    fleeting = {"last_connected", "latency", "peak_latency", "retry_in", "share"}
    registry = orchestrator.registry
    cache = orchestrator.cache
    tools = await orchestrator.list_tools() if registry.get_connected_servers() else []
    gathered = await orchestrator.gather_all_resources() if registry.get_connected_servers() else {}
    keys = [f"{kind}:{info.server_id}" for info in registry.get_all_servers() for kind in ("resources", "tools")]
    return {
        "config": orchestrator.config,
        "servers": [
            {key: value for key, value in server.items() if key not in fleeting}
            for server in orchestrator.get_status()["servers"]
        ],
        "positions": [(info.server_id, info.position, info.config) for info in registry.get_all_servers()],
        "domains": {
            domain: [i.name for i in registry.get_servers_by_domain(domain)] for domain in registry.get_domains()
        },
        "tools": tools,
        "gathered": gathered,
        "keys": {key: round(one["expires_in"], -1) for key, one in cache.describe(keys).items()},
        "counted": list(cache.get_stats()["servers"]),
        "cached": cache.get_stats()["cached_items"],
        "stale": cache.serves_stale,
    }


@settings(max_examples=25, deadline=None)
@given(old=MAPPINGS, new=MAPPINGS, before=orchestrations(), after=orchestrations(), asked=st.booleans())
def test_exactly_what_changed_is_touched_and_the_rest_is_as_after_a_fresh_start(old, new, before, after, asked) -> None:
    old, new = {**old, "e": ALWAYS}, {**new, "e": ALWAYS}
    wanted = expected(old, new)
    if before["max_items"] != after["max_items"]:  # which holds for each of them
        wanted["updated"] = [i for i in new if i in wanted["updated"] + wanted["unchanged"]]
        wanted["unchanged"] = []

    async def main():
        inner = Inner()
        orchestrator = MCPOrchestrator(config=configured(old, before), plugins=installed(inner))
        async with asyncio.timeout(20), orchestrator.managed_session():
            if asked:
                await orchestrator.gather_all_resources()
                await orchestrator.list_tools()
            kept = {i: orchestrator.registry.get_server(i).client for i in wanted["updated"] + wanted["unchanged"]}
            inner.opened.clear()
            result = await orchestrator.reload(configured(new, after))
            assert {kind: list(getattr(result, kind)) for kind in wanted} == wanted
            assert result.failed == {}
            assert sorted(inner.opened) == sorted(i for i in wanted["added"] + wanted["changed"] if new[i]["enabled"])
            assert {i: orchestrator.registry.get_server(i).client for i in kept} == kept
            seen = await picture(orchestrator)
            while inner.open > len(orchestrator.registry.get_connected_servers()):
                await asyncio.sleep(0.01)
        assert inner.open == 0
        fresh = MCPOrchestrator(config=configured(new, after), plugins=installed(Inner()))
        async with asyncio.timeout(20), fresh.managed_session():
            assert seen == await picture(fresh)

    asyncio.run(main())
