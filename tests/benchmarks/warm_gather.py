"""What it takes to gather what is all in the cache: 32 servers with 20 resources each."""

import asyncio
import copy
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import diskcache
import fastmcp
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from mcp import Client
from mcp_orchestra import MCPOrchestrator
from mcp_orchestra.testing.servers import ScriptedServer
from pydantic_core import from_json

from benchmarks.measure import Case, Pace, measure
from benchmarks.report import Report, Target, timed
from benchmarks.servers import orchestra, scripted
from benchmarks.stores import TTL, Places, Recording

__all__ = ["OURS", "RESOURCES", "SERVERS", "misses", "orchestras", "warm_gather"]

SERVERS: int = 32
RESOURCES = 20

LOOKUPS = f"{SERVERS} dict look-ups"
MGET = "raw MGET and JSON decoding"
DISK_READS = f"{SERVERS} raw diskcache reads"
DISK_READS_AND_DECODING = f"{SERVERS} raw diskcache reads and JSON decoding"
MEMORY = "ours, memory"
REDIS_NEAR = "ours, Redis with near cache"
REDIS = "ours, Redis"
DISK_NEAR = "ours, disk with near cache"
DISK = "ours, disk"

OURS: Mapping[str, tuple[str, int]] = {
    MEMORY: ("memory", 1000),
    REDIS_NEAR: ("redis", 1000),
    REDIS: ("redis", 0),
    DISK_NEAR: ("disk", 1000),
    DISK: ("disk", 0),
}
"""Our backends, each with the size of the near cache."""

KEPT = (MEMORY, REDIS_NEAR)
"""Those that hand out what they keep, and copy a server's part of it when somebody reaches for that."""

TARGETS = (
    Target(case=MEMORY, at_most=20),
    Target(case=MEMORY, at_most=6, reference=LOOKUPS),
    Target(case=REDIS_NEAR, at_most=1.5, reference=MEMORY),
    Target(case=REDIS, at_most=1.5, reference=MGET),
    Target(case=DISK, at_most=2, reference=DISK_READS),
    Target(case=DISK, at_most=2, reference=DISK_READS_AND_DECODING),
)


async def warm_gather(places: Places, pace: Pace) -> Report:
    """Measure a gather that asks no server."""
    servers = scripted(SERVERS, RESOURCES)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(orchestras(servers, places))
        values = await _bytes(servers)
        cases = [
            *_dicts(await ours[MEMORY].gather_all_resources()),
            *(Case(name, orchestrator.gather_all_resources) for name, orchestrator in ours.items()),
            *(Case(f"{name}, one server's part taken", _taking_one(ours[name])) for name in KEPT),
            *(Case(f"{name}, all texts read", _reading_all(ours[name])) for name in KEPT),
            *_raw_redis(values, places, stack),
            *_raw_disk(values, places, stack),
            Case("SDK clients with their cache", await _sdk(servers, stack)),
            Case("FastMCP clients, servers with ResponseCachingMiddleware", await _fastmcp_clients(stack)),
            Case("FastMCP servers with ResponseCachingMiddleware", await _fastmcp_servers()),
        ]
        samples = await measure(cases, pace)
        notes = [misses(name, orchestrator) for name, orchestrator in ours.items()]
    title = f"Warm gather of {SERVERS} servers x {RESOURCES} resources"
    return timed(title, samples, LOOKUPS, TARGETS, list(filter(None, notes)))


def misses(name: str, orchestrator: MCPOrchestrator) -> str:
    """Return a remark if it was not answered from the cache alone, which happens if the store runs out of time."""
    stats = orchestrator.cache.get_stats()
    missed = stats["misses"] - SERVERS  # those were when it was filled
    return f"{name}: {missed} of {stats['total_requests']} look-ups missed, {stats['errors']} errors" if missed else ""


@asynccontextmanager
async def orchestras(
    servers: Mapping[str, ScriptedServer], places: Places, names: Mapping[str, tuple[str, int]] = OURS
) -> AsyncIterator[dict[str, MCPOrchestrator]]:
    """Yield orchestrators of ours that have gathered everything, one for each kind of cache."""
    async with AsyncExitStack() as stack:
        made: dict[str, MCPOrchestrator] = {}
        for name, (backend, near_entries) in names.items():
            cache = {"backend": backend, "options": places.options(backend), "near_entries": near_entries}
            made[name] = await stack.enter_async_context(orchestra(servers, cache=cache, log_level="ERROR"))
            gathered = await made[name].gather_all_resources()
            assert sum(len(entry["resources"]) for entry in gathered.values()) == len(servers) * RESOURCES
            await made[name].gather_all_resources()
        yield made


async def _bytes(servers: Mapping[str, ScriptedServer]) -> dict[str, bytes]:
    """Return the bytes that our cache gives a store to keep."""
    recording = Recording()
    async with orchestra(servers, cache={"backend": "recording"}, plugin=recording, log_level="ERROR") as orchestrator:
        await orchestrator.gather_all_resources()
    assert len(recording.written) == SERVERS
    return recording.written


