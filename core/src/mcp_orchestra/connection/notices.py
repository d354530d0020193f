"""Has a server tell what changes, over one connection and in the way of its era."""

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import mcp_types as types
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_orchestra.connection.changes import Change
from mcp_orchestra.connection.listening import Listening
from mcp_orchestra.connection.subscribing import Subscribing

if TYPE_CHECKING:
    from mcp import Client

    from mcp_orchestra.connection.watch import Line

__all__ = ["Notices", "change_told"]

_LAST_STEPS = 0.2  # seconds for tasks that have been cancelled: they need none


class Notices:
    """What a server is asked to tell over one connection: nothing that it does not declare.

    A modern server is asked once for its lists and once for the contents that were gathered
    (``subscriptions/listen``). A legacy server tells of its lists unasked, and of contents that were subscribed to.

    Args:
        client: The SDK's client, connected; it is only used.
        line: What is seen of the streams under it.
        name: The server's id, for the tasks.
        at_once: How many requests may be under way at the same time.
        seconds: The time for each.
        tell: Called with what has, or may have, changed.
        gone: Whether the connection has been lost.
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
        gone: Callable[[], bool],
        stuck: Callable[[], None],
    ) -> None:
        self._client = client
        self._name = name
        self._tell = tell
        self._gone = gone
        self._lists: Listening | None = None
        self._contents: Listening | None = None
        self._subscribing: Subscribing | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._covering: asyncio.Task[None] | None = None
        self._covered = False
        offered = client.server_capabilities
        modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
        subscribable = bool(offered.resources and offered.resources.subscribe)
        self._contents_told = modern and subscribable
        if subscribable and not modern:
            self._subscribing = Subscribing(
                client, line, name, at_once=at_once, seconds=seconds, tell=tell, stuck=stuck
            )
        tools = bool(offered.tools and offered.tools.list_changed)
        resources = bool(offered.resources and offered.resources.list_changed)
        if modern and (tools or resources):
            self._lists = self._listen(tools=tools, resources=resources)

    async def fetching(self, change: Change) -> None:
        """Have a listing that is about to be fetched covered, if the server gives its word for it soon."""
        if self._lists is not None:
            await self._lists.fetching(change)

    async def cover(self, uris: Collection[str]) -> None:
        """Have the contents that are about to be read covered, if the server gives its word for it soon.

        Args:
            uris: All resources whose contents are kept, not only new ones.
        """
        self._covered = True
        if self._subscribing is not None:
            await self._subscribing.cover(uris)
        if not self._contents_told:
            return
        contents = self._contents
        if contents is not None and contents.refused:
            return
        if not uris:
            if contents is not None:
                contents.stop()
            self._contents = None
            return
        if contents is None or contents.uris != frozenset(uris):
            contents = self._contents = self._listen(uris=uris, replaces=contents)
        await contents.fetching("resources")

    def cover_cached(self, uris: Callable[[], Collection[str]]) -> None:
        """Have contents covered that are served without having been read over this connection; does not wait.

        Args:
            uris: Returns all of them; asked once for a connection, if at all.
        """
        if not self._covered:
            self._covering = asyncio.create_task(self.cover(uris()), name=f"cover {self._name}")
            self._tasks.add(self._covering)
            self._covering.add_done_callback(self._tasks.discard)
            self._covered = True

    def stop(self) -> None:
        """Have nothing told any more."""
        if self._covering is not None:
            self._covering.cancel()
        for part in (self._lists, self._contents, self._subscribing):
            if part is not None:
                part.stop()

    async def stopped(self) -> None:
        """Wait for the end of what `stop` has stopped."""
        tasks = set(self._tasks)
        if self._subscribing is not None:
            tasks |= self._subscribing.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_STEPS)

    def _listen(
        self,
        *,
        tools: bool = False,
        resources: bool = False,
        uris: Collection[str] = (),
        replaces: Listening | None = None,
    ) -> Listening:
        listening = Listening(
            self._client,
            self._name,
            tools=tools,
            resources=resources,
            uris=uris,
            tell=self._tell,
            gone=self._gone,
            replaces=replaces,
        )
        self._tasks.add(listening.task)
        listening.task.add_done_callback(self._tasks.discard)
        return listening


def change_told(message: object) -> Change | None:
    """Return what a server's message says has changed; None for what is not kept, and for other messages."""
    match message:
        case types.ToolListChangedNotification():
            return "tools"
        case types.ResourceListChangedNotification() | types.ResourceUpdatedNotification():
            return "resources"
        case _:
            return None
