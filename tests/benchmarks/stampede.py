"""How many requests reach the servers when a thousand ask at once for what has just expired."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types as types
from fastmcp.resources import Resource
from fastmcp.server.middleware import MiddlewareContext
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from mcp import Client
from mcp_orchestra.testing.servers import ScriptedServer

from benchmarks.measure import Pace
from benchmarks.report import Report, Verdict
from benchmarks.servers import orchestra, scripted
from benchmarks.stores import Places

__all__ = ["stampede"]

ASKING: int = 1000
SERVERS = 4
TTL = 1
"""Seconds; short, because it has to pass."""
OURS = ("memory", "redis", "disk")


@dataclass(frozen=True)
class Outcome:
    """What a thousand gathers cost."""

    fetches: int
    """Listings that the servers were asked for."""
    seconds: float
    """Until the last one had an answer."""


async def stampede(places: Places, _pace: Pace) -> Report:
    """Count the requests; a gather is one listing of each server."""
    outcomes = {f"ours, {backend}": await _ours(backend, places) for backend in OURS}
    outcomes["SDK clients with their cache"] = await _sdk()
    outcomes["FastMCP ResponseCachingMiddleware over SDK clients"] = await _fastmcp()
    return Report(
        title=f"{ASKING} gathers at once of {SERVERS} servers, whose listings have expired",
        columns=["", "fetches", "seconds"],
        rows=[[name, str(one.fetches), f"{one.seconds:.3g}"] for name, one in outcomes.items()],
        values={name: {"fetches": one.fetches, "seconds": one.seconds} for name, one in outcomes.items()},
        verdicts=[
            Verdict(f"ours, {backend}: one fetch for each server", fetches / SERVERS, fetches == SERVERS)
            for backend in OURS
            for fetches in [outcomes[f"ours, {backend}"].fetches]
        ],
    )


async def _asked(gather: Callable[[], Awaitable[Any]], servers: Mapping[str, ScriptedServer]) -> Outcome:
    """Fill the cache, let it expire, and ask a thousand times at once."""
    await gather()
    before = _listings(servers)
    await gather()
    assert _listings(servers) == before, "nothing was cached"
    await asyncio.sleep(TTL + 0.2)
    start = time.perf_counter()
    async with asyncio.timeout(600):
        await asyncio.gather(*(gather() for _ in range(ASKING)))
    return Outcome(_listings(servers) - before, time.perf_counter() - start)


def _listings(servers: Mapping[str, ScriptedServer]) -> int:
    return sum(server.requests["resources/list"] for server in servers.values())


async def _ours(backend: str, places: Places) -> Outcome:
    servers = scripted(SERVERS, 3, ttl=TTL)
    cache = {"backend": backend, "options": places.options(backend)}
    async with orchestra(servers, ttl=TTL, cache=cache, resource_contents=False) as orchestrator:
        return await _asked(orchestrator.gather_all_resources, servers)


async def _sdk() -> Outcome:
    servers = scripted(SERVERS, 3, ttl=TTL)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(one.server)) for one in servers.values()]

        async def gather() -> None:
            await asyncio.gather(*(client.list_resources() for client in clients))

        return await _asked(gather, servers)


async def _fastmcp() -> Outcome:
    """Ask the middleware itself, over SDK clients: a proxy of its own makes a connection for every request."""
    servers = scripted(SERVERS, 3, ttl=TTL)
    context = MiddlewareContext(message=types.ListResourcesRequest())
    async with AsyncExitStack() as stack:
        listings: list[Callable[[], Awaitable[Sequence[Resource]]]] = []
        for server in servers.values():
            client = await stack.enter_async_context(Client(server.server, cache=None))
            middleware = ResponseCachingMiddleware(list_resources_settings={"ttl": TTL})
            listings.append(partial(middleware.on_list_resources, context, partial(_listed, client)))

        async def gather() -> None:
            await asyncio.gather(*(listing() for listing in listings))

        return await _asked(gather, servers)


async def _listed(client: Client, _context: object) -> list[Resource]:
    listed = await client.list_resources()
    return [Resource(uri=one.uri, name=one.name, mime_type=one.mime_type or "text/plain") for one in listed.resources]
