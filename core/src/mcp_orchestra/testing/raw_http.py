"""An HTTP server that answers exactly the bytes a test gives it: for what no decent server would say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["RawRequest", "RawServer", "event_stream", "json_answer", "raw_answer"]


@dataclass(frozen=True)
class RawRequest:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message in the body; empty if there is none."""
        try:
            message: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return {}
        return message


Bytes = bytes | AsyncIterator[bytes] | None
Answer = Bytes | Callable[[RawRequest], Bytes]
"""What to write, at once or piece by piece, or a function that returns it; None never answers."""


def raw_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a response whose length is stated; underscores in header names become hyphens."""
    fields = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


def json_answer(status: int = 200, **members: object) -> Callable[[RawRequest], bytes]:
    """Return an answer in JSON-RPC to whichever request it is for: ``json_answer(result={})``."""

    def answer(request: RawRequest) -> bytes:
        message = {"jsonrpc": "2.0", "id": request.message.get("id"), **members}
        return raw_answer(status, json.dumps(message).encode(), content_type="application/json")

    return answer


def event_stream(*events: str) -> bytes:
    """Return a response with these events, each without its blank line; the connection is closed after the last."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return (head + "".join(f"{event}\n\n" for event in events)).encode()


class RawServer:
    """Answers by JSON-RPC method, or by HTTP method where there is no message.

    It knows how to be discovered as a modern server without tools or resources; anything else is a 404 until a test
    says what to answer. After an answer that is shorter than it states, the connection is closed.
    """

    def __init__(self, **answers: Answer) -> None:
        common = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        discovered: dict[str, object] = {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "resources": {}},
            "serverInfo": {"name": "raw", "version": "1"},
        }
        self.answers: dict[str, Answer] = {
            "server/discover": json_answer(result={**common, **discovered}),
            "tools/list": json_answer(result={**common, "tools": []}),
            **answers,
        }
        self.requests: list[RawRequest] = []
        """What was asked, in order."""
        self.connections: int = 0
        """How many connections were made."""
        self.url: str = ""
        self._mistakes: list[Exception] = []

    @contextlib.asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncGenerator["RawServer", None]:
        """Listen on a loopback port for the length of the block.

        Args:
            port: Which one; any that is free by default.

        Raises:
            ExceptionGroup: Of the mistakes in the test's own answers, which would look like faults of a server.
        """
        serving: set[asyncio.Task[None]] = set()
        self._mistakes.clear()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.create_task(self._serve(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        listener = await asyncio.start_server(accept, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
        try:
            yield self
        finally:
            listener.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await listener.wait_closed()
        if self._mistakes:
            raise ExceptionGroup("answers of the test's own server that are none", self._mistakes)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _request(reader)) is not None:
                self.requests.append(request)
                name = request.message.get("method", request.method)
                answer = self.answers.get(name, raw_answer(404))
                try:
                    data = answer(request) if callable(answer) else answer
                    if callable(data):
                        raise TypeError(f"the answer to {name} is a function that makes answers: call it")
                except Exception as mistake:  # noqa: BLE001  # a test's own code; it must not look like a sick server
                    self._mistakes.append(mistake)
                    return
                if data is None:
                    await reader.read()  # until the client gives up
                    return
                if not isinstance(data, bytes):
                    await _write_pieces(data, reader, writer)
                    return
                writer.write(data)
                await writer.drain()
                if not _complete(data):
                    return
        except ConnectionError:
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _write_pieces(
    pieces: AsyncIterator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Write piece by piece until there are no more, or the client gives up."""

    async def write() -> None:
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()

    tasks: set[asyncio.Task[Any]] = {asyncio.create_task(write()), asyncio.create_task(reader.read())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> RawRequest | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = first.split(" ")
    return RawRequest(method, target, headers, body)


def _complete(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) == int(line.partition(b":")[2])
    return False
