"""A server over HTTP that answers at once, in a process of its own: what is measured is the client."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_orchestra.testing.raw_http import RawRequest, RawServer, json_answer

__all__ = ["upstreams"]

COMMON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
TEXT = "What is worth knowing about this, in about as many words as a note of a few lines takes. " * 3


@asynccontextmanager
async def upstreams(number: int, resources: int) -> AsyncIterator[dict[str, str]]:
    """Yield the addresses of so many servers by id, all of them in one process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.upstreams", str(resources)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            url = (await process.stdout.readline()).decode().strip()
        yield {f"s{index}": f"{url}/{index}" for index in range(number)}
    finally:
        process.stdin.close()  # which ends it
        await process.wait()


async def serve(resources: int) -> None:
    """Serve until the standard input ends; the address is the first line of the output."""
    listed = [{"uri": f"res://a/{index}", "name": str(index), "mimeType": "text/plain"} for index in range(resources)]

    def read(request: RawRequest) -> bytes:
        contents = [{"uri": request.message["params"]["uri"], "mimeType": "text/plain", "text": TEXT}]
        return json_answer(result={**COMMON, "contents": contents})(request)

    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    server = RawServer(
        **{
            "resources/list": json_answer(result={**COMMON, "resources": listed}),
            "resources/read": read,
            "tools/list": json_answer(result={**COMMON, "tools": [{"name": "echo", "inputSchema": schema}]}),
            "tools/call": json_answer(result={**COMMON, "content": [{"type": "text", "text": "done"}]}),
        }
    )
    async with server.listening():
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
