"""Three replicas, the first of which is killed while 200 questions are under way: nothing is lost, nothing runs twice.

The replicas write down what they begin to carry out: that, and not our own account, is what these tests go by.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_server import RESOURCES, LedgerServer
from mcp_orchestra import MCPOrchestrator, ToolCallError
from mcp_orchestra.testing.servers import free_port

pytestmark = pytest.mark.anyio

MANY = 200


class Replicas:
    """Three replicas of one domain, and the ledger that they share."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.spares: dict[str, dict[str, str]] = {}

    async def start(self) -> None:
        script = Path(__file__).with_name("ledger_server.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), "victim", str(self.port), str(self.ledger), "1.5"
        )
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def fields(self, **more: Any) -> dict[str, dict[str, Any]]:
        victim = {"transport": "streamable-http", "url": f"http://127.0.0.1:{self.port}/mcp"}
        places = {"victim": victim, **self.spares}
        return {name: {**place, "domains": ["d"], "timeout": 20, **more} for name, place in places.items()}

    def begun(self) -> Counter[tuple[str, str]]:
        """Return how often each replica has begun each thing."""
        lines = self.ledger.read_text(encoding="utf-8").splitlines()
        return Counter((replica, what) for replica, _, what in (line.partition(" ") for line in lines))

    def at_the_victim(self) -> int:
        return sum(count for (replica, _), count in self.begun().items() if replica == "victim")


@pytest.fixture
async def replicas(serving, tmp_path) -> AsyncIterator[Replicas]:
    ledger = tmp_path / "ledger"
    ledger.touch()
    found = Replicas(ledger)
    for name in ("second", "third"):
        found.spares[name] = await serving(LedgerServer(name, ledger, 0.0))
    await found.start()
    yield found
    await found.kill()


async def outcomes(
    replicas: Replicas, until: Any, ask: Callable[[int], Any], under_way: Callable[[], bool]
) -> list[Any]:
    """Ask 200 times at once, kill the victim as soon as it is at work, and return how each ended."""
    async with asyncio.timeout(60):
        asking = [asyncio.create_task(ask(number)) for number in range(MANY)]
        await until(under_way)
        await replicas.kill()
        return await asyncio.gather(*asking, return_exceptions=True)


def spread(configure: Any, replicas: Replicas, **fields: Any) -> MCPOrchestrator:
    orchestrator = configure(
        replicas.fields(**fields), routing={"policy": "round-robin"}, cache={"ttl_policy": "strict"}
    )
    assert isinstance(orchestrator, MCPOrchestrator)
    return orchestrator


async def test_200_reads_are_answered_though_a_replica_is_killed(configure, replicas, until):
    orchestrator = spread(configure, replicas)
    await orchestrator.initialize()
    uris = list(RESOURCES)
    answers = await outcomes(
        replicas, until, lambda n: orchestrator.read_resource(uris[n]), lambda: replicas.at_the_victim() >= 10
    )
    assert [answer.contents[0].text for answer in answers] == list(RESOURCES.values())
    assert set(replicas.begun().values()) == {1}  # no replica was asked for the same thing twice


async def test_200_gathers_are_answered_though_a_replica_is_killed(configure, replicas, until):
    orchestrator = spread(configure, replicas, resource_contents=False)
    await orchestrator.initialize()

    def under_way() -> bool:
        return orchestrator.cache.get_stats()["fetches"] == 3

    answers = await outcomes(replicas, until, lambda _: orchestrator.get_resources_for_domain("d"), under_way)
    assert all([one["uri"] for one in answer.values()] == list(RESOURCES) for answer in answers)


async def test_200_calls_of_a_safe_tool_are_answered_though_a_replica_is_killed(configure, replicas, until):
    orchestrator = spread(configure, replicas, safe_tools=["look"])
    await orchestrator.initialize()
    answers = await outcomes(
        replicas,
        until,
        lambda n: orchestrator.call_tool("look", {"text": f"call {n}"}, domain="d"),
        lambda: replicas.at_the_victim() >= 10,
    )
    assert [answer.content[0].text for answer in answers] == [f"call {n}" for n in range(MANY)]
    begun = replicas.begun()
    assert set(begun.values()) == {1}
    times = Counter(what for _, what in begun)
    assert all(times[what] == 1 or begun["victim", what] for what in times)  # only what was cut is done once more


async def test_of_200_calls_of_an_unsafe_tool_none_runs_twice_though_a_replica_is_killed(configure, replicas, until):
    orchestrator = spread(configure, replicas, safe_tools=["look"])
    await orchestrator.initialize()
    answers = await outcomes(
        replicas,
        until,
        lambda n: orchestrator.call_tool("pay", {"text": f"call {n}"}, domain="d"),
        lambda: replicas.at_the_victim() >= 10,
    )
    times = Counter(what for _, what in replicas.begun().elements())
    assert set(times.values()) == {1}
    cut = [answer for answer in answers if isinstance(answer, ToolCallError)]
    assert len(cut) >= 10
    assert {error.context["delivered"] for error in cut} == {"maybe"}
    assert all([one["server_id"] for one in error.context["attempts"]][-1] == "victim" for error in cut)
    answered = [answer.content[0].text for answer in answers if not isinstance(answer, ToolCallError)]
    assert len(cut) + len(answered) == MANY
    assert set(answered) <= set(times)
