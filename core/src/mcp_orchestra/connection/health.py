"""Finds out that a server does not answer although nobody asks it anything, and that it answers again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_orchestra.connection.asking import answer_to
from mcp_orchestra.connection.fault import Fault
from mcp_orchestra.connection.supervising import Supervisor

if TYPE_CHECKING:
    from mcp import Client

    from mcp_orchestra.connection.watch import Line

__all__ = ["HealthChecks", "still_there"]

_CHECK_SECONDS = 5.0
"""How long a server may take to say that it is there."""

_JITTER = 0.2
_SOONER = 0.2
"""The part of the interval after which one that has failed is asked again."""
_DOUBTS_APART = 1.0
"""Seconds between checks that doubts call for: one tool that is always refused must not double the requests."""
_NEVER = float("inf")
_AT_LEAST = 0.001


class HealthChecks:
    """The watch over one connection, for as long as it lasts. It sleeps until something is due.

    Args:
        supervisor: Knows how the server does and learns from each check.
        ask: Asks the server something cheap.
        lose: Takes the connection as lost.
        interval: Seconds between a sign of life and the next check; 0 = no checks but those that a doubt calls for.
        patience: How many probes in a row may end without any answer: after them the server is connected anew.
        idle_stop: Seconds without a request after which the server is let go of; None = never.
        rng: Source of numbers in [0, 1), for tests.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        ask: Callable[[], Awaitable[Any]],
        lose: Callable[[Fault], None],
        *,
        interval: float,
        patience: int,
        idle_stop: float | None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._supervisor = supervisor
        self._ask = ask
        self._lose = lose
        self._interval = interval
        self._patience = patience
        self._idle_stop = idle_stop
        self._rng = rng
        self._checked_at = float("-inf")

    async def run(self) -> None:
        """Watch until cancelled, or until the connection is to end."""
        clock = asyncio.get_running_loop().time
        jittered = self._jittered()
        while True:
            self._supervisor.news.clear()
            stop_at, check_at = self._stop_at(), self._check_at(jittered)
            if stop_at <= clock():
                self._lose(Fault(reason="nobody needed it", cause="idle", delivered="no"))
                return
            if check_at <= clock():
                await self._check()
                self._checked_at = clock()
                jittered = self._jittered()
                continue
            # A timer may go off a hair early, and must not be set again for no time at all.
            await self._sleep(max(_AT_LEAST, min(stop_at, check_at) - clock()))

    def _stop_at(self) -> float:
        if self._idle_stop is None:
            return _NEVER
        used_at = asyncio.get_running_loop().time() if self._supervisor.in_flight else self._supervisor.used_at
        return used_at + self._idle_stop

    def _check_at(self, interval: float) -> float:
        supervisor = self._supervisor
        circuit = supervisor.circuit
        if supervisor.doubted:
            return max(supervisor.left_alone_until, self._checked_at + _DOUBTS_APART)
        if not interval or circuit.probing:
            return _NEVER  # the end of the probe is news
        if circuit.until is not None:
            return max(supervisor.left_alone_until, circuit.until)
        if circuit.failures:
            interval *= _SOONER
        due = max(supervisor.heard_at, self._checked_at) + interval
        if supervisor.in_flight:
            # They tell by themselves, and a server that does one thing at a time cannot answer meanwhile.
            due = max(due, asyncio.get_running_loop().time() + interval)
        return max(supervisor.left_alone_until, due)

    async def _check(self) -> None:
        outcome = await self._supervisor.check(self._ask)
        if not isinstance(outcome, Fault):
            return
        if outcome.connection_lost or outcome.cause == "auth":
            self._lose(outcome)
        elif (silent := self._supervisor.silent) >= self._patience:
            self._lose(Fault(reason=f"it did not answer {silent} probes", cause="lost"))

    def _jittered(self) -> float:
        return self._interval * (1 - _JITTER + 2 * _JITTER * self._rng())

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds if seconds < _NEVER else None):
                await self._supervisor.news.wait()
        except TimeoutError:
            return


async def still_there(client: "Client", line: "Line", request_timeout: float, stuck: Callable[[], None]) -> object:
    """Ask a server the cheapest thing that its era knows, and return its answer or the fault.

    Args:
        client: The SDK's client.
        line: What is seen of the streams under it.
        request_timeout: Seconds that the server has for a request; a check may take less.
        stuck: Called if the connection takes no message any more.
    """
    modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
    question = client.session.send_discover(client.protocol_version) if modern else client.session.send_ping()
    seconds = min(_CHECK_SECONDS, request_timeout)
    return await answer_to(question, line, stuck, seconds=seconds, patience=request_timeout)
