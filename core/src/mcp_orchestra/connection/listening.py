"""A standing question to a modern server: what changes? Asked again whenever it ends.

Rules: specification 2026-07-28, basic/patterns/subscriptions. The server acknowledges first and names what it honours;
there is no replay, so what is kept is stale after a stream has been lost and again once the next one stands.
"""

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context
from typing import TYPE_CHECKING

from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, Subscription, ToolsListChanged

from mcp_orchestra.connection.backoff import Backoff
from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.faults import Fault, fault_of

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["PATIENCE", "Listening", "change_in"]

PATIENCE = 1.0
"""Seconds after asking for which those who are about to fetch wait for the server's word that it will tell."""

_GRACE = 1.0
"""A server that dies takes its streams along, and that it is dead is known after so many seconds (S42): its copies stay
fresh then (S24). One that lives on may have changed unheard."""

_LASTING = 30.0
"""Seconds after which a stream has not ended at once."""

_LONGEST_PAUSE = 300.0
"""A server that ends every stream is asked so seldom that what is kept of it lives about as long as without notices."""

_LATER = frozenset({408, 425, 429})
"""The only HTTP statuses of the 4xx that promise another answer to the same question."""

_DOWN = frozenset({502, 503, 504})
"""What HTTP has for: the server is not there."""


class Listening:
    """One subscription over one connection, from its first request to `stop` or until the server refuses for good.

    Args:
        client: The SDK's client; it is only used.
        name: The server's id, for the task.
        tools: Ask for changes of the list of tools.
        resources: Ask for changes of the list of resources.
        uris: Ask for changes of the contents of these resources.
        tell: Called with what has, or may have, changed.
        gone: Whether the connection has been lost: then there is nothing to ask or to tell any more.
        replaces: Another subscription, to be stopped once the server has answered this one.
    """

    def __init__(
        self,
        client: "Client",
        name: str,
        *,
        tools: bool = False,
        resources: bool = False,
        uris: Collection[str] = (),
        tell: Callable[[Collection[Change]], None],
        gone: Callable[[], bool],
        replaces: "Listening | None" = None,
    ) -> None:
        self.uris: frozenset[str] = frozenset(uris)
        self.refused: bool = False
        """Whether the server has said that it does not do this."""
        self._client = client
        self._tools = tools
        self._resources = resources
        self._wanted: set[Change] = {"tools"} if tools else set()
        if resources or uris:
            self._wanted.add("resources")
        self._tell = tell
        self._gone = gone
        self._replaces = replaces
        self._backoff = Backoff(cap=_LONGEST_PAUSE, steady=_LASTING)
        self._covered: frozenset[Change] = frozenset()
        self._exposed: set[Change] = set()  # fetched, or kept, while nobody would have told of changes
        self._stands_since: float | None = None
        self._lost: frozenset[Change] = frozenset()
        self._answered = asyncio.Event()
        self._grace: asyncio.TimerHandle | None = None
        self._asked_at = asyncio.get_running_loop().time()
        # Streams last for hours: they belong to no caller's trace.
        self.task: asyncio.Task[None] = asyncio.create_task(
            self._run(), name=f"mcp-listening-{name}", context=Context()
        )

    async def fetching(self, change: Change) -> None:
        """Wait until the server will tell, no longer than `PATIENCE`; if it does later, what was fetched is stale then.

        Args:
            change: What is about to be fetched.
        """
        if change not in self._wanted:
            return
        patience = self._asked_at + PATIENCE - asyncio.get_running_loop().time()
        if not self._answered.is_set() and patience > 0:
            try:
                async with asyncio.timeout(patience):
                    await self._answered.wait()
            except TimeoutError:
                pass
        if change not in self._covered:
            self._exposed.add(change)

    def stop(self) -> None:
        """End the subscription; it tells nothing any more."""
        self._forgive()
        self._covered = frozenset()
        if self._replaces is not None:
            self._replaces.stop()
        self.task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            fault = await self._listen()
            if self._stands_since is not None:
                self._backoff.lasted(loop.time() - self._stands_since)
                self._stands_since = None
            self._lose(fault)
            self._settle()
            if self.refused or self._gone():
                return
            await asyncio.sleep(self._backoff.next())
            if self._gone():
                return

    async def _listen(self) -> Fault | None:
        """Listen until the stream ends, and return why it did; None if the server ended it in order."""
        try:
            async with self._client.listen(
                tools_list_changed=self._tools,
                resources_list_changed=self._resources,
                resource_subscriptions=sorted(self.uris),
            ) as subscription:
                covered = self._honoured(subscription)
                if not covered:
                    self.refused = True
                    return None
                self._stand(covered)
                async for event in subscription:
                    if (change := change_in(event)) is not None:
                        self._tell({change})
        except Exception as error:  # noqa: BLE001  # the SDK's, a transport's: whatever it is, it ends this stream only
            return fault_of(error, closed=self._gone())
        return None

    def _honoured(self, subscription: Subscription) -> frozenset[Change]:
        honoured = subscription.honored
        covered: set[Change] = set()
        if self._tools and honoured.tools_list_changed:
            covered.add("tools")
        if self._resources and honoured.resources_list_changed:
            covered.add("resources")
        if self.uris.intersection(honoured.resource_subscriptions or ()):
            covered.add("resources")
        return frozenset(covered)

    def _stand(self, covered: frozenset[Change]) -> None:
        """Note that the server tells from now on; what was fetched before may have changed unheard."""
        self._forgive()
        self._lost = frozenset()
        self._stands_since = asyncio.get_running_loop().time()
        self._covered = covered
        exposed = covered & self._exposed
        self._exposed -= covered
        if exposed:
            self._tell(exposed)
        self._settle()

    def _lose(self, fault: Fault | None) -> None:
        """Note that the server does not tell any more, or still does not."""
        lost, self._covered = self._covered, frozenset()
        self._exposed |= lost
        if lost:
            self._lost = lost
            self._grace = asyncio.get_running_loop().call_later(_GRACE, self._admit)
        self.refused = self.refused or (fault is not None and _is_final(fault))
        if self.refused:
            self._admit()
        elif fault is not None and (fault.cause == "refused" or fault.status in _DOWN):
            self._forgive()  # nothing newer can be had from it, and once it is back it is asked again

    def _admit(self) -> None:
        """Say that what is kept may have changed unheard."""
        self._forgive()
        if self._lost:
            self._tell(self._lost)
            self._lost = frozenset()

    def _forgive(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _settle(self) -> None:
        """Let go of whom this replaces, and let those fetch who wait."""
        if self._replaces is not None:
            self._replaces.stop()
            self._replaces = None
        self._answered.set()


def _is_final(fault: Fault) -> bool:
    """Tell whether the same question will get the same answer over the same connection."""
    return not fault.retryable or (400 <= (fault.status or 0) < 500 and fault.status not in _LATER)


def change_in(event: ServerEvent) -> Change | None:
    """Return what an event says has changed; None for what is not kept."""
    match event:
        case ToolsListChanged():
            return "tools"
        case ResourcesListChanged() | ResourceUpdated():
            return "resources"
        case _:
            return None
