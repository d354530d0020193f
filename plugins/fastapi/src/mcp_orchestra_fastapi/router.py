"""The routes: how things stand, all resources, those of a domain, and dropping what is cached."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.params import Depends
from mcp_orchestra import MCPOrchestrator
from starlette.convertors import PathConvertor, register_url_convertor

from mcp_orchestra_fastapi.answers import answer
from mcp_orchestra_fastapi.bodies import read_body
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
_BAD_BODY: _Responses = {
    413: {"model": ErrorBody, "description": "The body is larger than 64 KiB."},
    415: {"model": ErrorBody, "description": "The content type is not application/json."},
    422: {"model": ErrorBody, "description": "The body is not what is described here; nothing was dropped."},
}


class _AnyText(PathConvertor):
    """Matches line ends too, which starlette's own ``path`` does not: a domain with one deserves our 404."""

    regex = "(?s:.*)"


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
    register_url_convertor("mcp_orchestra_any", _AnyText())
    router = APIRouter(prefix=prefix, dependencies=list(dependencies), tags=["mcp"])

    @router.get("/status", response_model=Status, responses=_INTERNAL)
    async def status(request: Request) -> Response:
        """Return how the servers and the cache stand."""
        return await answer(request, orchestrator, partial(_status, orchestrator))

    @router.get("/resources", response_model=dict[str, ServerResources], responses=_UPSTREAM)
    async def resources(request: Request) -> Response:
        """Return the resources of every connected server, by display name and in priority order."""

        async def gather() -> dict[str, Any]:
            gathered = await orchestrator.gather_all_resources()
            mask_errors(request, gathered)
            return gathered

        return await answer(request, orchestrator, gather)

    # A path, because a domain may have slashes: servers arrive at the same route whether they are escaped or not.
    @router.get(
        "/resources/{domain:mcp_orchestra_any}", response_model=dict[str, Resource], responses=_UPSTREAM | _NO_DOMAIN
    )
    async def domain_resources(
        request: Request, domain: Annotated[str, Path(description="As servers declare it in the configuration.")]
    ) -> Response:
        """Return the resources, by name, of the first server for the domain that can answer."""

        async def fetch() -> dict[str, Any]:
            found = await orchestrator.get_resources_for_domain(domain)
            mask_errors(request, {domain: {"resources": found}})
            return found

        return await answer(request, orchestrator, fetch, domain)

    @router.post(
        "/cache/invalidate",
        response_model=Invalidated,
        responses=_INTERNAL | _BAD_BODY,
        # Described, not declared: FastAPI itself would read a body of any size, and quote it in its refusal.
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": Invalidation.model_json_schema()}}}},
    )
    async def invalidate_cache(request: Request) -> Response:
        """Drop one entry from the cache, or all."""

        async def invalidate() -> Invalidated:
            what = await read_body(request, Invalidation)
            return await asyncio.to_thread(_invalidate, orchestrator, what.key)

        return await answer(request, orchestrator, invalidate)

    return router


async def _status(orchestrator: MCPOrchestrator) -> Status:
    # In a thread, here and below: counting what is cached may wait for a disk or a network.
    return Status.model_validate(await asyncio.to_thread(orchestrator.get_status))


def _invalidate(orchestrator: MCPOrchestrator, key: str | None) -> Invalidated:
    cache = orchestrator.cache
    cache.invalidate(key)
    return Invalidated(key=key, cache_stats=CacheStats.model_validate(cache.get_stats()))
