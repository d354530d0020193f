"""Fifty clients at once whose requests have the same ids: each gets the answer to its own question."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator
from mcp_orchestra.testing.servers import ScriptedServer, serve

pytestmark = pytest.mark.anyio

CLIENTS = 50
AT_ONCE = 4
"""How many questions each client asks at a time."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Numbered(ScriptedServer):
    """Counts the ids of the calls, and answers in another order than it was asked."""

    def __init__(self) -> None:
        super().__init__("a", tools=["echo"])
        self.ids: Counter[Any] = Counter()

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        self.ids[ctx.request_id] += 1
        await asyncio.sleep(0.001 * (self.ids.total() % 7))
        return await super()._call_tool(ctx, params)


async def test_nobody_gets_the_answer_to_another_ones_question(seconds: float) -> None:
    server = Numbered()
    async with serve(server) as http, serve(server, "sse") as sse:
        places = [
            {"transport": "streamable-http", "url": http, "mode": "auto"},
            {"transport": "streamable-http", "url": http, "mode": "legacy"},
            {"transport": "sse", "url": sse},
        ]
        configs = [MCPConfig.model_validate({"mcp_servers": {"a": {"name": "A", **place}}}) for place in places]
        clients = [MCPOrchestrator(config=configs[number % len(configs)]) for number in range(CLIENTS)]
        await asyncio.gather(*(client.list_tools() for client in clients))
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds / 2

        async def ask(client: MCPOrchestrator) -> Counter[bool]:
            own = Counter[bool]()
            while loop.time() < ends:
                nonce = uuid.uuid4().hex
                answer = await client.call_tool("echo", {"text": nonce})
                own[answer.content[0].text == f"a: {nonce}"] += 1
            return own

        async with asyncio.timeout(seconds + 30):
            found = await asyncio.gather(*(ask(client) for client in clients for _ in range(AT_ONCE)))
        await asyncio.gather(*(client.close() for client in clients))
    answers = sum(found, Counter[bool]())
    print(f"{answers.total()} answers; one id was used {server.ids.most_common(1)[0][1]} times")
    assert answers.keys() == {True}
    assert server.ids.most_common(1)[0][1] >= CLIENTS // len(places)
