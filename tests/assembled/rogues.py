"""Servers that write exactly what a test says, as messages of JSON text, over any of the transports."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from mcp_orchestra.testing.raw_http import RawRequest, RawServer, event_stream, raw_answer

__all__ = ["COMMON", "Rogue", "answer", "raw_result"]

COMMON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}

_SERVER = {"name": "rogue", "version": "1"}
_DISCOVERED = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}, "resources": {}},
    "serverInfo": _SERVER,
}

# A child process that passes its standard streams on to a port here: so one server does for all transports.
_BRIDGE = """
import os, socket, sys, threading
port = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    for line in sys.stdin.buffer:
        port.sendall(line)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := port.recv(1 << 20):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""

Script = Callable[[dict[str, Any]], "bytes | Iterable[bytes] | AsyncIterator[bytes]"]


def answer(**result: Any) -> Script:
    """Answer with a result."""
    text = json.dumps({**COMMON, **result}).encode()
    return lambda request: b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(request["id"]).encode(), text)


def raw_result(text: bytes) -> Script:
    """Answer with a result that is this JSON text, whatever it is."""
    return lambda request: b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(request["id"]).encode(), text)


class Rogue:
    """A modern server with a script for each method; a script returns one message, or several, one after another."""

    def __init__(self, **scripts: Script) -> None:
        self.scripts: dict[str, Script] = {
            "server/discover": answer(**_DISCOVERED),
            "tools/list": answer(tools=[{"name": "t", "inputSchema": {"type": "object"}}]),
            "resources/list": answer(resources=[]),
            "resources/read": answer(contents=[{"uri": "r:x", "text": "fine"}]),
            "tools/call": answer(content=[{"type": "text", "text": "fine"}]),
            **scripts,
        }
        self.http: RawServer = RawServer()
        """What serves it over streamable HTTP."""

    @contextlib.asynccontextmanager
    async def over(self, transport: str) -> AsyncIterator[dict[str, Any]]:
        """Serve over ``stdio``, ``sse``, ``streamable-http`` or ``events``, which is that with event streams.

        Yields:
            The fields to configure.
        """
        match transport:
            case "stdio":
                listener = await asyncio.start_server(self._serve_lines, "127.0.0.1", 0, limit=1 << 20)
                async with listener:
                    port = str(listener.sockets[0].getsockname()[1])
                    yield {"transport": "stdio", "command": sys.executable, "args": ["-I", "-S", "-c", _BRIDGE, port]}
                    listener.close()
            case "sse":
                self._events: asyncio.Queue[bytes] = asyncio.Queue(1)
                tasks: set[asyncio.Task[None]] = set()
                server = RawServer(GET=self._standing_stream)

                def post(request: RawRequest) -> bytes:
                    tasks.add(asyncio.create_task(self._send_events(request.message)))
                    return raw_answer(202)

                server.answers = {"GET": self._standing_stream, **dict.fromkeys([*self.scripts, *_NOTICES], post)}
                async with server.listening():
                    yield {"transport": "sse", "url": server.url}
                    for task in tasks:
                        task.cancel()
            case _:
                serve = self._answer if transport == "streamable-http" else self._stream
                self.http.answers = dict.fromkeys(self.scripts, serve)
                async with self.http.listening():
                    yield {"transport": "streamable-http", "url": self.http.url}

    async def _messages(self, request: dict[str, Any]) -> AsyncIterator[bytes]:
        messages = self.scripts[request["method"]](request)
        if isinstance(messages, bytes):
            yield messages
        elif isinstance(messages, AsyncIterator):
            async for message in messages:
                yield message
        else:
            for message in messages:
                yield message

    async def _serve_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: list[asyncio.Task[None]] = []

        async def write(request: dict[str, Any]) -> None:
            async for message in self._messages(request):
                writer.write(message + b"\n")
                await writer.drain()

        with contextlib.suppress(ConnectionError):
            async for line in reader:
                request = json.loads(line)
                tasks += [asyncio.create_task(write(request))] if "id" in request else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()

    async def _standing_stream(self, _request: RawRequest | None = None) -> AsyncIterator[bytes]:
        yield event_stream("event: endpoint\ndata: /messages")
        while True:
            yield await self._events.get()

    async def _send_events(self, request: dict[str, Any]) -> None:
        if "id" in request:
            async for message in self._messages(request):
                await self._events.put(b"event: message\ndata: " + message + b"\n\n")

    def _answer(self, request: RawRequest) -> bytes:
        message = self.scripts[request.message["method"]](request.message)
        assert isinstance(message, bytes)
        return raw_answer(200, message, content_type="application/json")

    async def _stream(self, request: RawRequest) -> AsyncIterator[bytes]:
        yield event_stream()
        async for message in self._messages(request.message):
            yield b"event: message\ndata: " + message + b"\n\n"


_NOTICES = ["notifications/initialized", "notifications/cancelled"]
