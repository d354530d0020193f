"""Asks the orchestrator on behalf of a request, and answers with JSON whatever comes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil

from fastapi import Request, Response
from mcp_orchestra import MCPOrchestrator
from pydantic_core import to_json

from mcp_orchestra_fastapi.failures import explain, report
from mcp_orchestra_fastapi.models import ErrorBody
from mcp_orchestra_fastapi.startup import RETRY_SECONDS

__all__ = ["answer", "json_response"]

_NOTHING_PLANNED = 30.0
"""Seconds after which to ask again where nobody is about to connect to a server."""


async def answer(
    request: Request,
    orchestrator: MCPOrchestrator,
    question: Callable[[], Awaitable[object]],
    domain: str | None = None,
) -> Response:
    """Return the answer to a question, or an error in the documented shape.

    Args:
        request: The request to answer.
        orchestrator: Who is asked.
        question: Asks it; what it returns becomes the body.
        domain: What the question is about; None for everything.
    """
    try:
        return json_response(await question())
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an id and the log the error
        refusal = explain(error, orchestrator.registry, domain)
        response = json_response(ErrorBody(error=report(request, error, refusal)), refusal.status)
        if refusal.status == 503:
            response.headers["Retry-After"] = str(max(1, ceil(_next_attempt(orchestrator, domain))))
        return response


def json_response(body: object, status: int = 200) -> Response:
    """Return a body as JSON that every parser takes: a number that is not finite becomes null."""
    content = to_json(body, inf_nan_mode="null")
    # Resources may be meant for this caller alone, and a status is soon outdated: nobody on the way may keep them.
    return Response(content, status, {"Cache-Control": "no-store"}, "application/json")


def _next_attempt(orchestrator: MCPOrchestrator, domain: str | None) -> float:
    """Return the seconds until the first of the servers that could answer may be connected again."""
    registry = orchestrator.registry
    now = asyncio.get_running_loop().time()
    servers = registry.get_all_servers() if domain is None else registry.get_servers_by_domain(domain)
    delays = [info.retry_at - now for info in servers if info.retry_at is not None]
    delays += [0.0 for info in servers if info.available or info.state == "connecting"]
    delays += [RETRY_SECONDS for info in servers if info.state == "closed"]  # what failed to start is started again
    return min(delays, default=_NOTHING_PLANNED)
