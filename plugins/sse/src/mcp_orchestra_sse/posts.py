"""The write side: every message is a POST of its own."""

import anyio
import httpx2
import mcp_types as types
from anyio.abc import AsyncResource, TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_orchestra.http import FAILURES, error_in, send
from mcp_orchestra.wire import unsendable
from pydantic import ValidationError

__all__ = ["Posts"]


class Posts(AsyncResource):
    """A write stream that POSTs each message in a task of its own and answers the calls that cannot be delivered.

    Sending does not wait for the server, so a server that hangs blocks nobody else. The one exception is
    ``notifications/initialized``, which must arrive before what follows it.

    Args:
        client: An isolating client: what it raises is the end of the connection.
        address: Where to.
        tasks: Runs the POSTs.
        answers: The read side, to which errors for undelivered calls go.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        address: httpx2.URL,
        tasks: TaskGroup,
        answers: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        self._client = client
        self._address = address
        self._tasks = tasks
        self._answers = answers
        self._closed = False

    async def send(self, item: SessionMessage, /) -> None:
        """Send one message.

        Raises:
            anyio.ClosedResourceError: The connection has been closed.
            MCPConnectionError: The handshake failed.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        message = item.message
        if isinstance(message, types.JSONRPCNotification) and message.method == "notifications/initialized":
            await self._post(message)
        else:
            self._tasks.start_soon(self._post, message)

    async def aclose(self) -> None:
        """Refuse further messages; those under way are left alone."""
        self._closed = True

    async def _post(self, message: types.JSONRPCMessage) -> None:
        try:
            body = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
            request = self._client.build_request("POST", self._address, json=body)
        except (TypeError, ValueError, RecursionError):  # it cannot be written as JSON
            await self._answer(message, types.ErrorData.model_validate(unsendable()))
            return
        response = await send(self._client, request)
        try:
            if response.is_success or not isinstance(message, types.JSONRPCRequest):
                return
            error = _error(await _body(response), response.status_code)
        finally:
            await response.aclose()
        await self._answer(message, error)

    async def _answer(self, message: types.JSONRPCMessage, error: types.ErrorData) -> None:
        if not isinstance(message, types.JSONRPCRequest):
            return
        try:
            await self._answers.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error)))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # the connection has ended, and the call with it


async def _body(response: httpx2.Response) -> bytes:
    try:
        return await response.aread()
    except FAILURES:
        return b""


def _error(body: bytes, status: int) -> types.ErrorData:
    if (error := error_in(body)) is not None:
        try:
            return types.ErrorData.model_validate(error)
        except ValidationError:
            pass
    # Only a probe that the server does not know gets here: as in the SDK's HTTP transport, it is an old server.
    return types.ErrorData(code=types.METHOD_NOT_FOUND, message=f"the server answered HTTP {status}")
