"""A replica that writes into a file what it carries out, so that what a killed one did is known too.

As a command: ``python ledger_server.py NAME PORT LEDGER SECONDS``.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp_orchestra.testing.servers import ScriptedServer

RESOURCES = {f"res://shared/{number}": f"text {number}" for number in range(200)}


class LedgerServer(ScriptedServer):
    """Has what all replicas have.

    Args:
        name: The replica's name.
        ledger: The file.
        seconds: How long it takes for everything.
    """

    def __init__(self, name: str, ledger: Path, seconds: float) -> None:
        super().__init__(name, resources=RESOURCES, tools=["look", "pay"], delay=seconds)
        self._ledger = ledger

    async def _read_resource(self, ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        self._begin(params.uri)
        return await super()._read_resource(ctx, params)

    async def _call_tool(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        text = str((params.arguments or {})["text"])
        self._begin(text)
        await asyncio.sleep(self.delay)
        return types.CallToolResult(content=[types.TextContent(text=text)])

    def _begin(self, what: str) -> None:
        with self._ledger.open("a", encoding="utf-8") as file:
            file.write(f"{self.name} {what}\n")


if __name__ == "__main__":
    _, name, port, ledger, seconds = sys.argv
    app = LedgerServer(name, Path(ledger), float(seconds)).app()
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="critical", timeout_graceful_shutdown=1)
