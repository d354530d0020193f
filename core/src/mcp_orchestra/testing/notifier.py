"""The server's side of change notices, for test servers: each client is told in the way of its era."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

__all__ = ["Notifier", "TellingServer"]

_Context = ServerRequestContext[Any, Any]


class TellingServer(Server[Any]):
    """A server that announces to legacy clients, too, that it tells of changed lists."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Return what a legacy client is told about the server."""
        telling = notification_options or NotificationOptions(resources_changed=True, tools_changed=True)
        return super().create_initialization_options(telling, experimental_capabilities, extensions)


class Notifier:
    """Tells clients what has changed.

    Modern clients have to ask with ``subscriptions/listen``. Legacy clients are told as they come, and of a resource's
    contents if they have subscribed to it.

    Args:
        requests: Counts what is asked, by method.
    """

    def __init__(self, requests: Counter[str]) -> None:
        self.filters: list[types.SubscriptionFilter] = []
        """What modern clients asked to be told, in order."""
        self.honours: Callable[[types.SubscriptionFilter], types.SubscriptionFilter] = lambda asked: asked
        """What of that they are told."""
        self.delay: float = 0.0
        """Seconds before a stream, or a subscription, is acknowledged."""
        self.lasting: float = math.inf
        """Seconds after which a stream breaks."""
        self._requests = requests
        self._bus = InMemorySubscriptionBus()
        self._handler = ListenHandler(self._bus)
        self._streams: set[anyio.CancelScope] = set()
        # By the parameters that a legacy client has begun with: they are what its requests have in common.
        self._sessions: dict[int, ServerSession] = {}
        self._subscribed: set[tuple[int, str]] = set()

    @property
    def open_streams(self) -> int:
        """How many streams of modern clients are open."""
        return len(self._streams)

    async def tell_resources(self) -> None:
        """Say that the list of resources has changed."""
        await self._tell(ResourcesListChanged(), types.ResourceListChangedNotification())

    async def tell_tools(self) -> None:
        """Say that the list of tools has changed."""
        await self._tell(ToolsListChanged(), types.ToolListChangedNotification())

    async def tell_contents(self, uri: str) -> None:
        """Say that a resource's contents have changed."""
        params = types.ResourceUpdatedNotificationParams(uri=uri)
        await self._tell(ResourceUpdated(uri=uri), types.ResourceUpdatedNotification(params=params), uri)

    def end_streams(self) -> None:
        """End all streams of modern clients in order."""
        self._handler.close()

    def break_streams(self) -> None:
        """End all streams of modern clients with an error."""
        for stream in list(self._streams):
            stream.cancel()

    async def listen(
        self, ctx: _Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one stream of a modern client."""
        self._requests["subscriptions/listen"] += 1
        self.filters.append(params.notifications)
        await anyio.sleep(self.delay)
        honoured = params.model_copy(update={"notifications": self.honours(params.notifications)})
        with anyio.move_on_after(self.lasting) as stream:
            self._streams.add(stream)
            try:
                return await self._handler(ctx, honoured)
            finally:
                self._streams.discard(stream)
        raise MCPError(types.INTERNAL_ERROR, "the stream broke")

    async def subscribe(self, ctx: _Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Take a legacy client's subscription to a resource."""
        self._requests["resources/subscribe"] += 1
        await anyio.sleep(self.delay)
        self._subscribed.add((id(ctx.session.client_params), params.uri))
        return types.EmptyResult()

    async def unsubscribe(self, ctx: _Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """End a legacy client's subscription to a resource."""
        self._requests["resources/unsubscribe"] += 1
        self._subscribed.discard((id(ctx.session.client_params), params.uri))
        return types.EmptyResult()

    async def meet(self, ctx: _Context, call_next: Any) -> Any:
        """Remember the legacy clients (a middleware)."""
        session = ctx.session
        if session.client_params is not None and session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            self._sessions.setdefault(id(session.client_params), session)
        return await call_next(ctx)

    async def _tell(self, event: ServerEvent, notification: types.ServerNotification, uri: str | None = None) -> None:
        await self._bus.publish(event)
        for client, session in list(self._sessions.items()):
            if uri is not None and (client, uri) not in self._subscribed:
                continue
            # A client that has gone hears nothing; one that does not read must not keep the others waiting.
            with anyio.move_on_after(1), contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await session.send_notification(notification)
