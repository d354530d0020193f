"""A server's client that any task may use: deadlines round every request, our errors out of every failure."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import mcp_types as types

from mcp_orchestra.connection import paging
from mcp_orchestra.connection.asking import answer_to
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.fault import Fault, one_line
from mcp_orchestra.connection.inspector import note_protocol_error
from mcp_orchestra.connection.listing import CursorExpiredError, Hints, Listing, collect
from mcp_orchestra.connection.paging import (
    PROMPTS,
    RESOURCES,
    TEMPLATES,
    TOOLS,
    ItemT,
    Kind,
    Page,
    learn_tools,
    validated,
)
from mcp_orchestra.connection.tools import without_namesakes
from mcp_orchestra.errors import MCPConnectionError, MCPOrchestratorException, ResourceFetchError, ToolCallError
from mcp_orchestra.inputs import checked_object, checked_seconds, checked_text, checked_texts
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.telemetry import Telemetry

if TYPE_CHECKING:
    from mcp import Client

    from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig
    from mcp_orchestra.connection.supervising import Supervisor
    from mcp_orchestra.connection.watch import Line
    from mcp_orchestra.diagnostics import Diagnostics

__all__ = ["STOPPED_READING", "ConnectionView", "ServerClient"]

ResultT = TypeVar("ResultT")


class ConnectionView(Protocol):
    """What a `ServerClient` needs of its connection."""

    server_id: str
    config: "MCPServerConfig"
    limits: "LimitsConfig"
    diagnostics: "Diagnostics"
    request_timeout: float
    tools_told: int
    """How often its tools have, or may have, changed."""

    @property
    def current(self) -> "Client | None":
        """The SDK's client while connected."""
        ...

    @property
    def line(self) -> "Line":
        """What is seen of the streams under that client."""
        ...

    def lose(self, client: "Client", fault: Fault) -> None:
        """Take the connection as lost."""
        ...

    @property
    def supervisor(self) -> "Supervisor":
        """Lets requests through."""
        ...

    async def fetching(self, change: Change) -> None:
        """Have it covered that a change of what is about to be fetched will be told."""
        ...

    async def revive(self, seconds: float) -> bool:
        """Connect now if that is planned."""
        ...

    async def needed(self, seconds: float) -> bool:
        """Connect now if that waits for the first request."""
        ...


