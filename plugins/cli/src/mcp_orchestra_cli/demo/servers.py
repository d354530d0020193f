"""The sample servers, each a real MCP server over any transport.

``python -m mcp_orchestra_cli.demo.servers --role products --transport streamable-http`` starts one.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import threading

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resources import TextResource
from starlette.applications import Starlette

from mcp_orchestra_cli.demo.contents import ALIASES, FIELDS, ORDERS, PRODUCTS, READY, ROLES, resource_uri

__all__ = ["build", "main"]

_PATHS = {"sse": "/sse", "streamable-http": "/mcp"}


def build(role: str) -> MCPServer:
    """Return the server for ``products``, ``orders`` or ``metadata``."""
    # Its standard error is shown when something is wrong, so it says nothing else there.
    server = MCPServer(f"shop-{role}", title=ROLES[role].title, version="1.0", log_level="CRITICAL")
    for name, (description, contents) in ROLES[role].resources.items():
        server.add_resource(
            TextResource(
                uri=resource_uri(role, name),
                name=name,
                description=description,
                mime_type="application/json",
                text=json.dumps(contents, indent=2),
            )
        )
    for tool in {"products": (search_products, price), "orders": (order_status,), "metadata": (resolve, explain)}[role]:
        server.add_tool(tool)
    return server


def search_products(text: str, limit: int = 10) -> list[str]:
    """Return the SKUs of the products whose name contains a text."""
    return [str(p["sku"]) for p in PRODUCTS if text.casefold() in str(p["name"]).casefold()][:limit]


def price(sku: str, quantity: int = 1) -> str:
    """Return what some pieces of a product cost."""
    for product in PRODUCTS:
        if product["sku"] == sku:
            return f"{float(str(product['price'])) * quantity:.2f} {product['currency']}"
    raise ToolError(f"there is no product {sku}")


def order_status(order_id: str) -> str:
    """Return how far an order is."""
    for order in ORDERS:
        if order["id"] == order_id:
            return str(order["status"])
    raise ToolError(f"there is no order {order_id}")


def resolve(word: str) -> str:
    """Return the SKU that a word stands for."""
    if word.casefold() not in ALIASES:
        raise ToolError(f"nobody calls a product {word}")
    return ALIASES[word.casefold()]


def explain(field: str) -> str:
    """Return what a field means."""
    return FIELDS.get(field, f"there is no field {field}")


def main() -> None:
    """Serve what the command line says until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m mcp_orchestra_cli.demo.servers", description=__doc__)
    parser.add_argument("--role", choices=list(ROLES), default="products")
    parser.add_argument("--transport", choices=["stdio", *_PATHS], default="stdio")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever holds the other end")
    asked = parser.parse_args()
    server = build(asked.role)
    if asked.transport == "stdio":
        server.run("stdio")
        return
    if asked.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    app = server.sse_app() if asked.transport == "sse" else server.streamable_http_app()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(app, asked.port, _PATHS[asked.transport]))


async def _serve(app: Starlette, port: int, path: str) -> None:
    # asyncio sends without delay only where the protocol is named: otherwise every answer takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would let two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, ws="none")
    await _Announcing(config, address).serve(sockets=[listener])


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        sys.stdout.write(f"{READY}{self._address}\n")
        sys.stdout.flush()


def _end_with_stdin() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
