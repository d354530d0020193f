"""One task owns one server's connection, for as long as the orchestrator lives; everybody else only uses it."""

import asyncio
import contextvars
import dataclasses
import logging
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, nullcontext
from functools import partial

import mcp_types as types
from mcp import Client

from mcp_orchestra.addresses import AddressRules
from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig, SupervisionConfig
from mcp_orchestra.connection.attempt import Attempt
from mcp_orchestra.connection.changes import EVERYTHING, Change
from mcp_orchestra.connection.client import STOPPED_READING, ServerClient
from mcp_orchestra.connection.faults import Fault
from mcp_orchestra.connection.handshake import Handshake
from mcp_orchestra.connection.health import HealthChecks, still_there
from mcp_orchestra.connection.notices import Notices, change_told
from mcp_orchestra.connection.pacing import Pace
from mcp_orchestra.connection.record import Record
from mcp_orchestra.connection.services import ConnectionServices
from mcp_orchestra.connection.supervising import Supervisor
from mcp_orchestra.connection.watch import Line
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.types import Endpoint, TransportSpec

__all__ = ["Connection", "ConnectionServices"]

logger: logging.Logger = logging.getLogger(__name__)

_CLOSED = Fault(reason="the orchestrator was closed", cause="closed", delivered="no", retryable=False)

_LAST_ANSWERS = 1.0
"""Seconds for requests under way to be refused like the first that found the session forgotten, and then repeated."""


