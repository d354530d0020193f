"""Reads what a server answers, up to a limit: no answer may cost more memory than was configured."""

import json
from contextlib import aclosing
from typing import Any, cast

import httpx2

from mcp_orchestra.wire import too_large, transport_error

__all__ = [
    "RefusedBody",
    "as_utf_8",
    "check_encoding",
    "error_in",
    "error_response_in",
    "media_type",
    "read_body",
    "rebuilt",
]

_DECODED = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_BODY_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding"})


class RefusedBody(Exception):  # noqa: N818 - not an error of ours: it never leaves the HTTP helpers
    """A body is not taken; carries the JSON-RPC error object that says why."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def media_type(response: httpx2.Response) -> str:
    """Return the content type without parameters, in lower case."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def as_utf_8(text: bytes) -> bytes:
    """Replace what is not UTF-8: a server that writes another encoding is understood but for those characters."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode(errors="replace").encode()
    return text


def check_encoding(response: httpx2.Response) -> None:
    """Refuse a compression that cannot be undone in bounded pieces here.

    None is asked for (``accept-encoding: identity``); gzip and deflate are understood all the same, because some
    proxies compress whatever passes.

    Raises:
        RefusedBody: The body is compressed in another way.
    """
    names = {name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")}
    if names - _DECODED:
        raise RefusedBody(transport_error("the answer is compressed in a way that was not asked for", kind="encoding"))


async def read_body(response: httpx2.Response, limit: int) -> bytes:
    """Read a body whole and close the response, which drops the connection if the body was not read to its end.

    Raises:
        RefusedBody: It has more than ``limit`` bytes after decompression, or an unknown compression.
        httpx2.HTTPError: It was cut, or cannot be decompressed.
    """
    try:
        check_encoding(response)
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise RefusedBody(too_large(limit))
        read: list[bytes] = []
        size = 0
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:  # httpx2 decompresses in pieces of at most 1 MiB
                size += len(chunk)
                if size > limit:
                    raise RefusedBody(too_large(limit))
                read.append(chunk)
        return b"".join(read)
    finally:
        await response.aclose()


def rebuilt(
    response: httpx2.Response, body: bytes | httpx2.AsyncByteStream, media: str | None = None
) -> httpx2.Response:
    """Return the response with a body that is no longer compressed, and with another content type if given."""
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _BODY_HEADERS]
    if media is not None:
        headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
        headers.append(("content-type", media))
    if isinstance(body, bytes):
        return httpx2.Response(response.status_code, headers=headers, content=body, extensions=response.extensions)
    return httpx2.Response(response.status_code, headers=headers, stream=body, extensions=response.extensions)


def error_in(body: bytes) -> dict[str, Any] | None:
    """Return the error object if the body is a JSON-RPC error response, whatever its content type says."""
    response = error_response_in(body)
    return response["error"] if response is not None else None


def error_response_in(body: bytes) -> dict[str, Any] | None:
    """Return the response if the body is a JSON-RPC error response, whatever its content type says."""
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"jsonrpc": "2.0", "error": {"code": int(), "message": str()}}:
            return cast("dict[str, Any]", message)
        case _:
            return None
