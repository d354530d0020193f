"""What it takes to gather what is not in the cache: 8 servers with 20 resources each, over HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client
from mcp_orchestra import MCPOrchestrator

from benchmarks.measure import Case, Pace, measure
from benchmarks.report import Report, Target, timed
from benchmarks.servers import orchestra
from benchmarks.stores import Places
from benchmarks.upstreams import upstreams

__all__ = ["cold_gather"]

SERVERS = 8
RESOURCES = 20

BY_HAND = "SDK clients and asyncio.gather"
BACKENDS = ("memory", "redis", "disk")
TARGETS = (Target(case="ours, memory", at_most=1, reference=BY_HAND),)


async def cold_gather(places: Places, pace: Pace) -> Report:
    """Measure a gather that asks every server; everybody is connected before."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(upstreams(SERVERS, RESOURCES))
        cases = [Case(BY_HAND, await _by_hand(urls, stack))]
        for backend in BACKENDS:
            cache = {"backend": backend, "options": places.options(backend)}
            ours = await stack.enter_async_context(orchestra(urls, cache=cache, log_level="ERROR"))
            cases.append(Case(f"ours, {backend}", _gathering(ours), before=_emptying(ours)))
        samples = await measure(cases, pace)
    return timed(f"Cold gather of {SERVERS} servers x {RESOURCES} resources", samples, BY_HAND, TARGETS)


async def _by_hand(urls: Mapping[str, str], stack: AsyncExitStack) -> Callable[[], Any]:
    """Return what a careful person writes: everything at once, page after page."""
    clients = [await stack.enter_async_context(Client(url, cache=None)) for url in urls.values()]

    async def one(client: Client) -> list[Any]:
        resources: list[Any] = []
        cursor: str | None = None
        while True:
            page = await client.list_resources(cursor=cursor)
            resources += page.resources
            if (cursor := page.next_cursor) is None:
                break
        return await asyncio.gather(*(client.read_resource(resource.uri) for resource in resources))

    async def gather() -> int:
        read = sum(map(len, await asyncio.gather(*map(one, clients))))
        assert read == SERVERS * RESOURCES
        return read

    return gather


def _emptying(orchestrator: MCPOrchestrator) -> Callable[[], Any]:
    async def empty() -> None:
        orchestrator.cache.invalidate()
        await orchestrator.cache.lookup(["none"])  # which waits for its turn: the store is empty then

    return empty


def _gathering(orchestrator: MCPOrchestrator) -> Callable[[], Any]:
    async def gather() -> int:
        gathered = await orchestrator.gather_all_resources()
        read = sum("data" in one for entry in gathered.values() for one in entry["resources"].values())
        assert read == SERVERS * RESOURCES
        return read

    return gather
