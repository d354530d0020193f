"""The routes: how things stand, all resources, those of a domain, and dropping what is cached."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.params import Depends
from mcp_orchestra import MCPOrchestrator

from mcp_orchestra_fastapi.answers import answer, ask_servers
from mcp_orchestra_fastapi.body_limit import SmallBodyRoute
from mcp_orchestra_fastapi.failures import mask_errors
from mcp_orchestra_fastapi.models import (
    CacheStats,
    ErrorBody,
    Invalidated,
    Invalidation,
    Resource,
    ServerResources,
    Status,
)
from mcp_orchestra_fastapi.startup import start_of

__all__ = ["create_router"]

_Responses = dict[int | str, dict[str, Any]]

_INTERNAL: _Responses = {
    500: {"model": ErrorBody, "description": "Something else failed; the log has the error under its id."}
}
_UPSTREAM: _Responses = _INTERNAL | {
    502: {"model": ErrorBody, "description": "Servers are connected, but their resources could not be fetched."},
    503: {
        "model": ErrorBody,
        "description": "No server is connected that could answer.",
        "headers": {
            "Retry-After": {
                "description": "Seconds after which one may be connected again.",
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    },
}
_NO_DOMAIN: _Responses = {404: {"model": ErrorBody, "description": "No server declares the domain."}}
_TOO_LARGE: _Responses = {413: {"description": "The body is larger than 64 KiB."}}


def create_router(
    orchestrator: MCPOrchestrator, *, prefix: str = "/mcp", dependencies: Sequence[Depends] = ()
) -> APIRouter:
    """Return the routes ``/status``, ``/resources``, ``/resources/{domain}`` and ``/cache/invalidate``.

    They hold no credentials of their own and check none: whoever can reach them sees what the servers offer, with the
    rights that the orchestrator has. Put what guards the rest of the application into ``dependencies``.

    Args:
        orchestrator: Who answers. If no `lifespan` initialises it, the first question for resources does.
        prefix: What the paths begin with: empty, or a path that begins with a slash and does not end with one.
        dependencies: Run before every route, as ``Depends(...)``.
    """
    router = APIRouter(prefix=prefix, dependencies=list(dependencies), tags=["mcp"])

    @router.get("/status", response_model=Status, responses=_INTERNAL)
    async def status(request: Request) -> Response:
        """Return how the servers and the cache stand."""
        return await answer(request, orchestrator, partial(_status, request, orchestrator))

    @router.get("/resources", response_model=dict[str, ServerResources], responses=_UPSTREAM)
    async def resources(request: Request) -> Response:
        """Return the resources of every connected server, by display name and in priority order."""

        async def gather() -> dict[str, Any]:
            gathered = await orchestrator.gather_all_resources()
            mask_errors(request, gathered)
            return gathered

        return await ask_servers(request, orchestrator, gather)

    # A path, because a domain may have slashes: servers arrive at the same route whether they are escaped or not.
    @router.get("/resources/{domain:path}", response_model=dict[str, Resource], responses=_UPSTREAM | _NO_DOMAIN)
    async def domain_resources(
        request: Request, domain: Annotated[str, Path(description="As servers declare it in the configuration.")]
    ) -> Response:
        """Return the resources, by name, of the first server for the domain that can answer."""

        async def fetch() -> dict[str, Any]:
            found = await orchestrator.get_resources_for_domain(domain)
            mask_errors(request, {domain: {"resources": found}})
            return found

        return await ask_servers(request, orchestrator, fetch, domain)

    async def invalidate_cache(request: Request, what: Invalidation | None = None) -> Response:
        """Drop one entry from the cache, or all."""
        key = what.key if what is not None else None
        return await answer(request, orchestrator, lambda: asyncio.to_thread(_invalidate, orchestrator, key))

    router.add_api_route(
        "/cache/invalidate",
        invalidate_cache,
        methods=["POST"],
        response_model=Invalidated,
        responses=_INTERNAL | _TOO_LARGE,
        route_class_override=SmallBodyRoute,
    )
    return router


async def _status(request: Request, orchestrator: MCPOrchestrator) -> Status:
    # In a thread, here and below: counting what is cached may wait for a disk or a network.
    status = Status.model_validate(await asyncio.to_thread(orchestrator.get_status))
    start = start_of(request.app, orchestrator)
    if start is not None and start.error is not None:
        # What failed to start was closed again, which left no trace of the reasons on the servers.
        failed = start.error.context.get("failed", {})
        for server in status.servers:
            if not server.connected:
                server.error = server.error or failed.get(server.id, "closed again, because another server failed")
                server.retry_in = round(start.retry_in, 3)
    return status


def _invalidate(orchestrator: MCPOrchestrator, key: str | None) -> Invalidated:
    cache = orchestrator.cache
    cache.invalidate(key)
    return Invalidated(key=key, cache_stats=CacheStats.model_validate(cache.get_stats()))
