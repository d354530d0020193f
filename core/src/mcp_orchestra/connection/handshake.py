"""Opens a server's transport and agrees on the protocol era, remembering what the server was before."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache
from importlib.metadata import version
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client.session import MessageHandlerFnT
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.connection.faults import fault_of
from mcp_orchestra.connection.watch import watched
from mcp_orchestra.types import Endpoint, TransportSpec

__all__ = ["Handshake"]

logger = logging.getLogger(__name__)


class Handshake:
    """How to connect to one server.

    Args:
        config: The server's configuration.
        spec: Its transport.
        endpoint: What the transport is given.
        on_message: Receives the server's notifications.
    """

    def __init__(
        self,
        config: MCPServerConfig,
        spec: TransportSpec,
        endpoint: Endpoint[Any],
        on_message: MessageHandlerFnT,
    ) -> None:
        self._mode = "legacy" if spec.legacy_only else config.mode
        self._spec = spec
        self._endpoint = endpoint
        self._on_message = on_message
        self._known: types.DiscoverResult | None = None

    async def enter(self, stack: AsyncExitStack, ended: Callable[[], None]) -> Client:
        """Connect: enter the client on the stack; ``ended`` is called once the transport's read side has ended."""
        self._endpoint.diagnostics.exit_code = None
        known = self._known if self._mode == "auto" else None
        client = Client(
            watched(self._spec.open(self._endpoint), ended),
            read_timeout_seconds=self._endpoint.request_timeout,
            mode=_modern_version(known) if known else self._mode,
            prior_discover=known,
            client_info=_client_info(),
            cache=None,  # ours sits above the SDK
            message_handler=self._on_message,
        )
        await stack.enter_async_context(client)
        if known is not None:
            await self._confirm(client, known)
        self._known = client.session.discover_result
        return client

    async def _confirm(self, client: Client, known: types.DiscoverResult) -> None:
        """Ask a server that was modern whether it still is.

        The SDK's probe takes any refusal for an old server (reference: mcp.client._probe), so that one bad answer
        would downgrade a modern server for good. Asking plainly cannot.
        """
        try:
            answer = await client.session.send_discover(_modern_version(known))
        except MCPError as error:
            if fault_of(error).cause == "rejected":
                self._known = None  # it answers, but not this: find out anew on the next attempt
            raise
        client.session.adopt(types.DiscoverResult.model_validate(answer))


def _modern_version(known: types.DiscoverResult) -> str:
    return next(v for v in reversed(MODERN_PROTOCOL_VERSIONS) if v in known.supported_versions)


@cache
def _client_info() -> types.Implementation:
    return types.Implementation(name="mcp-orchestra", title="MCP Orchestra", version=version("mcp-orchestra"))
