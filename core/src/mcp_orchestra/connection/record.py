"""What the registry shows of one server's connection: how it stands, and why it is not there."""

import logging
from collections.abc import Callable

from mcp_orchestra.connection.fault import Fault
from mcp_orchestra.connection.services import ConnectionServices
from mcp_orchestra.types import ServerState

__all__ = ["Record"]

logger: logging.Logger = logging.getLogger(__name__)


class Record:
    """One server's record in the registry, kept true by whoever owns its connection.

    Args:
        server_id: The server's id.
        services: Returns what its connection shares with others, the registry among it.
    """

    def __init__(self, server_id: str, services: Callable[[], ConnectionServices]) -> None:
        self._server_id = server_id
        self._services = services

    def connecting(self) -> None:
        """Show that an attempt is under way, and still why the last one failed."""
        self._disconnected(self._last_error(), "connecting")

    def connected(self, client: object) -> None:
        """Show that the server has shaken hands, and is asked through this client."""
        self._services().registry.mark_connected(self._server_id, client)

    def resting(self) -> None:
        """Show that the server waits until somebody needs it."""
        self._disconnected(None, "pending")

    def failed(self, fault: Fault, retry_at: float | None = None) -> None:
        """Show why there is no connection, and say so once.

        Args:
            fault: Why.
            retry_at: When the next attempt is made, on the event loop's clock.
        """
        info = self._services().registry.get_server(self._server_id)
        if info is not None and info.connection_error != fault.reason:
            logger.warning("server %s: %s", self._server_id, fault.reason)
        self._disconnected(fault.reason, _state_after(fault), retry_at)

    def closed(self) -> None:
        """Show that it was closed. An error stays: it explains why a start failed."""
        self._disconnected(self._last_error(), "closed")

    def _last_error(self) -> str | None:
        info = self._services().registry.get_server(self._server_id)
        return info.connection_error if info is not None else None

    def _disconnected(self, error: str | None, state: ServerState, retry_at: float | None = None) -> None:
        self._services().registry.mark_disconnected(self._server_id, error, state=state, retry_at=retry_at)


def _state_after(fault: Fault) -> ServerState:
    if fault.retryable:
        return "backing_off"
    return "auth_required" if fault.cause == "auth" else "failed"
