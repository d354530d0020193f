"""Real MCP servers for tests: scripted contents, all three transports, in this process or in one that can be killed.

As a command, ``python -m mcp_orchestra.testing.servers --help`` serves one over stdio, SSE or streamable HTTP.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Self

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from mcp_orchestra.testing.notifier import Notifier, TellingServer
from mcp_orchestra.testing.ports import free_port

__all__ = ["HttpTransport", "ScriptedServer", "ServerProcess", "free_port", "serve", "server_command"]

HttpTransport = Literal["sse", "streamable-http"]
_TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
_SECONDS = {"type": "object", "properties": {"seconds": {"type": "number"}}}
_RESOURCE = {"type": "object", "properties": {"uri": {"type": "string"}, "text": {"type": "string"}}}
_NAME = {"type": "object", "properties": {"name": {"type": "string"}}}
_SCHEMAS = {"slow": _SECONDS, "put": _RESOURCE, "offer": _NAME}
_TOOLS = ("echo", "count", "fail", "slow", "pid", "crash")


class ScriptedServer:
    """An MCP server whose contents a test decides, and which counts what it is asked.

    Args:
        name: The name it gives itself.
        resources: How many resources it has (``res://<name>/0``, …), or their texts by URI. Bytes make a blob.
        page_size: Resources and tools on one page of a listing; None puts all on one.
        tools: Which of ``echo``, ``count``, ``fail``, ``slow``, ``pid`` and ``crash`` it offers; also ``put``, which
            sets the text of a resource, and ``offer``, which adds a tool.
        ttl_ms: The ``ttlMs`` hint of its answers.
        scope: The ``cacheScope`` hint of its answers.
        delay: Seconds before it answers a listing or a read.
        tells: Whether it says, and does, that it tells of changes.
        prompts: The prompts it has: texts, with ``{text}`` where their argument goes, by name.
        templates: Its URI templates; whatever else it is asked to read still has to be among its resources.
    """

    def __init__(
        self,
        name: str = "scripted",
        *,
        resources: int | Mapping[str, str | bytes] = 3,
        page_size: int | None = None,
        tools: Sequence[str] = _TOOLS,
        ttl_ms: int = 0,
        scope: Literal["public", "private"] = "private",
        delay: float = 0.0,
        tells: bool = True,
        prompts: Mapping[str, str] | None = None,
        templates: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.resources: dict[str, str | bytes] = (
            {f"res://{name}/{i}": f"{name} text {i}" for i in range(resources)}
            if isinstance(resources, int)
            else dict(resources)
        )
        self.tools: list[str] = list(tools)
        self.templates: list[str] = list(templates)
        self.prompts: dict[str, str] = dict(prompts or {})
        self.tool_fields: dict[str, dict[str, Any]] = {}
        """Fields of its tools that are others than usual, by name: ``{"echo": {"description": "…"}}``."""
        self.page_size = page_size
        self.delay = delay
        self.requests: Counter[str] = Counter()
        """How often each method was asked, and each tool called (as ``tools/call:<name>``)."""
        self.gate: asyncio.Event = asyncio.Event()
        """While clear, listings and reads wait; set from the start."""
        self.gate.set()
        self._hints: dict[str, Any] = {"ttl_ms": ttl_ms, "cache_scope": scope}
        self.notifier: Notifier = Notifier(self.requests)
        """Tells its clients of changes."""
        readable = bool(self.resources) or resources == {}
        self.server: Server[Any] = (TellingServer if tells else Server[Any])(
            name,
            version="1.0",
            on_list_resources=self._list_resources if readable else None,
            on_read_resource=self._read_resource if readable else None,
            on_list_resource_templates=self._list_templates if templates else None,
            on_list_prompts=self._list_prompts if prompts is not None else None,
            on_get_prompt=self._get_prompt if prompts is not None else None,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self.notifier.listen if tells else None,
            on_subscribe_resource=self.notifier.subscribe if tells and readable else None,
            on_unsubscribe_resource=self.notifier.unsubscribe if tells and readable else None,
            get_tool_input_schema=lambda tool: _SCHEMAS.get(tool, _TEXT),
        )
        if tells:
            self.server.middleware.append(self.notifier.meet)

    async def put(self, uri: str, value: str | bytes) -> None:
        """Add a resource or change one, and tell."""
        known = uri in self.resources
        self.resources[uri] = value
        await (self.notifier.tell_contents(uri) if known else self.notifier.tell_resources())

    async def drop(self, uri: str) -> None:
        """Take a resource away, and tell."""
        del self.resources[uri]
        await self.notifier.tell_resources()

    async def offer(self, tool: str) -> None:
        """Add a tool, and tell."""
        self.tools.append(tool)
        await self.notifier.tell_tools()

    def app(self, transport: HttpTransport = "streamable-http") -> Starlette:
        """Return an ASGI application that serves it at ``/mcp`` or, over SSE, at ``/sse``."""
        if transport == "streamable-http":
            return self.server.streamable_http_app()
        sse = SseServerTransport("/messages/")

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            async with sse.connect_sse(scope, receive, send) as (read, write):
                await self.server.run(read, write, self.server.create_initialization_options())

        class Endpoint:
            # An instance, not a function: Starlette then passes scope, receive and send through.
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                await handle(scope, receive, send)

        return Starlette(
            routes=[
                Route("/sse", endpoint=Endpoint(), methods=["GET"]),
                Mount("/messages/", app=sse.handle_post_message),
            ]
        )

    async def run_stdio(self) -> None:
        """Serve it over this process's standard input and output until the input ends."""
        async with stdio_server() as (read, write):
            await self.server.run(read, write, self.server.create_initialization_options())

    async def _answering(self, method: str) -> None:
        self.requests[method] += 1
        await self.gate.wait()
        if self.delay:
            await asyncio.sleep(self.delay)

    def _page(self, items: list[Any], params: types.PaginatedRequestParams | None) -> tuple[list[Any], str | None]:
        start = int(params.cursor) if params and params.cursor else 0
        end = start + (self.page_size or len(items) or 1)
        return items[start:end], (str(end) if end < len(items) else None)

    async def _list_resources(
        self, _ctx: Any, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        await self._answering("resources/list")
        items = [
            types.Resource(uri=uri, name=uri.rpartition("/")[2], mime_type=_mime_type(value))
            for uri, value in self.resources.items()
        ]
        page, cursor = self._page(items, params)
        return types.ListResourcesResult(resources=page, next_cursor=cursor, **self._hints)

    async def _read_resource(self, _ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        await self._answering("resources/read")
        value = self.resources.get(params.uri)
        if value is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown resource: {params.uri}")
        content: types.TextResourceContents | types.BlobResourceContents
        if isinstance(value, bytes):
            blob = base64.b64encode(value).decode()
            content = types.BlobResourceContents(uri=params.uri, mime_type=_mime_type(value), blob=blob)
        else:
            content = types.TextResourceContents(uri=params.uri, mime_type=_mime_type(value), text=value)
        return types.ReadResourceResult(contents=[content], **self._hints)

    async def _list_templates(
        self, _ctx: Any, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        await self._answering("resources/templates/list")
        items = [types.ResourceTemplate(uri_template=template, name=template) for template in self.templates]
        page, cursor = self._page(items, params)
        return types.ListResourceTemplatesResult(resource_templates=page, next_cursor=cursor, **self._hints)

    async def _list_prompts(self, _ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        await self._answering("prompts/list")
        items = [
            types.Prompt(name=name, arguments=[types.PromptArgument(name="text", required="{text}" in text)])
            for name, text in self.prompts.items()
        ]
        page, cursor = self._page(items, params)
        return types.ListPromptsResult(prompts=page, next_cursor=cursor, **self._hints)

    async def _get_prompt(self, _ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        await self._answering("prompts/get")
        if (text := self.prompts.get(params.name)) is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        filled = text.replace("{text}", (params.arguments or {}).get("text", ""))
        content = types.TextContent(text=f"{self.name}: {filled}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content)])

    async def _list_tools(self, _ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        self.requests["tools/list"] += 1
        items = [
            types.Tool.model_validate(
                {
                    "name": name,
                    "description": f"{name} of {self.name}",
                    "input_schema": _SCHEMAS.get(name, _TEXT),
                    **self.tool_fields.get(name, {}),
                }
            )
            for name in self.tools
        ]
        page, cursor = self._page(items, params)
        return types.ListToolsResult(tools=page, next_cursor=cursor, **self._hints)

    async def _call_tool(self, _ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.requests["tools/call"] += 1
        self.requests[f"tools/call:{params.name}"] += 1
        arguments = params.arguments or {}
        match params.name if params.name in self.tools else None:
            case "echo":
                text = f"{self.name}: {arguments.get('text', '')}"
            case "count":
                text = str(self.requests["tools/call:count"])
            case "slow":
                await asyncio.sleep(float(arguments.get("seconds", 1)))
                text = "done"
            case "pid":
                text = str(os.getpid())
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
                text = "unreachable"
            case "put":
                await self.put(str(arguments["uri"]), str(arguments["text"]))
                text = "told"
            case "offer":
                await self.offer(str(arguments["name"]))
                text = "told"
            case "fail":
                return types.CallToolResult(content=[types.TextContent(text="it failed")], is_error=True)
            case _:
                raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return types.CallToolResult(content=[types.TextContent(text=text)])


def _mime_type(value: str | bytes) -> str:
    return "application/octet-stream" if isinstance(value, bytes) else "text/plain"


@contextlib.asynccontextmanager
async def serve(
    server: ScriptedServer | Starlette, transport: HttpTransport = "streamable-http", *, port: int | None = None
) -> AsyncGenerator[str]:
    """Serve over HTTP in this event loop for the length of the block, and yield the URL to configure."""
    app = server.app(transport) if isinstance(server, ScriptedServer) else server
    # Named, not 0: asyncio switches Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port or 0))
    config = uvicorn.Config(
        app,
        log_level="critical",
        timeout_graceful_shutdown=0,
        timeout_keep_alive=60,  # after the 5 s of uvicorn a busy machine's server hangs up as its client goes on
        lifespan="on",
        ws="none",
    )
    runner = uvicorn.Server(config)
    with contextlib.closing(listener):
        task = asyncio.create_task(runner.serve(sockets=[listener]), name="testing-serve")
        try:
            with anyio.fail_after(10):
                while not runner.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
                    await asyncio.sleep(0.005)
            path = "/mcp" if transport == "streamable-http" else "/sse"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        finally:
            runner.should_exit = True
            await task


def server_command(transport: str = "stdio", **options: object) -> list[str]:
    """Return the command line that serves a scripted server: ``server_command(name="a", resources=25)``."""
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return [sys.executable, "-m", "mcp_orchestra.testing.servers", f"--transport={transport}", *flags]


class ServerProcess:
    """A scripted HTTP server in a process of its own that can be killed and started again on the same port."""

    def __init__(
        self, transport: HttpTransport = "streamable-http", *, port: int | None = None, **options: object
    ) -> None:
        self.transport = transport
        self.port: int = port or free_port()
        self.url: str = f"http://127.0.0.1:{self.port}{'/mcp' if transport == 'streamable-http' else '/sse'}"
        self._command = server_command(transport, port=self.port, **options)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(*self._command)
        with anyio.fail_after(30):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                if self._process.returncode is not None:
                    raise RuntimeError(f"the server ended with status {self._process.returncode}")
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()


def main() -> None:
    """Serve a scripted server as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m mcp_orchestra.testing.servers")
    parser.add_argument("--transport", choices=["stdio", "sse", "streamable-http"], default="stdio")
    parser.add_argument("--name", default="scripted")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--resources", type=int, default=3)
    parser.add_argument("--page-size", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--ttl-ms", type=int, default=0)
    parser.add_argument("--tools", default=",".join(_TOOLS), help="which tools it offers, with commas between")
    parser.add_argument("--stderr", default="", help="a line to write to standard error first")
    args = parser.parse_args()
    if args.stderr:
        sys.stderr.write(args.stderr + "\n")
        sys.stderr.flush()
    scripted = ScriptedServer(
        args.name,
        resources=args.resources,
        page_size=args.page_size,
        tools=args.tools.split(","),
        delay=args.delay,
        ttl_ms=args.ttl_ms,
    )
    with contextlib.suppress(KeyboardInterrupt):
        if args.transport == "stdio":
            asyncio.run(scripted.run_stdio())
        else:
            # Streams that tell of changes never end by themselves, and would keep a server that is to stop.
            uvicorn.run(
                scripted.app(args.transport),
                host="127.0.0.1",
                port=args.port,
                log_level="critical",
                timeout_graceful_shutdown=1,
            )


if __name__ == "__main__":
    main()
