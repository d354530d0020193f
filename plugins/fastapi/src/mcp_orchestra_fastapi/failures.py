"""Turns errors into answers: a status, words of our own and an id for the caller, the full error for the log.

The messages of our exceptions are not passed on: they may quote what a server said, and a server may say anything.
"""

import logging
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import Request
from mcp_orchestra import (
    ConfigurationError,
    MCPConnectionError,
    MCPOrchestratorException,
    MCPRegistry,
    NoMCPAvailableError,
    ResourceFetchError,
)

from mcp_orchestra_fastapi.models import Failure

__all__ = ["Refusal", "explain", "mask_errors", "report"]

logger = logging.getLogger("mcp_orchestra.fastapi")

_MOST_LOGGED = 20
"""How many of one answer's errors are logged."""


class Refusal(NamedTuple):
    """What a caller is told instead of an answer."""

    status: int
    """The HTTP status."""
    type: str
    message: str


def explain(error: Exception, registry: MCPRegistry, domain: str | None) -> Refusal:
    """Return what to tell the caller about an error.

    Args:
        error: What the orchestrator raised.
        registry: Tells whether anybody declares the domain.
        domain: What was asked for; None for everything.
    """
    about = f" for the domain {domain!r}" if domain is not None else ""
    match error:
        case NoMCPAvailableError() if domain is not None and not registry.get_servers_by_domain(domain):
            return Refusal(404, "NoMCPAvailableError", f"no MCP server declares the domain {domain!r}")
        case NoMCPAvailableError():
            return Refusal(503, "NoMCPAvailableError", f"no MCP server{about} is available")
        case MCPConnectionError():
            return Refusal(503, "MCPConnectionError", f"the MCP servers{about} cannot be reached")
        case ResourceFetchError():
            asked = ", ".join(_servers_of(error)) or "the MCP server"
            return Refusal(502, "ResourceFetchError", f"the resources{about} could not be fetched from {asked}")
        case ConfigurationError():
            return Refusal(500, "ConfigurationError", "the configuration of the MCP servers cannot be used")
        case _:
            return Refusal(500, "InternalError", "internal error")


def report(request: Request, error: Exception, refusal: Refusal) -> Failure:
    """Log an error in full, and return what the answer says about it; both have the same id."""
    failure = Failure(type=refusal.type, message=refusal.message, id=uuid.uuid4().hex)
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, MCPOrchestratorException):
        what = f"{what} {error.context}"
    # An error that was foreseen explains itself, and with a server down there may be hundreds a second.
    logger.log(
        logging.INFO if refusal.status == 404 else logging.ERROR if refusal.status == 500 else logging.WARNING,
        "%s %r answered with %d, error %s: %s",
        request.method,
        request.url.path,
        refusal.status,
        failure.id,
        what,
        exc_info=error if refusal.status == 500 else None,
    )
    return failure


def mask_errors(request: Request, servers: dict[str, Any]) -> None:
    """Replace the errors within an answer by what a caller may know, in place, and log them.

    Args:
        request: The request that is answered.
        servers: What ``gather_all_resources()`` returned.
    """
    failure_id = uuid.uuid4().hex
    found: list[str] = []
    for place, entry, what in _failed(servers):
        found.append(f"{place}: {entry['error']}")
        entry["error"] = Failure(type="ResourceFetchError", message=what, id=failure_id).model_dump()
    if found:
        logger.warning(
            "%s %r answered in part, error %s, %d in all: %s",
            request.method,
            request.url.path,
            failure_id,
            len(found),
            "; ".join(found[:_MOST_LOGGED]),
        )


def _failed(servers: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    for server, entry in servers.items():
        if "error" in entry:
            yield server, entry, "the resources of this server could not be fetched"
        for key, resource in entry["resources"].items():
            if "error" in resource:
                yield f"{server}, {key!r}", resource, "this resource could not be read"


def _servers_of(error: MCPOrchestratorException) -> list[str]:
    attempts = error.context.get("attempts") or [error.context]
    return [str(attempt["server"]) for attempt in attempts if "server" in attempt]
