"""Asks the orchestrator on behalf of a request, and answers with JSON whatever comes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil

from fastapi import Request, Response
from mcp_orchestra import MCPOrchestrator
from pydantic_core import to_json

from mcp_orchestra_fastapi.failures import explain, report
from mcp_orchestra_fastapi.models import ErrorBody
from mcp_orchestra_fastapi.startup import Start, start_of

__all__ = ["answer", "ask_servers", "json_response"]

_NOTHING_PLANNED = 30.0
"""Seconds after which to ask again where nobody is about to connect to a server."""


async def ask_servers(
    request: Request,
    orchestrator: MCPOrchestrator,
    question: Callable[[], Awaitable[object]],
    domain: str | None = None,
) -> Response:
    """Return the answer to a question that needs connected servers, or an error in the documented shape.

    While the orchestrator's start fails the refusal comes at once: asking would join the attempt under way, and that
    may take as long as a server's ``timeout``.

    Args:
        request: The request to answer.
        orchestrator: Who is asked.
        question: Asks it; what it returns becomes the body.
        domain: What the question is about; None for everything.
    """
    start = start_of(request.app, orchestrator)
    if start is not None and start.error is not None:
        return _refuse(request, orchestrator, start.error, domain, start)
    return await answer(request, orchestrator, question, domain)


async def answer(
    request: Request,
    orchestrator: MCPOrchestrator,
    question: Callable[[], Awaitable[object]],
    domain: str | None = None,
) -> Response:
    """Return the answer to any question, or an error in the documented shape; arguments as for `ask_servers`."""
    try:
        return json_response(await question())
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an id and the log the error
        return _refuse(request, orchestrator, error, domain, None)


def json_response(body: object, status: int = 200) -> Response:
    """Return a body as JSON that every parser takes: a number that is not finite becomes null."""
    content = to_json(body, inf_nan_mode="null")
    # Resources may be meant for this caller alone, and a status is soon outdated: nobody on the way may keep them.
    return Response(content, status, {"Cache-Control": "no-store"}, "application/json")


def _refuse(
    request: Request, orchestrator: MCPOrchestrator, error: Exception, domain: str | None, start: Start | None
) -> Response:
    refusal = explain(error, orchestrator.registry, domain)
    response = json_response(ErrorBody(error=report(request, error, refusal)), refusal.status)
    if refusal.status == 503:
        seconds = start.retry_in if start is not None else _next_attempt(orchestrator, domain)
        response.headers["Retry-After"] = str(max(1, ceil(seconds)))
    return response


def _next_attempt(orchestrator: MCPOrchestrator, domain: str | None) -> float:
    """Return the seconds until the first of the servers that could answer may be connected again."""
    registry = orchestrator.registry
    now = asyncio.get_running_loop().time()
    servers = registry.get_all_servers() if domain is None else registry.get_servers_by_domain(domain)
    delays = [info.retry_at - now for info in servers if info.retry_at is not None]
    delays += [0.0 for info in servers if info.connected or info.state == "connecting"]
    return min(delays, default=_NOTHING_PLANNED)
