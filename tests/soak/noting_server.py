"""A server over SSE in a process of its own that logs what its tool is told.

``python noting_server.py <name> <port> <log>``. Servers over SSE cannot share a process where one of them is to stop:
their library ends the streams of all.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp_orchestra.testing.servers import ScriptedServer

NAME, PORT, LOG = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


class Noting(ScriptedServer):
    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        LOG.write_text(f"{LOG.read_text(encoding='utf-8')}{params.arguments['text']}\n", encoding="utf-8")
        return await super()._call_tool(ctx, params)


server = Noting(NAME, resources=1, tools=["echo"])
uvicorn.run(server.app("sse"), host="127.0.0.1", port=PORT, log_level="critical", timeout_graceful_shutdown=1)
