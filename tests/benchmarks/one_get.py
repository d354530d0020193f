"""What it takes to get one cached answer, by its size."""

import threading
import time
from contextlib import AsyncExitStack
from typing import Any

import mcp_types as types
from cachetools import TTLCache
from fastmcp.resources import Resource
from fastmcp.server.middleware import MiddlewareContext
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from key_value.aio.stores.disk import DiskStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.redis import RedisStore
from mcp.client.caching import ClientResponseCache, InMemoryResponseCacheStore
from pydantic_core import to_json

from benchmarks.measure import Case, Pace, Samples, measure
from benchmarks.report import Report, microseconds
from benchmarks.stores import TTL, Places

__all__ = ["one_get"]

SIZES = {"1 KB": 1024, "64 KB": 64 * 1024, "1 MB": 1024 * 1024}
KEY = "resources:a"
DICT = "dict"


async def one_get(places: Places, pace: Pace) -> Report:
    """Measure one get of each system at each size."""
    measured = {label: await _measured(listing(size), places, pace) for label, size in SIZES.items()}
    names = list(next(iter(measured.values())).seconds)
    return Report(
        title="One get of list-shaped JSON (µs)",
        columns=["", *SIZES],
        rows=[[name, *(microseconds(samples, name) for samples in measured.values())] for name in names],
        values={
            name: {
                label: {"microseconds": samples.median(name) * 1e6, "ratio": samples.ratio(name, DICT)}
                for label, samples in measured.items()
            }
            for name in names
        },
    )


def listing(size: int) -> dict[str, Any]:
    """Return what a server lists, as a cache of ours keeps it, of about so many bytes of JSON."""
    resources: dict[str, Any] = {}
    length = 0
    while length < size:
        name = f"report-{len(resources)}"
        resources[name] = {
            "uri": f"res://archive/{name}",
            "name": name,
            "mime_type": "text/plain",
            "description": "What the quarter was like, as told to those who were not there.",
        }
        length += len(to_json(resources[name])) + len(name) + 4
    return resources


async def _measured(data: dict[str, Any], places: Places, pace: Pace) -> Samples:
    caches = {
        "ours, memory": places.cache("memory"),
        "ours, Redis with near cache": places.cache("redis"),
        "ours, Redis": places.cache("redis", near_entries=0),
        "ours, disk with near cache": places.cache("disk"),
        "ours, disk": places.cache("disk", near_entries=0),
    }
    async with AsyncExitStack() as stack:
        for cache in caches.values():
            stack.push_async_callback(cache.aclose)
            cache.set(KEY, data)
            assert cache.get(KEY) == data
        theirs = {
            "py-key-value, memory": MemoryStore(),
            "py-key-value, Redis": await stack.enter_async_context(RedisStore(url=places.redis_url())),
            "py-key-value, disk": await stack.enter_async_context(DiskStore(directory=places.directory())),
        }
        for store in theirs.values():
            await store.put(KEY, data, ttl=TTL)
            assert await store.get(KEY) == data
        return await measure(
            [
                *_by_hand(data),
                *(Case(name, lambda cache=cache: cache.get(KEY)) for name, cache in caches.items()),
                *(Case(name, _getting(store)) for name, store in theirs.items()),
                await _sdk(data),
                await _fastmcp(data),
            ],
            pace,
        )


def _by_hand(data: dict[str, Any]) -> list[Case]:
    """Return what one would write oneself: all of them hand out the very object, and nobody may change it."""
    plain = {KEY: data}
    expiring = {KEY: (data, time.monotonic() + TTL)}
    tools: TTLCache[str, dict[str, Any]] = TTLCache(maxsize=1000, ttl=TTL)
    tools[KEY] = data
    lock = threading.Lock()

    def with_ttl() -> dict[str, Any] | None:
        with lock:
            found, expires_at = expiring[KEY]
            return found if time.monotonic() < expires_at else None

    def cachetools() -> dict[str, Any] | None:
        with lock:
            return tools.get(KEY)

    return [
        Case(DICT, lambda: plain[KEY]),
        Case("dict with TTL and lock", with_ttl),
        Case("cachetools TTLCache with lock", cachetools),
    ]


def _getting(store: Any) -> Any:
    async def get() -> dict[str, Any] | None:
        return await store.get(KEY)

    return get


async def _sdk(data: dict[str, Any]) -> Case:
    cache = ClientResponseCache(
        store=InMemoryResponseCacheStore(),
        partition="",
        arm_id="a",
        default_ttl_ms=TTL * 1000,
        clock=time.time,
        share_public=False,
        negotiated_version=lambda: "2026-07-28",
    )
    resources = [types.Resource(**resource) for resource in data.values()]
    result = types.ListResourcesResult(resources=resources, ttl_ms=TTL * 1000, cache_scope="private")
    await cache.write("resources/list", "", result, cache.capture("resources/list", ""), "use")

    async def read() -> object:
        return await cache.read("resources/list", "")

    assert await read() == result
    return Case("SDK client cache", read)


async def _fastmcp(data: dict[str, Any]) -> Case:
    middleware = ResponseCachingMiddleware(list_resources_settings={"ttl": TTL}, max_item_size=16 * 1024 * 1024)
    resources = [Resource(**resource) for resource in data.values()]
    context = MiddlewareContext(message=types.ListResourcesRequest())
    asked = 0

    async def server(_context: object) -> list[Resource]:
        nonlocal asked
        asked += 1
        return resources

    async def read() -> object:
        return await middleware.on_list_resources(context, server)

    await read()
    await read()
    assert asked == 1
    return Case("FastMCP ResponseCachingMiddleware", read)
