"""A healthy server beside many sick ones, all asked at once: what each of them costs, and what it costs the others."""

import asyncio
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp_orchestra import MCPOrchestrator, MCPOrchestratorException
from mcp_orchestra.testing.faults import FaultProxy, sick_command, sick_server
from mcp_orchestra.testing.faults.healthy import TOOL, URI
from mcp_orchestra.testing.servers import ScriptedServer

METHODS = {"list": "resources/list", "read": "resources/read", "call": "tools/call"}
"""What the three operations ask a server for."""

EXTRA = 0.25
"""Seconds by which a sick server may delay the answer of another one (I10)."""
PERIOD = 0.05
"""Seconds from one question to the healthy server to the next, however long its answers take."""
SPREAD = 1.5
"""Seconds over which the questions to the sick servers are spread: what many at a time cost is another matter."""


@dataclass(frozen=True)
class Outcome:
    """How one question to a sick server ended."""

    verdict: str
    """``answer``, or what the tables say: ``ResourceFetchError timeout``."""
    delivered: str
    seconds: float
    message: str


async def outcome_of(question: Awaitable[Any]) -> Outcome:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        await question
    except MCPOrchestratorException as error:
        verdict = f"{type(error).__name__} {error.context.get('cause')}"
        return Outcome(verdict, str(error.context.get("delivered")), loop.time() - started, error.message)
    return Outcome("answer", "yes", loop.time() - started, "")


async def ask(orchestrator: MCPOrchestrator, server_id: str, operation: str) -> Any:
    match operation:
        case "list":
            info = orchestrator.registry.get_server(server_id)
            assert info is not None
            return await info.client.list_resources()
        case "read":
            return await orchestrator.read_resource(URI, server=server_id)
        case _:
            return await orchestrator.call_tool(TOOL, server=server_id)


def waited_for_processor() -> float:
    """Return the seconds that this thread has been ready to run while other processes did, where the system says so."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_text(encoding="ascii").split()[1]) / 1e9 if path.exists() else 0.0


class Pulse:
    """Asks a healthy server at a steady rate and notes how late each answer is."""

    def __init__(self, question: Callable[[], Awaitable[Any]]) -> None:
        self._question = question
        self._late: list[float] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def during(self, work: Awaitable[Any]) -> list[float]:
        """Return how late the answers were while something else went on, in order of size."""
        self._late.clear()
        self._asking.clear()
        beating = asyncio.create_task(self._beat())
        try:
            await asyncio.sleep(PERIOD)
            await work
            await asyncio.sleep(PERIOD)  # what was due meanwhile is asked now
        finally:
            beating.cancel()
            await asyncio.wait({beating})
        await asyncio.gather(*self._asking)
        return sorted(self._late)

    async def _beat(self) -> None:
        # A loop that is held up makes all questions late that were due meanwhile: each counts from when it was due.
        loop = asyncio.get_running_loop()
        due = loop.time()
        waited = [(due, waited_for_processor())]
        while True:
            before = next(seconds for moment, seconds in reversed(waited) if moment <= due)
            self._asking.add(asyncio.create_task(self._ask(due, before)))
            due += PERIOD
            waited.append((loop.time(), waited_for_processor()))
            await asyncio.sleep(due - loop.time())

    async def _ask(self, due: float, waited: float) -> None:
        await self._question()
        # What other processes took of the processor is nobody's fault here.
        self._late.append(asyncio.get_running_loop().time() - due - (waited_for_processor() - waited))


class Ward:
    """An orchestrator over one healthy server and many sick ones."""

    def __init__(self, orchestrator: MCPOrchestrator, sick: list[str], until: Callable[..., Awaitable[Any]]) -> None:
        self.orchestrator = orchestrator
        self.sick = sick
        self._until = until
        self._pulse = Pulse(lambda: orchestrator.call_tool("echo", {"text": "x"}, server="well"))

    async def ask(self, questions: Mapping[str, str]) -> dict[str, Outcome]:
        """Ask sick servers side by side, each for its operation; meanwhile the healthy one answers as fast as ever."""
        found: dict[str, Outcome] = {}

        async def one(server_id: str, operation: str) -> None:
            found[server_id] = await outcome_of(ask(self.orchestrator, server_id, operation))

        async def all_questions() -> None:
            async with asyncio.TaskGroup() as tasks:
                for server_id, operation in questions.items():
                    tasks.create_task(one(server_id, operation))
                    await asyncio.sleep(SPREAD / len(questions))

        await self.beside(all_questions())
        return found

    async def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something; meanwhile the healthy server answers as fast as before."""
        quiet = await self._pulse.during(asyncio.sleep(0.5))
        busy = await self._pulse.during(work)
        usual = statistics.median(quiet)
        # Starting a process holds up its parent too until it runs, which on a busy machine takes a while: hence 0.9.
        assert busy[int(0.9 * len(busy))] - usual < EXTRA + quiet[-1] - usual, (quiet, busy)

    def since(self) -> dict[str, Any]:
        """Return since when each server has been connected."""
        return {key: self._info(key).last_connected for key in self.sick}

    async def recover(self, server_id: str) -> None:
        """Wait until the server answers a question that it has nothing against, on whatever connection."""

        async def answers() -> bool:
            client = self._info(server_id).client
            try:
                return client is not None and bool((await client.list_tools()).tools)
            except MCPOrchestratorException:
                return False

        await self._until(answers)

    def status(self, server_id: str) -> dict[str, Any]:
        return next(one for one in self.orchestrator.get_status()["servers"] if one["id"] == server_id)

    def _info(self, server_id: str) -> Any:
        return self.orchestrator.registry.get_server(server_id)


