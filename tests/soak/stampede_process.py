"""Fetches one key many times at once through a cache that other processes share, and prints what came.

Started with its arguments as JSON. Every time that upstream is asked it adds a line to a file.
"""

import asyncio
import json
import logging
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Fetched
from mcp_orchestra.stores import CacheStore


def open_store(backend: str, options: dict[str, Any]) -> CacheStore:
    if backend == "disk":
        from mcp_orchestra_disk import DiskStore

        return DiskStore(**options)
    from mcp_orchestra_redis import RedisOptions, RedisStore

    return RedisStore(RedisOptions(**options))


async def ask(name: str, seconds: float, asked: Path) -> Fetched:
    file = os.open(asked, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name}\n".encode())
    os.close(file)
    await asyncio.sleep(seconds)
    return Fetched(data={"by": name})


async def run(arguments: dict[str, Any]) -> None:
    cache = ResourceCache(
        60, store=open_store(arguments["backend"], arguments["options"]), blocking=True, store_timeout=5.0
    )
    fetch = partial(ask, arguments["name"], arguments["seconds"], Path(arguments["asked"]))
    try:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(cache.fetch("resources:a", fetch) for _ in range(arguments["callers"])))
        print(json.dumps(Counter(answer.copy()["by"] for answer in answers)), flush=True)
    finally:
        await cache.aclose()


if __name__ == "__main__":
    logging.disable()
    asyncio.run(run(json.loads(sys.argv[1])))
