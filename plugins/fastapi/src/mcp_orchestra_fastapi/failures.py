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

__all__ = ["Refusal", "Refused", "explain", "mask_errors", "report"]

logger = logging.getLogger("mcp_orchestra.fastapi")

_MOST_LOGGED = 20
"""How many of one answer's errors are logged."""

_LONGEST_PATH = 200
"""How many characters of a request's path are logged."""


class Refusal(NamedTuple):
    """What a caller is told instead of an answer."""

    status: int
    """The HTTP status."""
    type: str
    message: str


class Refused(Exception):  # noqa: N818 - an answer rather than an error; it never leaves this package
    """A request cannot be answered as it stands: with which status, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(status, "InvalidRequest", message)


def explain(error: Exception, registry: MCPRegistry, domain: str | None) -> Refusal:
    """Return what to tell the caller about an error. It repeats nothing of the request.

    Args:
        error: What the orchestrator raised.
        registry: Tells whether anybody declares the domain.
        domain: What was asked for; None for everything.
    """
    match error:
        case Refused():
            return error.refusal
        case NoMCPAvailableError() if domain is not None and not registry.get_servers_by_domain(domain):
            return Refusal(404, "NoMCPAvailableError", "no MCP server declares this domain")
        case NoMCPAvailableError():
            return Refusal(503, "NoMCPAvailableError", "no MCP server that could answer is available")
        case MCPConnectionError():
            return Refusal(503, "MCPConnectionError", "the MCP servers cannot be reached")
        case ResourceFetchError():
            asked = ", ".join(_servers_of(error)) or "the MCP server"
            return Refusal(502, "ResourceFetchError", f"the resources could not be fetched from {asked}")
        case ConfigurationError():
            return Refusal(500, "ConfigurationError", "the configuration of the MCP servers cannot be used")
        case _:
            return Refusal(500, "InternalError", "internal error")


def report(request: Request, error: Exception, refusal: Refusal) -> Failure:
    """Log an error, and return what the answer says about it; both have the same id."""
    failure = Failure(type=refusal.type, message=refusal.message, id=uuid.uuid4().hex)
    # A request that is refused is described by our own words: the error may repeat it, however long it is.
    what, level = refusal.message, logging.INFO
    if refusal.status >= 500:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, MCPOrchestratorException):
            what = f"{what} {error.context}"
        # An error that was foreseen explains itself, and with a server down there may be hundreds a second.
        level = logging.ERROR if refusal.status == 500 else logging.WARNING
    logger.log(
        level,
        "%s %r answered with %d, error %s: %s",
        request.method,
        request.scope["path"][:_LONGEST_PATH],
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
            request.scope["path"][:_LONGEST_PATH],
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