class Connection:
    """The connection to one server: connects, notices its loss, connects again.

    Args:
        server_id: The server's key in the configuration; it is registered under it.
        config: Its configuration.
        spec: Its transport.
        options: The transport's validated options.
        limits: What bounds its answers.
        supervision: How it is supervised.
        max_retries: Attempts after the first one during `open`.
        services: What it shares with the other connections.
    """

    def __init__(
        self,
        server_id: str,
        config: MCPServerConfig,
        spec: TransportSpec,
        options: object,
        *,
        limits: LimitsConfig,
        supervision: SupervisionConfig,
        max_retries: int,
        services: ConnectionServices,
    ) -> None:
        self.server_id = server_id
        self.config: MCPServerConfig = config
        self.spec = spec
        self.limits: LimitsConfig = limits
        self.diagnostics: Diagnostics = Diagnostics()
        self.connect_timeout: float = float(config.timeout)
        self.request_timeout: float = float(config.request_timeout or config.timeout)
        self.protocol_version: str | None = None
        self.server_info: types.Implementation | None = None
        self.supervisor: Supervisor = Supervisor(server_id, supervision, lambda: self._services)
        self.client: ServerClient = ServerClient(self, services.telemetry, services.redact)
        self._record = Record(server_id, lambda: self._services)
        self._max_retries = max_retries
        self._services = services
        self._supervision = supervision
        self._pace = Pace(services.budget, supervision.max_restarts_per_minute if spec.spawns_process else None)
        endpoint = Endpoint(
            server_id=server_id,
            url=config.url,
            options=options,
            connect_timeout=self.connect_timeout,
            request_timeout=self.request_timeout,
            max_message_bytes=limits.max_message_bytes,
            diagnostics=self.diagnostics,
            addresses=AddressRules(services.allowed_networks),
            hide=partial(services.redact.learn, server_id),
        )
        self._handshake = Handshake(config, spec, endpoint, self._on_message)
        self._current: Client | None = None
        self._notices: Notices | None = None
        self._told: set[Change] = set()
        self.tools_told: int = 0
        self._attempt: Attempt | None = None
        self._owner: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[Fault | None] | None = None
        self._next: asyncio.Future[None] | None = None  # resolved when the next attempt has succeeded or failed
        self._closing = False
        self._resting = False  # until the first attempt after it has succeeded or failed

    @property
    def current(self) -> Client | None:
        """The SDK's client while the server is connected, else None."""
        return self._current

    @property
    def line(self) -> Line:
        """What is seen of the streams of the latest connection."""
        return self._handshake.line

    @property
    def given_up(self) -> bool:
        """Whether no attempt is being made any more: it failed at first, in a way that does not heal by itself."""
        return self._owner is not None and self._owner.done() and not self._closing

    @property
    def _is_open(self) -> bool:
        """Whether the first connect has succeeded or failed, so that nobody waits for it any more."""
        return self._opened is None or self._opened.done()

    async def open(self) -> Fault | None:
        """Connect; return None once connected, or why not, at the latest after the server's ``timeout``.

        A server that is started on first use counts as opened at once. A failure that may heal is retried in
        the background until `close`, after which nothing is opened any more.
        """
        if self._closing:
            return _CLOSED
        if self._opened is not None and not self.given_up:
            return await asyncio.shield(self._opened)
        self._pace.decided()  # what was asked of it after it had been given up hurries nothing now
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        self._next = loop.create_future()
        # The owner outlives whoever opens, so it has no context; only the first connects belong to the caller's trace.
        self._owner = asyncio.create_task(
            self._own(contextvars.copy_context(), loop.time() + self.connect_timeout),
            name=f"mcp-owner-{self.server_id}",
            context=contextvars.Context(),
        )
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Let go of the server: at any time, from any task, any number of times."""
        if not self._closing:
            self._closing = True
            self._current = None
            self._record.closed()  # at once: letting go of the server may take seconds
            if self._owner is not None:
                self._owner.cancel()
        if self._owner is not None:
            await asyncio.wait({self._owner})
        self._settle(_CLOSED)  # an owner that is cancelled before its first step never takes it

    def lose(self, client: Client, fault: Fault) -> None:
        """Take the connection as lost, because a request over ``client`` found out."""
        if self._attempt is not None and client is self._current:
            self._withdraw(self._explain(fault))
            self._attempt.lose(fault)

    def adjust(self, config: MCPServerConfig, limits: LimitsConfig, max_retries: int) -> None:
        """Go by a configuration from now on under which the server is reached as before."""
        self.config, self.limits, self._max_retries = config, limits, max_retries

    def serve(self, services: ConnectionServices) -> None:
        """Work with other services from now on."""
        self._services = services

    async def fetching(self, change: Change) -> None:
        """Have it covered, if the server does so soon, that a change of what is about to be fetched will be told."""
        if self._notices is not None:
            await self._notices.fetching(change)

    async def cover(self, uris: Collection[str]) -> None:
        """Have it covered, if the server does so soon, that a change of these resources' contents will be told.

        Args:
            uris: All resources of the server whose contents are kept.
        """
        if self._notices is not None:
            await self._notices.cover(uris)

    def cover_cached(self, uris: Callable[[], Collection[str]]) -> None:
        """Have it covered, without waiting, that changes of resources are told which an earlier connection has read.

        Args:
            uris: Returns those of all of them; called at most once for each connection.
        """
        if self._notices is not None:
            self._notices.cover_cached(uris)

    async def revive(self, seconds: float) -> bool:
        """Make a planned attempt now, and return whether the server is connected after it.

        Args:
            seconds: How long to wait for the outcome at most.
        """
        return await self._attempted(seconds) if self._pace.hurry(within=seconds) else self._current is not None

    async def retry(self) -> bool:
        """Make a planned attempt now, whatever the last one said: somebody may have mended what it was about."""
        self._pace.hurry()
        return await self._attempted(self.connect_timeout)

    async def needed(self, seconds: float) -> bool:
        """Start the server if it waits for its first use, and return whether it is connected then."""
        return await self.revive(seconds) if self._resting else self._current is not None

    async def _attempted(self, seconds: float) -> bool:
        if self._current is None and self._owner is not None and self._next is not None:
            await asyncio.wait({self._next, self._owner}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._current is not None

    async def _own(self, opener: contextvars.Context, deadline: float) -> None:
        """Connect again and again: until closed, or until it is hopeless."""
        fault = _CLOSED
        try:
            fault = await self._connect_until_hopeless(opener, deadline)
        except asyncio.CancelledError:
            # Only close(), or the end of the event loop, cancels this task: an order to stop, not news to pass on.
            self._record.closed()
            if self._attempt is not None:
                await self._attempt.leave()
        finally:
            self._settle(fault)

    async def _connect_until_hopeless(self, opener: contextvars.Context, deadline: float) -> Fault:
        loop = asyncio.get_running_loop()
        attempts = 0
        before: Fault | None = None
        if self.config.start == "on_first_use":
            await self._rest()
        while True:
            attempts += 1
            opening = not self._is_open
            seconds = deadline - loop.time() if opening else self.connect_timeout
            context = opener if opening else contextvars.Context()
            before = fault = await self._connect_once(max(seconds, 0.0), context, before if opening else None)
            if fault.cause == "idle":
                await self._rest()
                continue
            if not fault.retryable and self.protocol_version is None:
                return fault
            delay = self._pace.plan(fault)
            if opening and (attempts > self._max_retries or loop.time() + delay >= deadline):
                self._settle(fault)
            self._record.failed(fault, loop.time() + delay)
            await self._pace.pause(delay)
            if self._is_open and (wait := self._pace.reserve()):
                self._record.failed(fault, loop.time() + wait)
                await asyncio.sleep(wait)

    async def _rest(self) -> None:
        """Wait until a question needs the server."""
        self._resting = True
        self._record.resting()
        self._settle(None)
        await self._pace.needed()

    async def _connect_once(self, seconds: float, context: contextvars.Context, before: Fault | None) -> Fault:
        """Connect, hold the connection, and return why there is none (any more).

        An attempt that ``seconds`` cut short says less than why the one ``before`` it failed, if there was one.
        """
        self._record.connecting()
        self._attempt = attempt = Attempt(self.server_id, self._enter, context)
        self._pace.begin()
        checks: asyncio.Task[None] | None = None
        try:
            outcome = await attempt.connected(seconds)
            if isinstance(outcome, Fault):
                if before is not None and not attempt.ended:
                    outcome = dataclasses.replace(before, retry_after=None)  # that has been waited for
                fault = self._explain(outcome)
                self._withdraw(fault)
                self._announce()
                if not attempt.ended:
                    self._settle(fault)  # its time is up, and leaving a server that does not answer takes longer still
            else:
                self._publish(outcome)
                self._announce()
                checks = asyncio.create_task(
                    self._checks(outcome).run(), name=f"mcp-health-{self.server_id}", context=contextvars.Context()
                )
                connected_at = asyncio.get_running_loop().time()
                fault = self._explain(await attempt.lost())
                self._pace.lasted(asyncio.get_running_loop().time() - connected_at)
                self._withdraw(fault)
                if fault.cause == "session":
                    await self.supervisor.quiet(_LAST_ANSWERS)
        finally:
            self._current = None
            if checks is not None:
                checks.cancel()
            notices, self._notices = self._notices, None
            self.line.leave()
            if notices is not None:
                notices.stop()
            await attempt.leave()
            if notices is not None:
                await notices.stopped()
            if checks is not None:
                await asyncio.wait({checks})
        return fault

    async def _enter(self, stack: AsyncExitStack, ended: Callable[[str], None]) -> Client:
        spawning = self._services.spawning.turn() if self.spec.spawns_process else nullcontext()
        with self._services.telemetry.span("connect", server=self.server_id):
            async with spawning:
                return await self._handshake.enter(stack, ended)

    def _publish(self, client: Client) -> None:
        returning = self.protocol_version is not None
        self._current = client
        self.protocol_version = client.protocol_version
        self.server_info = client.server_info
        self._record.connected(self.client)
        self.supervisor.connected(again=returning)
        logger.info("server %s: connected, protocol %s", self.server_id, client.protocol_version)
        if returning:
            self._tell(EVERYTHING)
        self._notices = Notices(
            client,
            self.line,
            self.server_id,
            at_once=self.limits.max_concurrent_reads,
            seconds=self.request_timeout,
            tell=self._tell,
            gone=lambda: self._current is not client or self.line.ended,
            stuck=lambda: self.lose(client, STOPPED_READING),
        )
        self._settle(None)

    def _checks(self, client: Client) -> HealthChecks:
        return HealthChecks(
            self.supervisor,
            lambda: still_there(client, self.line, self.request_timeout, lambda: self.lose(client, STOPPED_READING)),
            lambda fault: self.lose(client, fault),
            interval=self._supervision.health_check_interval,
            patience=self._supervision.failure_threshold,
            idle_stop=self.config.idle_stop,
        )

    def _withdraw(self, fault: Fault) -> None:
        """Say at once that the server is gone; letting go of it may take seconds."""
        self._current = None
        if fault.cause == "idle":
            self._resting = True
            self._record.resting()
        else:
            self._record.failed(fault)

    def _announce(self) -> None:
        """Tell whoever waits for an attempt that this one has an outcome; the next is not in a hurry for their sake."""
        self._pace.decided()
        self._resting = False
        if self._next is not None:
            self._next.set_result(None)
        self._next = asyncio.get_running_loop().create_future()

    def _settle(self, fault: Fault | None) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(fault)

    def _explain(self, fault: Fault) -> Fault:
        """Say how the server's process ended and what it said last, if it has one and it ended."""
        return dataclasses.replace(fault, reason=self._services.redact(self.diagnostics.ending or fault.reason))

    async def _on_message(self, message: object) -> None:
        if (change := change_told(message)) is not None:
            self._tell({change})

    def _tell(self, changes: Collection[Change]) -> None:
        """Say what has changed, once for all that is learnt within one step of the loop: none can be fetched within."""
        self.tools_told += "tools" in changes
        news = frozenset(changes) - self._told
        if not news:
            return
        if not self._told:
            asyncio.get_running_loop().call_soon(self._told.clear)
        self._told |= news
        self._services.changed(self.server_id, news)
