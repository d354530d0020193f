"""Keeps the failure of one HTTP request from becoming the failure of a whole connection.

The SDK's streamable HTTP transport runs its requests in one task group: an exception below HTTP ends every call in
flight and cancels the task that owns the connection (python-sdk #3560, #3522, #915). It also drops the status of an
HTTP error. What it does well is to hand a JSON-RPC error in the body of an answer to the waiting call: so that is what
every failure becomes here, below it.
"""

import json
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakValueDictionary

import httpx2

from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http.bodies import RefusedBody, as_utf_8, error_response_in, media_type, read_body, rebuilt
from mcp_orchestra.http.events import GuardedEvents
from mcp_orchestra.http.failures import (
    FAILURES,
    REFUSED_CREDENTIALS,
    call_failed,
    call_redirected,
    call_refused,
    connection_failed,
    connection_refused,
    redirected,
    session_forgotten,
)
from mcp_orchestra.http.handover import Handover
from mcp_orchestra.http.origins import followed, redirect_target
from mcp_orchestra.redaction import safe_url
from mcp_orchestra.wire import unreadable

__all__ = ["IsolatingTransport"]

_HANDSHAKE: Final = frozenset({"server/discover", "initialize"})
_ERROR_BODY = 64 * 1024  # bytes of an HTTP error's body in which a JSON-RPC error is looked for
_INVALID_REQUEST: Final = -32600  # under which servers speak of sessions
_CANCELLATION: Final = 4096  # bytes that the notice of one may have
_GOODBYE = 2.0  # seconds for the DELETE that ends a session: closing must not wait for a server that hangs


class _Streamed:
    """An answer that comes as an event stream, for as long as the SDK's task for it lives."""

    abandoned = False
    """Whether nobody waits for it any more."""


_STREAMED: Final[ContextVar[_Streamed | None]] = ContextVar("streamed answer", default=None)


class IsolatingTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport under which a failing POST is answered with a JSON-RPC error (code ``TRANSPORT_ERROR``).

    The error's data holds ``kind``, ``delivered`` and, for an HTTP status, ``status``, ``retry_after`` and
    ``www_authenticate``. A session that the server does not know any more is of the kind ``session``. Bodies are
    bounded by ``max_message_bytes`` after decompression.

    The handshake is different. A failure of ``server/discover`` or ``initialize`` raises `MCPConnectionError`, since
    the SDK takes *any* JSON-RPC error of the probe for an old server: a passing 503 would lock a modern server to the
    legacy era. Only statuses that do mean "I do not know that" (400, 404, 405, …) pass. The handshake is over as soon
    as anything else is sent.

    Args:
        inner: Carries the requests out.
        max_message_bytes: The largest answer, or event of an event stream.
        handover: Takes large results past the SDK's parser, for a transport that puts them back.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, *, max_message_bytes: int, handover: Handover | None = None
    ) -> None:
        self._inner = inner
        self._limit = max_message_bytes
        self._handover = handover
        self._shaken = False
        self._probe_cut: MCPConnectionError | None = None
        self._streamed = WeakValueDictionary[int | str, _Streamed]()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out one request.

        Raises:
            MCPConnectionError: The handshake failed.
            httpx2.HTTPError: A request other than a POST failed; the SDK copes with those.
        """
        if request.method == "POST":
            return await self._post(request)
        if request.method == "DELETE":
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), _GOODBYE)
        elif (streamed := _STREAMED.get()) is not None and streamed.abandoned:
            return httpx2.Response(410)  # the SDK would resume the stream of a cancelled call for ever
        response = await self._inner.handle_async_request(request)
        if not response.is_success or media_type(response) != "text/event-stream":
            return response
        try:
            return await self._guarded(response)
        except RefusedBody as refused:
            raise httpx2.DecodingError(refused.error["message"], request=request) from None

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def _post(self, request: httpx2.Request) -> httpx2.Response:
        handshake = self._handshake(request)
        if handshake is not None and self._probe_cut is not None:
            # The SDK swallows what cuts the event stream that answers its probe and goes on with `initialize`.
            raise self._probe_cut
        self._note_cancellation(request)
        try:
            response = await self._inner.handle_async_request(request)
            if response.is_success and media_type(response) == "text/event-stream":
                self._note_stream(request)
                return await self._guarded(response, request, handshake)
            if response.is_success:
                return await self._answered(response)
            return await self._failed(request, response, handshake)
        except FAILURES as error:
            if handshake is not None:
                raise connection_failed(error, str(request.url)) from error
            return _answer(503, call_failed(error))
        except RefusedBody as refused:
            if handshake is not None:
                raise _unusable(request, refused) from None
            return _answer(502, refused.error)

    async def _answered(self, response: httpx2.Response) -> httpx2.Response:
        body = as_utf_8(await read_body(response, self._limit))
        if self._handover is not None:
            try:
                body = await self._handover.body(body)
            except ValueError:
                return _answer(502, unreadable())
        return rebuilt(response, body)

    async def _failed(
        self, request: httpx2.Request, response: httpx2.Response, handshake: str | None
    ) -> httpx2.Response:
        """Decide on an answer whose status is not a success."""
        status = response.status_code
        if (target := redirect_target(response, request.url)) is not None:
            await response.aclose()
            if followed(request.method, status, request.url, target):
                return rebuilt(response, b"")
            if handshake is not None:
                raise redirected(target, status, str(request.url))
            return _answer(502, call_redirected(target, status))
        said = await self._said_by_peer(response)
        if handshake is not None:
            if _is_outage(status) or (handshake == "initialize" and said is None):
                raise connection_refused(response, str(request.url))
        elif _is_forgotten_session(request, status, said):
            return _answer(status, session_forgotten())
        elif status in REFUSED_CREDENTIALS or status == 429:
            said = None  # what matters is the status, which the SDK would drop for the body's sake
        if said is not None:
            return _answer(max(status, 400), said["error"])
        if handshake is not None:
            return rebuilt(response, b"", "text/plain")  # the SDK knows what these mean
        return _answer(max(status, 400), call_refused(response))

    async def _said_by_peer(self, response: httpx2.Response) -> dict[str, Any] | None:
        try:
            return error_response_in(await read_body(response, min(self._limit, _ERROR_BODY)))
        except (*FAILURES, RefusedBody):
            return None

    async def _guarded(
        self, response: httpx2.Response, request: httpx2.Request | None = None, handshake: str | None = None
    ) -> httpx2.Response:
        def on_cut(error: BaseException) -> None:
            if request is not None and handshake is not None:
                self._probe_cut = connection_failed(error, str(request.url))

        try:
            events = GuardedEvents(
                response, self._limit, answers_call=request is not None, on_cut=on_cut, handover=self._handover
            )
        except RefusedBody:
            await response.aclose()
            raise
        return rebuilt(response, events)

    def _note_stream(self, request: httpx2.Request) -> None:
        match _message(request):
            case {"id": int() | str() as request_id}:
                self._streamed[request_id] = streamed = _Streamed()
                _STREAMED.set(streamed)  # for the GETs that resume it, which come from the same task
            case _:
                pass

    def _note_cancellation(self, request: httpx2.Request) -> None:
        if not self._streamed or int(request.headers.get("content-length", 0)) > _CANCELLATION:
            return
        match _message(request):
            case {"method": "notifications/cancelled", "params": {"requestId": int() | str() as request_id}}:
                if (streamed := self._streamed.get(request_id)) is not None:
                    streamed.abandoned = True
            case _:
                pass

    def _handshake(self, request: httpx2.Request) -> str | None:
        """Return the method of a request of the handshake; None once that is over."""
        if self._shaken:
            return None
        match _message(request):
            case None:
                return None
            case {"method": str(method)} if method in _HANDSHAKE:
                return method
            case _:
                self._shaken = True
                return None


def _message(request: httpx2.Request) -> object:
    """Return what a POST says; None if it cannot be read."""
    try:
        message: object = json.loads(request.content)
    except (ValueError, RecursionError, httpx2.RequestNotRead):
        return None
    return message


def _is_outage(status: int) -> bool:
    """Tell the statuses that say nothing about the protocol a server speaks."""
    return status in REFUSED_CREDENTIALS or status in (408, 425, 429) or (status >= 500 and status != 501)


def _is_forgotten_session(request: httpx2.Request, status: int, said: dict[str, Any] | None) -> bool:
    """Tell whether the server does not know the session, which it says before it looks at the request.

    The status says so (specification 2025-11-25, basic/transports), unless what comes with it answers the request: some
    servers have a 404 for a method or resource that they do not know.
    """
    if status != 404 or "mcp-session-id" not in request.headers:
        return False
    if said is None or said.get("id") is None or said["error"]["code"] == _INVALID_REQUEST:
        return True
    try:
        return bool(json.loads(request.content).get("id") != said["id"])
    except (ValueError, RecursionError, AttributeError, httpx2.RequestNotRead):
        return True


def _unusable(request: httpx2.Request, refused: RefusedBody) -> MCPConnectionError:
    return MCPConnectionError(
        f"cannot connect to {safe_url(str(request.url))}: {refused.error['message']}",
        {"cause": "protocol", "retryable": True},
    )


def _answer(status: int, error: dict[str, Any]) -> httpx2.Response:
    # No id: the SDK gives the error to the call whose request this answers.
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})
