"""A small MCP server over stdio that imports next to nothing, so that very many can be started.

``python -I -S bare_server.py <name> [<log>]`` has one resource and the tool ``echo``; what ``echo`` is called with goes
to the log, a line each.
"""

import json
import sys

NAME, LOG = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
URI = f"res://{NAME}/0"
HINTS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


def answer(method: str, params: dict) -> dict:
    match method:
        case "server/discover":
            server = {"name": NAME, "version": "1"}
            capabilities = {"resources": {}, "tools": {}}
            return {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "serverInfo": server}
        case "resources/list":
            return {"resources": [{"uri": URI, "name": "0"}]}
        case "resources/read":
            return {"contents": [{"uri": URI, "text": f"{NAME} text 0"}]}
        case "tools/list":
            return {"tools": [{"name": "echo", "inputSchema": SCHEMA}]}
        case "tools/call":
            text = params["arguments"]["text"]
            if LOG is not None:
                with open(LOG, "a", encoding="utf-8") as log:  # noqa: PTH123 - pathlib takes longer than all the rest
                    log.write(f"{text}\n")
            return {"content": [{"type": "text", "text": f"{NAME}: {text}"}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        result = {**HINTS, **answer(request["method"], request.get("params", {}))}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
