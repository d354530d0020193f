"""A busy orchestrator over eight servers, one of which falls sick every five seconds: the invariants I1 to I10.

``MCP_ORCHESTRA_TEST_SOAK_SECONDS`` says for how long (60), ``MCP_ORCHESTRA_TEST_SEED`` which faults there are.
"""

import asyncio
import math
import os
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp_orchestra import MCPConfig, MCPOrchestrator, MCPOrchestratorException
from mcp_orchestra.testing.servers import ScriptedServer, free_port, serve

from .leftovers import left

pytestmark = pytest.mark.anyio

SECONDS = float(os.environ.get("MCP_ORCHESTRA_TEST_SOAK_SECONDS", "60"))
PER_SECOND = 100
FAULT_EVERY = 5.0
FAULT_LASTS = 1.5
RECOVERY = 3.0
"""Seconds after a fault in which its server is not expected to be well again."""
REQUEST_TIMEOUT = 2.0
QUIET = min(15.0, SECONDS / 4)
"""Seconds without faults, to compare with."""
DELAY = 0.25 if SECONDS > 60 else 1.0
"""Seconds by which a sick server may delay what others answer (I10); beside the short version other tests run."""
BARE_SERVER = Path(__file__).with_name("bare_server.py")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Noting(ScriptedServer):
    """A server that writes down what it was called with."""

    def __init__(self, name: str) -> None:
        super().__init__(name, resources=1, tools=["echo"])
        self.ran: Counter[str] = Counter()

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        self.ran[params.arguments["text"]] += 1
        await self.gate.wait()
        return await super()._call_tool(ctx, params)


@dataclass
class Upstream:
    """One of the eight, and how it falls sick."""

    name: str
    config: dict[str, Any]
    faults: dict[str, Callable[[], Awaitable[None]]]
    ran: Callable[[], Counter[str]]
    sick_until: float = 0.0

    @property
    def well(self) -> bool:
        return time.monotonic() > self.sick_until


class OverHttp:
    """A server in this process, which can hang, and stop and come back on the same port."""

    def __init__(self, name: str) -> None:
        self.server = Noting(name)
        self.port = free_port()
        self._serving = AsyncExitStack()

    async def start(self) -> None:
        await self._serving.enter_async_context(serve(self.server, port=self.port))

    async def stop(self) -> None:
        await self._serving.aclose()

    async def hang(self) -> None:
        self.server.gate.clear()
        await asyncio.sleep(FAULT_LASTS)
        self.server.gate.set()

    async def be_gone(self) -> None:
        await self.stop()
        await asyncio.sleep(FAULT_LASTS)
        await self.start()

    def upstream(self) -> Upstream:
        config = {"transport": "streamable-http", "url": f"http://127.0.0.1:{self.port}/mcp"}
        faults = {"hang": self.hang, "be gone": self.be_gone}
        return Upstream(self.server.name, config, faults, lambda: self.server.ran)


