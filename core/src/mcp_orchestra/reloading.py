"""Has what is running go by another configuration: all of it in one step, or not at all."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from mcp_orchestra.cache import ResourceCache, storeless
from mcp_orchestra.caching import apply_rules, forget_others, open_cache
from mcp_orchestra.config.difference import ReloadResult, same_cache_store
from mcp_orchestra.config.loaded import LoadedConfig
from mcp_orchestra.connection.owner import Connection
from mcp_orchestra.connections import close_all, open_all, refusal
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.retiring import Retiring, Usage
from mcp_orchestra.running import Running, make_router, outdating
from mcp_orchestra.tasks import finish

__all__ = ["reload_running"]


async def reload_running(
    running: Running,
    registry: MCPRegistry,
    old: LoadedConfig,
    new: LoadedConfig,
    difference: ReloadResult,
    take: Callable[[Running], None],
    *,
    fail_fast: bool,
) -> ReloadResult:
    """Connect what is new or reached in another way, then go over to the new configuration.

    What was asked before is answered by what was there then; that is closed afterwards.

    Args:
        running: What is running.
        registry: Has its servers, and has those of the new configuration in the end.
        old: The configuration in force.
        new: The configuration that is to come.
        difference: What becomes of each server.
        take: Called with what is running from now on, in the same step in which everything changes.
        fail_fast: Whether one server that does not connect is enough to leave everything as it is.

    Raises:
        MCPConnectionError: One failed, and ``fail_fast`` is set. Nothing has changed.
        PluginError: The cache backend or a routing policy cannot be made. Nothing has changed.
    """
    router = make_router(new)
    newcomers = MCPRegistry()
    for server_id in (*difference.added, *difference.changed):
        newcomers.register_server(server_id, new.config.mcp_servers[server_id])
    incoming = running.connections.made(new, [*difference.added, *difference.changed], newcomers)
    cache: ResourceCache | None = None
    try:
        if not same_cache_store(old, new):
            cache = await _opened(new)
        failed = await open_all(incoming.values(), fail_fast=fail_fast)
        if failed and fail_fast:
            raise refusal(failed, [info.server_id for info in newcomers.get_connected_servers()])
    except BaseException:
        await finish(_undone(incoming, cache))
        raise
    # From here to the end there is nothing to wait for: whoever asks sees either configuration, and never a mixture.
    before = registry.exchange(new.config.mcp_servers, newcomers)
    old_cache = running.gatherer.cache
    forget_others(old_cache, old, new, difference.changed)
    if cache is None:
        cache = old_cache
        apply_rules(cache, new)
    connections, leaving = running.connections.succeed(new, incoming, before, outdating(cache))
    successor = Running.over(
        new, registry=registry, connections=connections, cache=cache, router=router, fail_fast=fail_fast, after=running
    )
    successor.catalogue.adopt(running.catalogue, (*difference.updated, *difference.unchanged))
    take(successor)
    _retire(running, before, leaving, successor.retiring, shared=cache is old_cache)
    return replace(difference, failed=failed)


def _retire(
    running: Running, before: MCPRegistry, leaving: Mapping[str, Connection], retiring: Retiring, *, shared: bool
) -> None:
    """Leave what was running to those who use it, and close after that what its successor has not.

    Args:
        running: What was running.
        before: Has its servers.
        leaving: Its connections that its successor has not.
        retiring: Closes things.
        shared: Whether its successor has the same cache.
    """
    users, cache = running.usage, running.gatherer.cache
    now = asyncio.get_running_loop().time()
    for connection in leaving.values():
        busy = partial(_busy, users, before, connection.server_id, now + connection.request_timeout)
        retiring.add(busy, connection.close)
    if shared and leaving:
        # What is still fetched from a server that is leaving must not be found by those who ask its successor.
        cache = storeless()
    running.stand_back(before, cache)
    if not shared or leaving:
        retiring.add(lambda: users.busy, cache.aclose)


async def _opened(loaded: LoadedConfig) -> ResourceCache:
    """Open the cache off the event loop; if that is cancelled, it is closed again."""
    opening = asyncio.create_task(asyncio.to_thread(open_cache, loaded))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await finish(_closed(opening))
        raise


async def _closed(opening: "asyncio.Task[ResourceCache]") -> None:
    await asyncio.wait({opening})
    if opening.exception() is None:
        await opening.result().aclose()


async def _undone(incoming: Mapping[str, Connection], cache: ResourceCache | None) -> None:
    await close_all(incoming.values())
    if cache is not None:
        await cache.aclose()


def _busy(users: Usage, before: MCPRegistry, server_id: str, until: float) -> bool:
    """Return whether somebody uses a connection that was replaced: by asking us, or until a time its client itself."""
    if users.busy:
        return True
    info = before.get_server(server_id)
    return info is not None and info.in_flight > 0 and asyncio.get_running_loop().time() < until
