"""Servers to gather from, and orchestrators of ours that are connected to them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.memory import create_client_server_memory_streams
from mcp_orchestra import Endpoint, MCPOrchestrator, PluginManager, TransportSpec, hookimpl
from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.testing.servers import ScriptedServer

from benchmarks.stores import TTL

__all__ = ["orchestra", "scripted"]

TEXT = "What is worth knowing about this, in about as many words as a note of a few lines takes. " * 3


def scripted(servers: int, resources: int, *, ttl: int = TTL) -> dict[str, ScriptedServer]:
    """Return servers in this process, by id, each with so many resources of 270 bytes that are fresh for so long."""
    return {
        f"s{number}": ScriptedServer(
            f"s{number}",
            resources={f"res://s{number}/{index}": f"{index}: {TEXT}" for index in range(resources)},
            ttl_ms=ttl * 1000,
        )
        for number in range(servers)
    }


class _InProcess:
    """A plug-in whose transport leads to servers in this process: connecting costs next to nothing."""

    def __init__(self, servers: Mapping[str, ScriptedServer]) -> None:
        self._servers = servers

    @hookimpl
    def mcp_orchestra_transports(self) -> Iterable[TransportSpec]:
        yield TransportSpec(name="in-process", open=self._open)

    @asynccontextmanager
    async def _open(self, endpoint: Endpoint[None]) -> AsyncIterator[Any]:
        server = self._servers[endpoint.server_id].server
        async with (
            create_client_server_memory_streams() as (client, (read, write)),
            anyio.create_task_group() as group,
        ):
            group.start_soon(server.run, read, write, server.create_initialization_options())
            try:
                yield client
            finally:
                group.cancel_scope.cancel()


@asynccontextmanager
async def orchestra(
    servers: Mapping[str, ScriptedServer | str],
    *,
    cache: Mapping[str, Any],
    ttl: int = TTL,
    plugin: object = None,
    **orchestration: Any,
) -> AsyncIterator[MCPOrchestrator]:
    """Yield an orchestrator that is connected to these servers, in this process or at an address.

    Args:
        servers: By id.
        cache: ``orchestration.cache``.
        ttl: Seconds for which what it gathers is fresh.
        plugin: A plug-in to use besides those installed.
        orchestration: The rest of ``orchestration``.
    """
    plugins = PluginManager(strict=True)
    plugins.register(_InProcess({key: one for key, one in servers.items() if not isinstance(one, str)}), "here")
    if plugin is not None:
        plugins.register(plugin, "given")
    plugins.discover()
    config = MCPConfig.model_validate(
        {
            "mcp_servers": {key: {"name": key.title(), **_address(key, one)} for key, one in servers.items()},
            "orchestration": {"resource_cache_ttl": ttl, "cache": dict(cache), **orchestration},
        }
    )
    async with MCPOrchestrator(config=config, plugins=plugins).managed_session() as orchestrator:
        yield orchestrator


def _address(server_id: str, server: ScriptedServer | str) -> dict[str, str]:
    if isinstance(server, str):
        return {"transport": "streamable-http", "url": server}
    return {"transport": "in-process", "url": f"in-process:{server_id}"}