@pytest.fixture
def outcome() -> Callable[[Awaitable[Any]], Awaitable[Outcome]]:
    """Wait for a question, and return how it ended."""
    return outcome_of


@pytest.fixture
def by_stdio() -> Callable[..., dict[str, Any]]:
    """Return what a configuration says of a server with a fault over stdio."""

    def fields(fault: Any, *, on: str = "", size: int = 0, **others: Any) -> dict[str, Any]:
        command, *args = sick_command(fault, on=METHODS.get(on, on), size=size)
        return {"transport": "stdio", "command": command, "args": args, **others}

    return fields


@pytest.fixture
async def stack(serving: object) -> AsyncIterator[AsyncExitStack]:
    """Whatever is entered here lasts until all orchestrators are closed."""
    async with AsyncExitStack() as entered:
        yield entered


@pytest.fixture
def by_http(stack: AsyncExitStack) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Run a server with faults by method over HTTP until the test ends, and return what a configuration says of it."""

    async def fields(faults: Mapping[str, Any], *, legacy: bool = False, **others: Any) -> dict[str, Any]:
        answers = {METHODS.get(key, key): fault for key, fault in faults.items()}
        server = await stack.enter_async_context(sick_server(answers, legacy=legacy).listening())
        return {"transport": "streamable-http", "url": server.url, **others}

    return fields


@pytest.fixture
def proxied(stack: AsyncExitStack) -> Callable[[str], Awaitable[FaultProxy]]:
    """Put a network that can be broken in front of a URL: ``proxy = await proxied(url)``."""
    return lambda url: stack.enter_async_context(FaultProxy(url))


@pytest.fixture
async def ward(stack, configure, serving, leftovers, until) -> AsyncIterator[Callable[..., Awaitable[Ward]]]:
    """Connect to sick servers and a healthy one: ``await ward(servers)``. At the end nothing is left of that."""
    well = await serving(ScriptedServer("well"))
    left: list[tuple[MCPOrchestrator, Counter[str]]] = []

    def counted() -> Counter[str]:
        found = leftovers()
        running = [task.get_coro().__qualname__ for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        theirs = "_shutdown_watcher"  # a task of the SDK's server over SSE: one for each event loop, for ever
        return Counter(
            [name for name in running if name != theirs]
            + ["a descriptor"] * found["descriptors"]
            + [f"process {number}" for number in found["children"]]
        )

    async def admit(servers: Mapping[str, Mapping[str, Any]], **orchestration: Any) -> Ward:
        before = counted()
        sick = {key: {"timeout": 20, "request_timeout": 1, **fields} for key, fields in servers.items()}
        orchestrator = configure({"well": well, **sick}, **orchestration)
        left.append((orchestrator, before))
        await orchestrator.initialize()
        await orchestrator.list_tools()
        return Ward(orchestrator, list(servers), until)

    yield admit
    for orchestrator, before in left:
        async with asyncio.timeout(5):
            await orchestrator.close()
        await until(lambda before=before: counted() <= before)