class ServerClient:
    """Asks one server; usable from any task of the event loop that connected it, over reconnects too.

    Listings are complete: all pages in one result of the SDK's type, with ``next_cursor`` None. Items that are not what
    the protocol says are left out, and counted as protocol errors. Every request ends within the server's
    ``request_timeout``, with a result, one of our errors, or the caller's own cancellation. What cannot be sent is a
    ``TypeError`` or ``ValueError`` before anything is.
    """

    def __init__(self, connection: ConnectionView, telemetry: Telemetry, redact: Redactor) -> None:
        self._connection = connection
        self._telemetry = telemetry
        self._redact = redact
        self._listed: Client | None = None  # the SDK's client whose tools have been listed
        self._names: set[str] = set()  # of these tools

    @property
    def has_listed(self) -> bool:
        """Whether the tools have been listed over the present connection."""
        return self._listed is not None and self._listed is self._connection.current

    def __repr__(self) -> str:
        return f"<ServerClient {self._connection.server_id}>"

    async def list_resources(self) -> types.ListResourcesResult:
        """Return all resources.

        Raises:
            MCPConnectionError: The server is not connected or the connection was lost.
            ResourceFetchError: It answered with an error, too much, or not in time.
        """
        found = await self.collect_resources()
        return types.ListResourcesResult(resources=found.items, **_hints(found.hints))

    async def collect_resources(self) -> Listing[types.Resource]:
        """Return all resources together with how long they are fresh."""
        await self._fetching("resources", RESOURCES.method)
        return await self._collect(RESOURCES)

    async def list_resource_templates(self) -> types.ListResourceTemplatesResult:
        """Return all resource templates; raises as `list_resources` does."""
        found = await self.collect_resource_templates()
        return types.ListResourceTemplatesResult(resource_templates=found.items, **_hints(found.hints))

    async def collect_resource_templates(self) -> Listing[types.ResourceTemplate]:
        """Return all resource templates together with how long they are fresh."""
        await self._fetching("resources", TEMPLATES.method)
        return await self._collect(TEMPLATES)

    async def list_tools(self) -> types.ListToolsResult:
        """Return all tools.

        Raises:
            MCPConnectionError: They cannot be had.
            ResourceFetchError: There are more than the limits allow.
        """
        found = await self.collect_tools()
        return types.ListToolsResult(tools=found.items, **_hints(found.hints))

    async def collect_tools(self) -> Listing[types.Tool]:
        """Return all tools together with how long they are fresh."""
        await self._fetching("tools", TOOLS.method)
        found = await self._collect(TOOLS)
        items, namesakes = without_namesakes(found.items)
        if namesakes is not None:
            self._note(self._redact(namesakes), times=len(found.items) - len(items))
        found.items = items
        if (client := self._connection.current) is not None:
            found.items = await learn_tools(client, found.items)
            self._listed = client
            self._names = {tool.name for tool in found.items}
        return found

    async def list_prompts(self) -> types.ListPromptsResult:
        """Return all prompts; raises as `list_tools` does."""
        found = await self._collect(PROMPTS)
        return types.ListPromptsResult(prompts=found.items, **_hints(found.hints))

    async def read_resource(self, uri: str) -> types.ReadResourceResult:
        """Return a resource's contents.

        Raises:
            MCPConnectionError: The server is not connected or the connection was lost.
            ResourceFetchError: It answered with an error or not in time; ``context["code"]`` is its error code.
        """
        uri = checked_text(uri, "uri")
        return await self._ask("resources/read", uri, lambda client: paging.read(client, uri))

    async def get_prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> types.GetPromptResult:
        """Return a prompt filled with arguments; raises ``MCPConnectionError`` if it cannot be had."""
        name, given = checked_text(name, "name"), checked_texts(arguments)
        return await self._ask("prompts/get", name, lambda client: client.get_prompt(name, given))

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        approve: Callable[[], Awaitable[None]] | None = None,
    ) -> types.CallToolResult:
        """Call a tool, once: a call that may have been delivered is never repeated.

        Args:
            name: The tool's name at this server.
            arguments: Its arguments.
            timeout: Seconds to wait for its result; the server's ``request_timeout`` by default.
            approve: Awaited before the call is sent, and once more if the tools may have changed until it is its turn;
                raises what keeps it from being sent.

        Returns:
            The result; a failure that the tool itself reports has ``is_error`` set.

        Raises:
            ToolCallError: There is no result; ``context["delivered"]`` says whether the tool may have run.
            TypeError: The name, an argument or the timeout is of a type that cannot be sent.
            ValueError: One of them has a value that cannot be sent.
        """
        name, given, timeout = checked_text(name, "name"), checked_object(arguments), checked_seconds(timeout)
        told: int | None = None

        async def prepare() -> None:
            nonlocal told
            if approve is not None:
                await approve()
                told = self._connection.tools_told
            # The SDK lists the tools *after* the first call of an unlisted one, and loses the result if that fails.
            if not self.has_listed:
                try:
                    await self.list_tools()
                except MCPOrchestratorException as error:
                    raise self._error("tools/call", name, _undelivered(error)) from error

        async def call(client: "Client") -> types.CallToolResult:
            if name not in self._names:
                await learn_tools(client, [types.Tool(name=name, input_schema={})])  # nor for one that is not listed
            return await paging.call(client, name, given, timeout)

        def outdated() -> bool:
            return told is not None and told != self._connection.tools_told

        await prepare()
        result = await self._ask("tools/call", name, call, timeout, again=prepare, outdated=outdated)
        return self._told(result) if result.is_error else result

    async def _fetching(self, change: Change, method: str) -> None:
        """Have changes of a listing told before it is fetched, which takes a connection."""
        connection = self._connection
        if connection.current is None and not await connection.needed(connection.request_timeout):
            raise self._error(method, None, _NOT_CONNECTED)
        await connection.fetching(change)

    async def _collect(self, kind: Kind[ItemT]) -> Listing[ItemT]:
        method = kind.method

        async def fetch(cursor: str | None) -> Page:
            try:
                return await self._ask(method, None, lambda client: kind.page(client, cursor))
            except MCPOrchestratorException as error:
                if cursor is not None and error.context.get("code") == types.INVALID_PARAMS:
                    raise CursorExpiredError from error
                raise

        try:
            listing = await collect(method, fetch, self._connection.limits)
        except ResourceFetchError as error:
            error.context = {**self._whereabouts(method), **error.context}
            raise
        items, malformed = await validated(listing.items, kind.item)
        if malformed:
            what = f"{len(malformed)} of the {len(listing.items)} items of {method} are malformed"
            self._note(f"{what}, the first at {malformed[0].where}", times=len(malformed))
        return Listing(items=items, malformed=malformed, hints=listing.hints)

    def _note(self, what: str, *, times: int) -> None:
        note_protocol_error(self._connection.server_id, self._connection.diagnostics, what, times=times)

    async def _ask(
        self,
        method: str,
        target: str | None,
        request: Callable[["Client"], Awaitable[ResultT]],
        timeout: float | None = None,
        *,
        again: Callable[[], Awaitable[None]] | None = None,
        outdated: Callable[[], bool] = lambda: False,
    ) -> ResultT:
        seconds = timeout if timeout is not None else self._connection.request_timeout
        with self._telemetry.span(method, server=self._connection.server_id, target=target):
            clock = asyncio.get_running_loop().time
            deadline = clock() + seconds
            outcome = await self._once(method, request, seconds, outdated)
            # It was refused before anything ran: with a new session the request may be repeated.
            forgotten = isinstance(outcome, Fault) and outcome.cause == "session"
            if forgotten and await self._connection.revive(deadline - clock()):
                outcome = _OUTDATED
            while outcome is _OUTDATED and (again is None or await _in_time(again, deadline)):
                outcome = await self._once(method, request, deadline - clock(), outdated)
            if isinstance(outcome, Fault):
                raise self._error(method, target, outcome) from self._shown(outcome)
            return outcome

    async def _once(
        self,
        method: str,
        request: Callable[["Client"], Awaitable[ResultT]],
        seconds: float,
        outdated: Callable[[], bool],
    ) -> "ResultT | Fault":
        connection = self._connection
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        if connection.current is None and not await connection.needed(seconds):
            return _NOT_CONNECTED
        return await connection.supervisor.supervise(
            deadline - clock(),
            lambda left: self._answer(request, left, outdated),
            patience=connection.request_timeout,
            any_length=method == "tools/call",
        )

    async def _answer(
        self, request: Callable[["Client"], Awaitable[ResultT]], seconds: float, outdated: Callable[[], bool]
    ) -> "ResultT | Fault":
        connection = self._connection
        if (client := connection.current) is None:
            return _NOT_CONNECTED
        if outdated():
            return _OUTDATED
        outcome = await answer_to(
            request(client),
            connection.line,
            lambda: connection.lose(client, STOPPED_READING),
            seconds=seconds,
            patience=connection.request_timeout,
        )
        if isinstance(outcome, Fault) and outcome.connection_lost:
            connection.lose(client, outcome)
        return outcome

    def _shown(self, fault: Fault) -> BaseException | None:
        """Return the cause to chain; one that quotes a secret would show it in a traceback."""
        error = fault.error
        return error if error is not None and self._redact(str(error)) == str(error) else None

    def _told(self, result: types.CallToolResult) -> types.CallToolResult:
        """Return what a tool says of its failure, which may quote the credentials that its server was given."""
        content = [
            block.model_copy(update={"text": self._redact(block.text)})
            if isinstance(block, types.TextContent)
            else block
            for block in result.content
        ]
        return result.model_copy(update={"content": content})

    def _whereabouts(self, method: str) -> dict[str, object]:
        return {"server": self._connection.config.name, "server_id": self._connection.server_id, "operation": method}

    def _error(self, method: str, target: str | None, fault: Fault) -> MCPOrchestratorException:
        what = f"{method} {one_line(target)}" if target and method != "resources/read" else method
        # What a server answers may quote the very credentials that it was given.
        message = self._redact(f"{self._connection.config.name}: {what} failed: {fault.reason}")
        context = {**self._whereabouts(method), **fault.context()}
        if method == "resources/read":
            context["uri"] = target
        if method == "tools/call":
            return ToolCallError(message, {**context, "tool": target})
        if fault.connection_lost or not method.startswith("resources/"):
            return MCPConnectionError(message, context)
        return ResourceFetchError(message, context)


STOPPED_READING = Fault(reason="the server stopped reading", cause="lost")
"""Why a connection is lost that takes no message any more."""

_NOT_CONNECTED = Fault(reason="the server is not connected", cause="lost", delivered="no")

_OUTDATED = Fault(reason="there was no time to look at it again, and it may have changed", cause="busy", delivered="no")


async def _in_time(prepare: Callable[[], Awaitable[None]], deadline: float) -> bool:
    try:
        async with asyncio.timeout_at(deadline):
            await prepare()
    except TimeoutError:
        return False
    return True


def _undelivered(error: MCPOrchestratorException) -> Fault:
    cause = str(error.context.get("cause", "lost"))
    retry_in = error.context.get("retry_in")
    reason = f"its tools cannot be listed: {error.message}"
    return Fault(reason=reason, cause=cause, delivered="no", retry_in=retry_in)


def _hints(hints: Hints) -> dict[str, Any]:
    return {"ttl_ms": (hints.ttl_ms or 0) if hints.complete else 0, "cache_scope": hints.scope}
