"""Asks a legacy server, resource by resource, to tell when contents change: ``resources/subscribe``."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextvars import Context
from typing import TYPE_CHECKING

import mcp_types as types

from mcp_orchestra.connection.asking import answer_to
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.faults import Fault
from mcp_orchestra.connection.listening import PATIENCE
from mcp_orchestra.tasks import run_all

if TYPE_CHECKING:
    from mcp import Client

    from mcp_orchestra.connection.watch import Line

__all__ = ["Subscribing"]

_NEVER = frozenset({"auth", "lost", "session", "timeout"})
"""After these the server is not asked again over the same connection."""


class Subscribing:
    """The subscriptions over one connection. They end with it and are never taken back.

    Args:
        client: The SDK's client; it is only used.
        line: What is seen of the streams under it.
        name: The server's id, for the tasks.
        at_once: How many requests may be under way at the same time.
        seconds: The time for each.
        tell: Called with what may have changed.
        stuck: Called if the connection takes no message any more.
    """

    def __init__(
        self,
        client: "Client",
        line: "Line",
        name: str,
        *,
        at_once: int,
        seconds: float,
        tell: Callable[[Collection[Change]], None],
        stuck: Callable[[], None],
    ) -> None:
        self._client = client
        self._line = line
        self._name = name
        self._at_once = at_once
        self._seconds = seconds
        self._tell = tell
        self._stuck = stuck
        self._asked: set[str] = set()
        self._refused = False
        self.tasks: set[asyncio.Task[None]] = set()
        """What is under way."""

    async def cover(self, uris: Collection[str]) -> None:
        """Subscribe to those of the resources that are new.

        Waits for the server's word no longer than `PATIENCE`; if that comes later, the resources are stale by then.
        """
        self._asked.intersection_update(uris)
        new = [uri for uri in dict.fromkeys(uris) if uri not in self._asked]
        late = asyncio.Event()
        if new and not self._refused:
            self._asked.update(new)
            # The caller may leave; those who come after it rely on what it has begun.
            task = asyncio.create_task(
                self._subscribe(new, late), name=f"mcp-subscribing-{self._name}", context=Context()
            )
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        try:
            if self.tasks:
                await asyncio.wait(self.tasks, timeout=PATIENCE)
        finally:
            late.set()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._refused = True
        for task in self.tasks:
            task.cancel()

    async def _subscribe(self, uris: list[str], late: asyncio.Event) -> None:
        rest = iter(uris)
        await run_all(self._some(rest) for _ in range(min(self._at_once, len(uris))))
        if late.is_set() and not self._refused:
            self._tell({"resources"})

    async def _some(self, uris: Iterator[str]) -> None:
        for uri in uris:
            if self._refused:
                return
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            outcome = await answer_to(
                self._client.session.send_request(request, types.EmptyResult),
                self._line,
                self._stuck,
                seconds=self._seconds,
                patience=self._seconds,
            )
            if not isinstance(outcome, Fault):
                continue
            if outcome.code == types.METHOD_NOT_FOUND or outcome.cause in _NEVER:
                self._refused = True
            elif outcome.cause != "rejected":  # which is about this one resource
                self._asked.discard(uri)
                return