class OverSse:
    """A server in a process of its own, which can freeze, and be killed and come back on the same port."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self.log.touch()

    async def start(self) -> None:
        script = str(BARE_SERVER.with_name("noting_server.py"))
        self.process = psutil.Popen([sys.executable, script, self.name, str(self.port), str(self.log)])
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    async def freeze(self) -> None:
        self.process.suspend()
        await asyncio.sleep(FAULT_LASTS)
        self.process.resume()

    async def be_gone(self) -> None:
        await self.stop()
        await asyncio.sleep(FAULT_LASTS)
        await self.start()

    def upstream(self) -> Upstream:
        config = {"transport": "sse", "url": f"http://127.0.0.1:{self.port}/sse"}
        faults = {"freeze": self.freeze, "be gone": self.be_gone}
        return Upstream(self.name, config, faults, lambda: Counter(self.log.read_text().split()))


def on_stdio(name: str, folder: Path) -> Upstream:
    """Return a server that the orchestrator starts, which can freeze and be killed."""
    log = folder / f"{name}.log"
    log.touch()

    def process() -> psutil.Process:
        return next(child for child in psutil.Process().children() if str(log) in child.cmdline())

    async def die() -> None:
        with suppress(StopIteration, psutil.Error):
            process().kill()

    async def freeze() -> None:
        with suppress(StopIteration, psutil.Error):
            frozen = process()
            frozen.suspend()
            await asyncio.sleep(FAULT_LASTS)
            frozen.resume()

    return Upstream(
        name,
        {"transport": "stdio", "command": sys.executable, "args": ["-I", "-S", str(BARE_SERVER), name, str(log)]},
        {"die": die, "freeze": freeze},
        lambda: Counter(log.read_text().split()),
    )


@pytest.fixture
async def upstreams(tmp_path: Path) -> AsyncIterator[list[Upstream]]:
    servers: list[OverHttp | OverSse] = [OverHttp(f"http{number}") for number in range(3)]
    servers += [OverSse(f"sse{number}", tmp_path) for number in range(2)]
    for server in servers:
        await server.start()
    yield [*(server.upstream() for server in servers), *(on_stdio(f"stdio{n}", tmp_path) for n in range(3))]
    for server in servers:
        await server.stop()


@dataclass
class Load:
    """Asks all the time, and remembers what came."""

    orchestrator: MCPOrchestrator
    upstreams: list[Upstream]
    random: random.Random
    asked: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    called: dict[str, tuple[Upstream, str]] = field(default_factory=dict)
    """By nonce: who was to run it, and what came of it (``result``, or whether it was delivered)."""
    seconds: dict[bool, list[float]] = field(default_factory=lambda: defaultdict(list))
    """What questions to servers that were well took, without and with a sick one elsewhere."""
    foreign: list[BaseException] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ends, tasks = loop.time() + seconds, set[asyncio.Task[None]]()
        due = loop.time()
        while due < ends:
            task = asyncio.create_task(self.ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)

    async def ask(self) -> None:
        self.asked += 1
        kind = self.random.choices(["gather", "read", "call"], [40, 40, 20])[0]
        upstream = self.random.choice(self.upstreams)
        began, was_well = time.perf_counter(), upstream.well
        sick_elsewhere = not all(other.well for other in self.upstreams)
        try:
            match kind:
                case "gather":
                    self.check_gathered(await self.orchestrator.gather_all_resources())
                case "read":
                    uri = f"res://{upstream.name}/0"
                    answer = await self.orchestrator.read_resource(uri, server=upstream.name)
                    assert answer.contents[0].text == f"{upstream.name} text 0"
                case "call":
                    await self.call(upstream)
        except MCPOrchestratorException as error:
            self.ended[f"{kind}: {error.context.get('cause')}"] += 1
            if was_well and upstream.well and kind != "gather":
                self.foreign.append(error)
            return
        except Exception as error:  # what nobody may see
            self.ended[type(error).__name__] += 1
            self.foreign.append(error)
            return
        self.ended[kind] += 1
        if kind != "gather" and was_well and upstream.well:
            self.seconds[sick_elsewhere].append(time.perf_counter() - began)

    async def call(self, upstream: Upstream) -> None:
        nonce = f"n{self.asked}"
        self.called[nonce] = upstream, "maybe"
        try:
            answer = await self.orchestrator.call_tool("echo", {"text": nonce}, server=upstream.name)
        except MCPOrchestratorException as error:
            self.called[nonce] = upstream, error.context["delivered"]
            raise
        assert answer.content[0].text == f"{upstream.name}: {nonce}"
        self.called[nonce] = upstream, "result"

    def check_gathered(self, gathered: dict[str, Any]) -> None:
        connected = {one["name"] for one in self.orchestrator.get_status()["servers"] if one["connected"]}
        for upstream in self.upstreams:
            entry = gathered.get(upstream.name)
            if entry is None:
                assert upstream.name not in connected or not upstream.well
                continue
            assert "stale" not in entry or not upstream.well  # I5
            assert entry["resources"] or "error" in entry
            for resource in entry["resources"].values():
                assert resource.get("data", f"{upstream.name} text 0") == f"{upstream.name} text 0"
            if upstream.well and "error" in entry:
                raise AssertionError(f"{upstream.name} is well, but: {entry['error']}")


async def fall_sick_in_turn(
    upstreams: list[Upstream], orchestrator: MCPOrchestrator, chance: random.Random, seconds: float
) -> None:
    """Make one after the other sick, and see that the status says so of one that is gone."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() + FAULT_EVERY < ends:
        upstream = chance.choice(upstreams)
        what = chance.choice(sorted(upstream.faults))
        upstream.sick_until = math.inf
        sickness = asyncio.create_task(upstream.faults[what]())
        if what == "be gone":
            async with asyncio.timeout(1):
                while server_named(orchestrator, upstream.name)["connected"]:
                    await asyncio.sleep(0.02)
        await sickness
        upstream.sick_until = time.monotonic() + RECOVERY
        await asyncio.sleep(max(0.0, FAULT_EVERY - FAULT_LASTS))


