"""Lets requests through to one server, as many as it may get and while it is worth it, and learns from how they end."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from mcp_orchestra.config.models import SupervisionConfig
from mcp_orchestra.connection.circuit import Circuit, Ticket
from mcp_orchestra.connection.fault import Fault, in_seconds
from mcp_orchestra.connection.latency import peak_ewma
from mcp_orchestra.connection.retry_after import retry_after_seconds
from mcp_orchestra.connection.services import ConnectionServices
from mcp_orchestra.registry import MCPServerInfo

__all__ = ["Supervisor"]

logger: logging.Logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_ANSWERED = frozenset({"invalid_output", "rejected", "too_large"})
"""Faults that show that the server is well: it has answered."""

_NOBODYS = frozenset({"auth", "busy", "cancelled", "closed", "idle", "lost", "resources", "session", "unsendable"})
"""Faults that do not tell how the server does. A lost connection is made anew, and that is a better probe than any."""

_Overdue = Literal["failure", "doubt", "nothing"]
"""What it says of the server that there was no answer in time."""

_IN_FULL = 0.9  # of the time that a server may take: a moment goes by before it is asked
_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_PLEASE_WAIT = 1.0
"""Seconds to leave a server alone that has had too much and does not say for how long."""


class Supervisor:
    """What is known of how one server does, and what follows from it for requests.

    Args:
        server_id: The server's id.
        settings: How it is supervised.
        services: Returns what its connection shares with others: its record in their registry is kept true.
    """

    def __init__(self, server_id: str, settings: SupervisionConfig, services: Callable[[], ConnectionServices]) -> None:
        self._server_id = server_id
        self._settings = settings
        self._services = services
        self._turns = asyncio.Semaphore(settings.max_concurrent_requests)
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._decided = asyncio.Event()
        self._busy: Fault | None = None
        self._last: Fault | None = None
        self._measured_at = 0.0
        self.circuit: Circuit = Circuit(settings.failure_threshold, _now)
        """Whether the server is left alone."""
        self.left_alone_until: float = float("-inf")
        """Until when the server has asked to be left alone."""
        self.in_flight: int = 0
        """Requests under way."""
        self.heard_at: float = float("-inf")
        """When it last answered."""
        self.used_at: float = float("-inf")
        """When the last request began or ended."""
        self.doubted: bool = False
        """Whether an answer was such that a health check has to tell what it means."""
        self.silent: int = 0
        """Probes of the open circuit in a row, be they requests or health checks, that got no answer at all."""
        self.news: asyncio.Event = asyncio.Event()
        """Set when any of this has changed in a way that matters to health checks."""

    async def supervise(
        self, seconds: float, ask: Callable[[float], Awaitable[ResultT | Fault]], *, patience: float, any_length: bool
    ) -> ResultT | Fault:
        """Ask the server if it is to be asked now.

        Args:
            seconds: The time for the request, waiting for its turn included.
            ask: Asks within the seconds that it is given.
            patience: Seconds that the server may take: a request that ends sooner without an answer says nothing.
            any_length: Whether what was asked for may take any time on a server that is well: a health check then finds
                out what it means that there was no answer.

        Returns:
            What ``ask`` returned; a fault ``busy`` or ``circuit_open`` if it was not called.
        """
        self.used_at = started = _now()
        if (refusal := self._refusal()) is not None:
            return refusal
        try:
            if self._turns.locked():
                async with asyncio.timeout(seconds):
                    await self._turns.acquire()
            else:
                await self._turns.acquire()
        except TimeoutError:
            limit = self._settings.max_concurrent_requests
            return Fault(
                reason=f"no turn within {in_seconds(seconds)}: "
                f"max_concurrent_requests={limit} were under way all the time",
                cause="busy",
                delivered="no",
            )
        try:
            ticket = await self._ticket(started + seconds)
            if isinstance(ticket, Fault):
                return ticket
            left = started + seconds - _now()
            overdue: _Overdue = "failure"
            if left < patience * _IN_FULL:
                overdue = "nothing"
            elif any_length and not self.circuit.open:  # else this is the probe, and has to decide
                overdue = "doubt"
            outcome = await self._run(ticket, lambda: ask(left), overdue)
            if isinstance(outcome, Fault) and outcome.cause == "timeout" and self._is_strange(overdue, patience):
                self._doubt()
            return outcome
        finally:
            self._turns.release()
            self.used_at = _now()

    async def check(self, ask: Callable[[], Awaitable[ResultT | Fault]]) -> ResultT | Fault | None:
        """Ask the server how it does, outside of the turns of requests.

        Returns:
            What ``ask`` returned; None if it is not to be asked now.
        """
        doubted, self.doubted = self.doubted, False
        ticket = self.circuit.admit(early=doubted) if self.left_alone_until <= _now() else None
        return await self._run(ticket, ask, "failure") if ticket is not None else None

    def connected(self, *, again: bool) -> None:
        """Note that the server has shaken hands.

        Args:
            again: Whether it has been connected before: it then starts slowly.
        """
        self.circuit.close()
        self._decided.set()
        self.left_alone_until = float("-inf")
        self.doubted = False
        self.silent = 0
        self.heard_at = self.used_at = _now()
        if again:
            self._start_slowly()

    async def quiet(self, seconds: float) -> None:
        """Wait until no request is under way any more, but no longer than so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return

    async def _ticket(self, deadline: float) -> Ticket | Fault:
        failures = self.circuit.failures
        while (refusal := self._refusal()) is None:
            if (ticket := self.circuit.admit(early=True)) is not None:
                return ticket
            # The last of its kind, and a probe is under way: what that finds out holds for this request as well.
            try:
                async with asyncio.timeout_at(deadline):
                    await self._decided.wait()
            except TimeoutError:
                return self._circuit_open()
            if self.circuit.failures > failures:
                return self._circuit_open()
        return refusal

    def _refusal(self) -> Fault | None:
        """Return why the server is not to be asked now, if it is not."""
        if (wait := self.left_alone_until - _now()) > 0 and self._busy is not None:
            return Fault(
                reason=f"the server asked to be left alone for another {in_seconds(wait)} ({self._busy.reason})",
                cause="busy",
                delivered="no",
                status=self._busy.status,
                retry_in=wait,
            )
        # While a doubt is to be decided, the next probe is the check, whose word counts.
        if self.circuit.open and (self.doubted or not (self.circuit.due or self._is_last())):
            return self._circuit_open()
        return None

    def _circuit_open(self) -> Fault:
        last = self._last.reason if self._last is not None else "it failed"
        return Fault(
            reason=f"the server is left alone: it failed {self.circuit.failures} times in a row, at last: {last}",
            cause="circuit_open",
            delivered="no",
            retry_in=max(0.0, (self.circuit.until or 0.0) - _now()),
        )

    def _is_last(self) -> bool:
        return self._info is None or self._services().registry.is_last(self._info)

    async def _run(
        self, ticket: Ticket, ask: Callable[[], Awaitable[ResultT | Fault]], overdue: _Overdue
    ) -> ResultT | Fault:
        outcome: ResultT | Fault | None = None
        started = time.perf_counter()
        if probe := self.circuit.open:  # nothing else is let through
            self._decided.clear()
        self._under_way(1)
        try:
            outcome = await ask()
            return outcome
        finally:
            self._under_way(-1)
            self._learn(ticket, outcome, time.perf_counter() - started, overdue, probe=probe)

    def _under_way(self, more: int) -> None:
        self.in_flight += more
        if self.in_flight:
            self._quiet.clear()
        else:
            self._quiet.set()
        if (info := self._info) is not None:
            info.in_flight = self.in_flight

    def _learn(self, ticket: Ticket, outcome: object, seconds: float, overdue: _Overdue, *, probe: bool) -> None:
        was_open = self.circuit.open
        worked: bool | None = None  # whoever asked was cancelled
        if isinstance(outcome, Fault):
            worked = self._verdict(outcome, overdue)
            if worked is False:
                self._last = outcome
                self.silent = self.silent + 1 if probe and outcome.cause == "timeout" else 0
        elif outcome is not None:
            worked = True
        if worked:
            self.silent = 0
            self.heard_at = _now()
            self._measure(seconds)
        self.circuit.settle(ticket, worked)
        if not self.circuit.probing:
            self._decided.set()
        if was_open and not self.circuit.open:
            logger.info("server %s: answers again", self._server_id)
            self._start_slowly()
        elif self.circuit.open and not was_open:
            logger.warning("server %s: left alone after %d failures", self._server_id, self.circuit.failures)
        if was_open or self.circuit.open:
            self.news.set()
        self._show()

    def _verdict(self, fault: Fault, overdue: _Overdue) -> bool | None:
        """Return whether the server has answered; None if the fault does not tell how it does."""
        asked_for = retry_after_seconds(fault.retry_after)
        if fault.status == _TOO_MANY_REQUESTS or (fault.status == _UNAVAILABLE and asked_for):
            self.left_alone_until = max(self.left_alone_until, _now() + (asked_for or _PLEASE_WAIT))
            self._busy = fault
            self._doubt()
            return None
        late = fault.cause == "timeout"
        if (fault.cause == "auth" and fault.status is not None) or (late and overdue == "doubt"):
            self._doubt()
        if fault.cause in _NOBODYS or (late and overdue != "failure"):
            return None
        return fault.cause in _ANSWERED or (fault.status is not None and fault.status < 500)

    def _is_strange(self, overdue: _Overdue, patience: float) -> bool:
        """Return whether a check has to tell what it means that once more there was no answer."""
        if overdue == "nothing":
            return _now() - self.heard_at >= patience  # too short a time, but with those before it long enough
        # Nothing answers, or only what is asked: before the connection is given up, the cheapest thing is.
        return self.silent >= max(1, self._settings.failure_threshold - 1)

    def _doubt(self) -> None:
        self.doubted = True
        self.news.set()

    def _measure(self, seconds: float) -> None:
        if (info := self._info) is not None:
            info.latency = seconds
            info.peak_latency = peak_ewma(info.peak_latency, _now() - self._measured_at, seconds)
            self._measured_at = _now()

    def _start_slowly(self) -> None:
        if (info := self._info) is not None:
            info.recovered_at, info.slow_start = _now(), float(self._settings.slow_start)

    def _show(self) -> None:
        """Have the registry say how the server does."""
        if self._info is None:
            return
        circuit, services = self.circuit, self._services()
        state: Literal["ready", "degraded", "circuit_open"] = "ready"
        error: str | None = None
        retry_at: float | None = None
        if self.left_alone_until > _now() and self._busy is not None:
            state, error = "degraded", f"it asked to be left alone: {self._busy.reason}"
            retry_at = self.left_alone_until
        elif circuit.failures:
            state, retry_at = ("circuit_open" if circuit.open else "degraded"), circuit.until
            error = self._last.reason if self._last is not None else None
        shown = services.redact(error) if error is not None else None
        services.registry.mark_condition(self._server_id, state, shown, retry_at=retry_at)

    @property
    def _info(self) -> MCPServerInfo | None:
        return self._services().registry.get_server(self._server_id)


def _now() -> float:
    return asyncio.get_running_loop().time()
