"""What it takes to call a tool through the orchestrator, over HTTP."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client

from benchmarks.measure import Case, Pace, measure
from benchmarks.report import Report, Target, timed
from benchmarks.servers import orchestra
from benchmarks.stores import Places
from benchmarks.upstreams import upstreams

__all__ = ["tool_call"]

SERVERS = 8
AT_ONCE = 16

DIRECT = "SDK client"
ROUTED = "ours, tool found by its name"
TARGETS = (Target(case=ROUTED, at_most=1.1, reference=DIRECT),)


async def tool_call(_places: Places, pace: Pace) -> Report:
    """Measure one call, and several at once, of a tool that one of the servers offers."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(upstreams(SERVERS, 0))
        client = await stack.enter_async_context(Client(urls["s0"], cache=None))
        ours = await stack.enter_async_context(orchestra(urls, cache={"backend": "memory"}, log_level="ERROR"))
        arguments = {"text": "x"}
        await client.list_tools()  # or it would ask again and again how the tool's output looks

        async def direct() -> Any:
            return await client.call_tool("echo", arguments)

        async def routed() -> Any:
            return await ours.call_tool("s0__echo", arguments)

        async def at_one_server() -> Any:
            return await ours.call_tool("echo", arguments, server="s0")

        async def direct_at_once() -> Any:
            return await asyncio.gather(*(direct() for _ in range(AT_ONCE)))

        async def routed_at_once() -> Any:
            return await asyncio.gather(*(routed() for _ in range(AT_ONCE)))

        assert (await routed()).content == (await at_one_server()).content == (await direct()).content
        samples = await measure(
            [
                Case(DIRECT, direct),
                Case(ROUTED, routed),
                Case("ours, server given", at_one_server),
                Case(f"SDK client, {AT_ONCE} at once", direct_at_once),
                Case(f"ours, {AT_ONCE} at once", routed_at_once),
            ],
            pace,
        )
    return timed("One tools/call", samples, DIRECT, TARGETS)
