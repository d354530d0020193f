"""What servers do wrong over HTTP: each function is, or returns, an answer for `sick_server` or a `RawServer`."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from mcp_orchestra.testing.faults.healthy import COMMON, initialized, result_of
from mcp_orchestra.testing.raw_http import Answer, RawRequest, RawServer, event_stream, json_answer, raw_answer

__all__ = [
    "cut_body",
    "cut_events",
    "deep_json",
    "drip",
    "endless_cursor",
    "endless_events",
    "foreign_id",
    "forgotten_session",
    "garbage",
    "gzip_bomb",
    "hang",
    "headers_then_hang",
    "healthy",
    "huge_body",
    "huge_event",
    "malformed",
    "not_a_number",
    "redirect",
    "repeated_cursor",
    "sick_server",
    "status",
]

_SIZE = 20_000_000
_LEGACY: dict[str, Answer] = {
    "server/discover": json_answer(error={"code": -32601, "message": "Method not found"}),
    "initialize": lambda request: raw_answer(
        200, _body(request, initialized()), content_type="application/json", mcp_session_id="s1"
    ),
    "notifications/initialized": raw_answer(202),
    "notifications/cancelled": raw_answer(202),
    "GET": raw_answer(405),
    "DELETE": raw_answer(204),
}


def sick_server(faults: Mapping[str, Answer] | None = None, *, legacy: bool = False) -> RawServer:
    """Return a server with one tool (``echo``) and one resource (``fault://0``) and a fault for each method given.

    It answers everything else as it should; its ``answers`` may be changed while it runs.

    Args:
        faults: Answers by method: ``{"tools/call": http.hang}``.
        legacy: Whether it is a server of the 2025-11-25 revision, with a session.
    """
    methods = ("tools/list", "tools/call", "resources/list", "resources/read")
    answers = {**(_LEGACY if legacy else {}), **dict.fromkeys(methods, healthy), **(faults or {})}
    return RawServer(**answers)


def _body(request: RawRequest, result: Mapping[str, Any] | None) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request.message.get("id"), "result": result}).encode()


def _json(body: bytes) -> bytes:
    return raw_answer(200, body, content_type="application/json")


def _result(request: RawRequest) -> dict[str, Any]:
    return result_of(request.message["method"]) or COMMON


def healthy(request: RawRequest) -> bytes:
    """Answer as one should."""
    return _json(_body(request, _result(request)))


# No answer in time


def hang(_request: RawRequest) -> None:
    """Take the request and never answer."""


async def headers_then_hang(_request: RawRequest) -> AsyncIterator[bytes]:
    """Send status and headers, and no body."""
    yield raw_answer(200, b"{", content_type="application/json", content_length="1000")
    await asyncio.Event().wait()


def drip(seconds: float = 0.3) -> Callable[[RawRequest], AsyncIterator[bytes]]:
    """Send a right answer one byte at a time, with a pause after each."""

    async def answer(request: RawRequest) -> AsyncIterator[bytes]:
        for byte in healthy(request):
            yield bytes([byte])
            await asyncio.sleep(seconds)

    return answer


def endless_events(event: str = ": ping", seconds: float = 0.05) -> Callable[[RawRequest], AsyncIterator[bytes]]:
    """Send one event again and again, and never the answer; by default a comment, which keeps a connection alive."""

    async def answer(_request: RawRequest) -> AsyncIterator[bytes]:
        yield event_stream()
        while True:
            yield f"{event}\n\n".encode()
            await asyncio.sleep(seconds)

    return answer


# No answer at all


def status(code: int, **headers: str) -> bytes:
    """Answer with an HTTP status and a page for people: ``status(429, retry_after="7")``."""
    return raw_answer(code, b"<html>no</html>", content_type="text/html", **headers)


def redirect(url: str) -> bytes:
    """Send the client to another address (307)."""
    return raw_answer(307, location=url)


def forgotten_session(_request: RawRequest) -> bytes:
    """Say that there is no such session (404), as after a restart."""
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'
    return raw_answer(404, body, content_type="application/json")


def cut_body(request: RawRequest) -> bytes:
    """Close the connection in the middle of an answer."""
    return healthy(request)[:-10]


def cut_events(_request: RawRequest) -> bytes:
    """End an event stream before the answer has come."""
    return event_stream(": hello")


# An answer that is none


def garbage(_request: RawRequest) -> bytes:
    """Answer with what is not JSON, and say that it is."""
    return _json(b"Traceback (most recent call last): {[")


def malformed(request: RawRequest) -> bytes:
    """Answer with a result of the wrong shape."""
    return _json(_body(request, {**COMMON, "resources": 7, "tools": 7, "contents": 7, "content": 7}))


def foreign_id(request: RawRequest) -> bytes:
    """Answer a request that nobody made."""
    return _json(json.dumps({"jsonrpc": "2.0", "id": 987_654_321, "result": _result(request)}).encode())


def deep_json(depth: int = 100_000) -> Callable[[RawRequest], bytes]:
    """Answer with lists in lists."""
    return lambda request: _json(_body(request, None).replace(b"null", b"[" * depth + b"]" * depth))


def not_a_number(request: RawRequest) -> bytes:
    """Answer with a NaN, which is not JSON."""
    return _json(_body(request, {**_result(request), "_meta": {"x": float("nan")}}))


# Too much


def huge_body(size: int = _SIZE) -> Callable[[RawRequest], bytes]:
    """Answer with so many bytes."""
    return lambda request: _json(_body(request, {**_result(request), "_meta": {"x": "x" * size}}))


def huge_event(size: int = _SIZE) -> Callable[[RawRequest], bytes]:
    """Answer on an event stream with one event of so many bytes."""
    return lambda request: event_stream(f"data: {_body(request, {**_result(request), 'x': 'x' * size}).decode()}")


def gzip_bomb(size: int = 100_000_000) -> Callable[[RawRequest], bytes]:
    """Answer with little that becomes so many bytes when it is decompressed, though nobody has asked for that."""
    packer = zlib.compressobj(wbits=31)  # gzip
    start = packer.compress(b'{"jsonrpc":"2.0","result":{"x":"')
    start += b"".join(packer.compress(b"x" * 100_000) for _ in range(size // 100_000))

    def answer(request: RawRequest) -> bytes:
        rest = packer.copy()
        end = rest.compress(f'"}},"id":{json.dumps(request.message.get("id"))}}}'.encode()) + rest.flush()
        return raw_answer(200, start + end, content_type="application/json", content_encoding="gzip")

    return answer


def endless_cursor(request: RawRequest) -> bytes:
    """Answer a listing with a page that has always one more after it."""
    cursor = int(request.message["params"].get("cursor") or 0)
    return _json(_body(request, {**_result(request), "nextCursor": str(cursor + 1)}))


def repeated_cursor(request: RawRequest) -> bytes:
    """Answer a listing with a page that names itself as the next one."""
    return _json(_body(request, {**_result(request), "nextCursor": "again"}))
