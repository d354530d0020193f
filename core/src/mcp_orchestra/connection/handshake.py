"""Opens a server's transport and agrees on the protocol era, remembering what the server was before."""

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
from pydantic import ValidationError

from mcp_orchestra.config.models import MCPServerConfig
from mcp_orchestra.connection.faults import fault_of
from mcp_orchestra.connection.inspector import Inspector
from mcp_orchestra.connection.watch import Line, watched
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.types import Endpoint, TransportSpec

__all__ = ["Handshake"]

_NO_ANSWER = frozenset({"auth", "broken", "http", "lost", "refused", "resources", "timeout", "unreachable"})
"""What says nothing about the protocol that a server speaks."""


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
        self.line: Line = Line()
        """What is seen of the streams of the latest connection."""
        self._known: types.DiscoverResult | None = None

    async def enter(self, stack: AsyncExitStack, ended: Callable[[str], None]) -> Client:
        """Connect.

        Args:
            stack: Where to enter the client.
            ended: Called with the reason once nothing can be read from the server any more.
        """
        self._endpoint.diagnostics.connecting()
        self.line = line = Line()
        inspector = Inspector(self._endpoint.server_id, self._endpoint.diagnostics, lose=ended)
        known = self._known if self._mode == "auto" else None
        mode = _modern_version(known) if known is not None else self._mode
        client = Client(
            watched(
                self._spec.open(self._endpoint), line, inspector, lambda: ended("the server closed the connection")
            ),
            read_timeout_seconds=self._endpoint.request_timeout,
            mode=mode,
            prior_discover=known,
            client_info=_client_info(),
            cache=None,  # ours sits above the SDK
            message_handler=self._on_message,
        )
        await stack.enter_async_context(client)
        stack.callback(line.leave)  # a connection that ends by itself is left before its owner knows
        if mode not in ("auto", "legacy"):
            await self._confirm(client, mode)
        self._known = client.session.discover_result
        return client

    async def _confirm(self, client: Client, version: str) -> None:
        """Ask a server that was modern, or is said to be, whether it is and what it offers.

        Given a version, the SDK asks nothing at all. Its probe takes any refusal for an old server (reference:
        mcp.client._probe), so that one bad answer would downgrade a modern server. Asking plainly cannot.
        """
        try:
            answer = await client.session.send_discover(version)
            client.session.adopt(types.DiscoverResult.model_validate(answer))
        except (MCPError, ValidationError, RuntimeError) as error:  # the last is adopt's: it shares no version with us
            if self._mode != "auto" or fault_of(error).cause in _NO_ANSWER:
                raise
            self._known = None
            raise MCPConnectionError(
                "the server does not speak the protocol as it did; what it speaks is found out on the next attempt",
                {"cause": "protocol"},
            ) from error


def _modern_version(known: types.DiscoverResult) -> str:
    return next(v for v in reversed(MODERN_PROTOCOL_VERSIONS) if v in known.supported_versions)


@cache
def _client_info() -> types.Implementation:
    return types.Implementation(name="mcp-orchestra", title="MCP Orchestra", version=version("mcp-orchestra"))