def server_named(orchestrator: MCPOrchestrator, name: str) -> dict[str, Any]:
    return next(one for one in orchestrator.get_status()["servers"] if one["name"] == name)


def ours_left() -> tuple[set[str], int, int]:
    tasks, descriptors, children = left()
    return {name for name in tasks if name.startswith("mcp-")}, descriptors, children


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


async def test_a_sick_server_hurts_nobody_for_as_long_as_it_goes_on(upstreams):
    seed = int(os.environ.get("MCP_ORCHESTRA_TEST_SEED", random.randrange(10**6)))
    print(f"MCP_ORCHESTRA_TEST_SEED={seed}")
    chance = random.Random(seed)
    config = {
        "mcp_servers": {
            upstream.name: {"name": upstream.name, "request_timeout": REQUEST_TIMEOUT, **upstream.config}
            for upstream in upstreams
        },
        "orchestration": {"fail_fast": False, "resource_cache_ttl": 1, "log_level": "CRITICAL"},
    }
    before = ours_left()
    orchestrator = MCPOrchestrator(config=MCPConfig.model_validate(config))
    await orchestrator.initialize()
    load = Load(orchestrator, upstreams, chance)
    await load.run(2)  # warm
    load.seconds.clear()
    await load.run(QUIET)
    await asyncio.gather(
        load.run(SECONDS), fall_sick_in_turn(upstreams, orchestrator, random.Random(seed), SECONDS - RECOVERY)
    )
    stats = orchestrator.cache.get_stats()
    await orchestrator.close()
    await orchestrator.close()
    quiet, troubled = p99(load.seconds[False]), p99(load.seconds[True])
    print(f"{load.asked} questions: {dict(load.ended)}")
    print(f"p99 of healthy servers: quiet {quiet * 1000:.0f} ms, beside a sick one {troubled * 1000:.0f} ms")

    assert load.foreign == []  # I3, I8, and no server that is well fails
    assert sum(load.ended.values()) == load.asked  # I1
    for upstream in upstreams:  # I2
        ran = upstream.ran()
        assert max(ran.values(), default=0) <= 1
        for nonce, (asked, outcome) in load.called.items():
            if asked is upstream and outcome in ("result", "yes"):
                assert ran[nonce] == 1
            elif asked is upstream and outcome == "no":
                assert ran[nonce] == 0
    assert stats["hits"] + stats["misses"] == stats["total_requests"]  # I4
    assert stats["cached_items"] <= 2 * len(upstreams)
    assert ours_left() == before  # I7
    assert troubled <= max(2 * quiet, quiet + DELAY)  # I10