def _dicts(gathered: dict[str, Any]) -> list[Case]:
    """Return the least that can be done: nothing is copied, and nothing may be changed by who gets it."""
    entries = dict(gathered)
    expiring = {name: (entry, time.monotonic() + TTL) for name, entry in entries.items()}
    names = list(entries)
    lock = threading.Lock()

    def look_up() -> dict[str, Any]:
        return {name: entries[name] for name in names}

    def look_up_with_ttl() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in names:
            with lock:
                entry, expires_at = expiring[name]
                if time.monotonic() < expires_at:
                    found[name] = entry
        return found

    return [
        Case(LOOKUPS, look_up),
        Case(f"{LOOKUPS} with TTL and lock", look_up_with_ttl),
        Case(f"{LOOKUPS}, all copied", lambda: copy.deepcopy(look_up())),
        Case(f"{LOOKUPS}, all texts read", lambda: _texts(look_up())),
    ]


def _taking_one(orchestrator: MCPOrchestrator) -> Callable[[], Any]:
    async def gather() -> Any:
        return (await orchestrator.gather_all_resources())["S7"]

    return gather


def _reading_all(orchestrator: MCPOrchestrator) -> Callable[[], Any]:
    async def gather() -> int:
        return _texts(await orchestrator.gather_all_resources())

    return gather


def _texts(gathered: dict[str, Any]) -> int:
    """Read every text, which needs every copy that was put off until somebody wants it."""
    return sum(len(one["data"]) for entry in gathered.values() for one in entry["resources"].values())


def _raw_redis(values: dict[str, bytes], places: Places, stack: AsyncExitStack) -> list[Case]:
    client = places.redis()
    stack.callback(client.close)
    client.mset(values)
    keys = list(values)

    def get() -> list[Any]:
        return [from_json(value) for value in client.mget(keys)]

    async def get_in_thread() -> list[Any]:
        return await asyncio.to_thread(get)

    return [
        Case("raw MGET", lambda: client.mget(keys)),
        Case(MGET, get),
        Case(f"{MGET}, in a thread", get_in_thread),
    ]


def _raw_disk(values: dict[str, bytes], places: Places, stack: AsyncExitStack) -> list[Case]:
    cache = stack.enter_context(diskcache.Cache(str(places.directory())))
    for key, value in values.items():
        cache.set(key, value)
    keys = list(values)

    def get() -> list[Any]:
        return [cache.get(key) for key in keys]

    def get_and_decode() -> list[Any]:
        return [from_json(cache.get(key)) for key in keys]

    async def get_in_thread() -> list[Any]:
        return await asyncio.to_thread(get_and_decode)

    return [
        Case(DISK_READS, get),
        Case(DISK_READS_AND_DECODING, get_and_decode),
        Case(f"{DISK_READS_AND_DECODING}, in a thread", get_in_thread),
    ]


async def _sdk(servers: Mapping[str, ScriptedServer], stack: AsyncExitStack) -> Callable[[], Any]:
    clients = [await stack.enter_async_context(Client(one.server)) for one in servers.values()]

    async def one(client: Client) -> list[Any]:
        listed = await client.list_resources()
        return [await client.read_resource(resource.uri) for resource in listed.resources]

    async def gather() -> list[list[Any]]:
        return await asyncio.gather(*map(one, clients))

    assert sum(map(len, await gather())) == SERVERS * RESOURCES
    return gather


def _fastmcp_server(number: int) -> "fastmcp.FastMCP[Any]":
    server: fastmcp.FastMCP[Any] = fastmcp.FastMCP(
        f"s{number}",
        middleware=[
            ResponseCachingMiddleware(list_resources_settings={"ttl": TTL}, read_resource_settings={"ttl": TTL})
        ],
    )
    text = next(iter(scripted(1, 1)["s0"].resources.values()))
    for index in range(RESOURCES):
        server.resource(f"res://s{number}/{index}")(lambda: text)
    return server


async def _fastmcp_clients(stack: AsyncExitStack) -> Callable[[], Any]:
    servers = [_fastmcp_server(number) for number in range(SERVERS)]
    clients = [await stack.enter_async_context(fastmcp.Client(server)) for server in servers]

    async def one(client: "fastmcp.Client[Any]") -> list[Any]:
        return [await client.read_resource(resource.uri) for resource in await client.list_resources()]

    async def gather() -> list[list[Any]]:
        return await asyncio.gather(*map(one, clients))

    assert sum(map(len, await gather())) == SERVERS * RESOURCES
    return gather


async def _fastmcp_servers() -> Callable[[], Any]:
    servers = [_fastmcp_server(number) for number in range(SERVERS)]

    async def one(server: "fastmcp.FastMCP[Any]") -> list[Any]:
        return [await server.read_resource(str(resource.uri)) for resource in await server.list_resources()]

    async def gather() -> list[list[Any]]:
        return await asyncio.gather(*map(one, servers))

    assert sum(map(len, await gather())) == SERVERS * RESOURCES
    return gather
