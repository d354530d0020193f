"""Connections to real MCP servers in this process, over a scripted transport and in simulated time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import anyio
import looptime
import mcp_types as types
import pytest
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig, SupervisionConfig
from mcp_orchestra.connection.budget import ReconnectBudget
from mcp_orchestra.connection.owner import Connection, ConnectionServices
from mcp_orchestra.connection.spawning import Spawning
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.telemetry import Telemetry
from mcp_orchestra.testing.servers import ScriptedServer
from mcp_orchestra.types import Endpoint, TransportSpec


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """An event loop whose clock jumps to the next thing that is due: hours pass in milliseconds."""
    return "asyncio", {"loop_factory": looptime.new_event_loop}


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Make the jitter of the back-off the same in every run."""
    state = random.getstate()
    random.seed(11)
    yield
    random.setstate(state)


@pytest.fixture
async def deadline() -> AsyncIterator[None]:
    """End what would wait for ever: with this timer set, simulated time always gets somewhere."""
    async with asyncio.timeout(7 * 86_400):
        yield


PASS = "pass"


@dataclass(kw_only=True)
class Manner:
    """How one attempt to connect goes."""

    fails: BaseException | None = None
    """Raised on entry."""
    entering: float = 0.0
    """Seconds before the streams are there."""
    leaving: float = 0.0
    """Seconds that letting go of the server takes."""
    stubborn: bool = False
    """Whether that goes on in spite of being cancelled."""
    silent: bool = False
    """Whether requests are taken and never answered."""


class Link:
    """One transport: entered and left by one task, with a server of its own behind it."""

    def __init__(self, upstream: "Upstream", manner: Manner) -> None:
        self.upstream = upstream
        self.manner = manner
        self.cancellations = 0
        """How often its task was cancelled while it was letting go."""
        self._break: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers: Any = None

    async def send(self, message: SessionMessage) -> None:
        """Take a message from the client: pass it on, or do what the test says instead."""
        request = message.message
        method = getattr(request, "method", "")
        self.upstream.asked[method] += 1
        instead = self.upstream.instead.get(method, PASS)
        if isinstance(instead, list):
            instead = instead.pop(0) if instead else PASS
        match ... if self.manner.silent else instead:
            case "pass":
                await self._requests.send(message)
            case types.ErrorData() as error:
                answer = types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)
                await self._answers.send(SessionMessage(answer))
            case dict() as result:
                response = types.JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)
                await self._answers.send(SessionMessage(response))
            case asyncio.Event() as accepted:
                await accepted.wait()
            case BaseException() as failure:
                raise failure
            case _:
                pass  # swallowed

    async def hang_up(self) -> None:
        """End the read side, as a server does that dies."""
        await self._answers.aclose()

    def crash(self, error: Exception) -> None:
        """Fail in the transport's own task group, which then cancels the task that entered it."""
        self._break.set_exception(error)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        task = asyncio.current_task()
        try:
            await asyncio.sleep(self.manner.entering)
            if self.manner.fails is not None:
                raise self.manner.fails
            async with (
                create_client_server_memory_streams() as ((read, requests), (server_read, self._answers)),
                anyio.create_task_group() as group,
            ):
                self._requests = requests
                server = self.upstream.server.server
                group.start_soon(server.run, server_read, self._answers, server.create_initialization_options())
                group.start_soon(self._wait_for_the_break)
                try:
                    yield read, _Requests(self)
                finally:
                    group.cancel_scope.cancel()
        finally:
            if asyncio.current_task() is not task:
                self.upstream.faults.append("left in another task than it was entered in")
            await self._let_go()

    async def _wait_for_the_break(self) -> None:
        await self._break

    async def _let_go(self) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self.manner.leaving
        while clock() < end:
            try:
                await asyncio.sleep(max(end - clock(), 0.001))  # a rest too small to move the clock would never end
            except asyncio.CancelledError:
                self.cancellations += 1
                if not self.manner.stubborn:
                    raise


class _Requests:
    """The client's end for writing."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def send(self, message: SessionMessage) -> None:
        await self._link.send(message)

    async def aclose(self) -> None:
        await self._link._requests.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


@dataclass
class Upstream:
    """A server and the ways to reach it."""

    server: ScriptedServer = field(default_factory=ScriptedServer)
    script: list[Manner] = field(default_factory=list)
    """How the next attempts go, in turn."""
    afterwards: Manner = field(default_factory=Manner)
    """How all further attempts go."""
    instead: dict[str, Any] = field(default_factory=dict)
    """What happens to requests with these methods: an error or a result in the server's place, a failure to send, an
    event to wait for before they are accepted, nothing at all (``...``), or ``"pass"``. A list is gone through."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each method was asked for."""
    attempts: list[float] = field(default_factory=list)
    """When transports were entered."""
    links: list[Link] = field(default_factory=list)
    open: int = 0
    """How many transports are entered and not yet left."""
    faults: list[str] = field(default_factory=list)
    _begun: asyncio.Future[None] | None = None

    @property
    def link(self) -> Link:
        """The latest transport."""
        return self.links[-1]

    async def attempted(self, times: int) -> None:
        """Wait until that many attempts have begun."""
        while len(self.attempts) < times:
            self._begun = asyncio.get_running_loop().create_future()
            await self._begun

    def spec(self, **flags: Any) -> TransportSpec:
        return TransportSpec(name="scripted", open=self._open, **flags)

    @asynccontextmanager
    async def _open(self, _endpoint: Endpoint[None]) -> AsyncIterator[Any]:
        link = Link(self, self.script.pop(0) if self.script else self.afterwards)
        self.links.append(link)
        self.attempts.append(asyncio.get_running_loop().time())
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)
        self.open += 1
        try:
            async with link.open() as streams:
                yield streams
        finally:
            self.open -= 1


class RecordingRegistry(MCPRegistry):
    """A registry that remembers when which attempts were promised."""

    def __init__(self) -> None:
        super().__init__()
        self.promised: list[float] = []

    def mark_disconnected(self, server_id: str, error: str | None = None, **more: Any) -> None:
        super().mark_disconnected(server_id, error, **more)
        if more.get("retry_at") is not None:
            self.promised.append(more["retry_at"])


@pytest.fixture
def registry() -> RecordingRegistry:
    return RecordingRegistry()


class Told(list[tuple[str, frozenset[str]]]):
    """What is said to have changed, in order: the server's id, and what of its offer."""

    def tell(self, server_id: str, changes: Collection[str]) -> None:
        self.append((server_id, frozenset(changes)))

    def take(self) -> list[frozenset[str]]:
        """Return what was said since this was last called."""
        said = [changes for _, changes in self]
        self.clear()
        return said


@pytest.fixture
def changed() -> Told:
    return Told()


@pytest.fixture
def upstream() -> Callable[..., Upstream]:
    """Make servers: ``upstream({"fails": error}, {"silent": True})`` says how the first two attempts go."""

    def make(*script: dict[str, Any], afterwards: dict[str, Any] | None = None, **fields: Any) -> Upstream:
        manners = [Manner(**manner) for manner in script]
        return Upstream(script=manners, afterwards=Manner(**(afterwards or {})), **fields)

    return make


@pytest.fixture
async def connect(deadline, registry, changed) -> AsyncIterator[Callable[..., Connection]]:
    """Make connections, not yet opened; at the end they are closed, and then nothing may be left of them."""
    made: list[tuple[Connection, Upstream]] = []
    spawning = Spawning()
    budget = ReconnectBudget(lambda: len(made), asyncio.get_running_loop().time)

    def make(
        upstream: Upstream,
        server_id: str = "a",
        *,
        max_retries: int = 3,
        secrets: Any = (),
        spec: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Connection:
        config = MCPServerConfig.model_validate({"name": server_id.title(), "timeout": 30, **fields})
        registry.register_server(server_id, config)
        connection = Connection(
            server_id,
            config,
            upstream.spec(**(spec or {})),
            None,
            limits=config.limits(LimitsConfig()),
            supervision=config.supervision(SupervisionConfig(health_check_interval=0)),
            max_retries=max_retries,
            services=ConnectionServices(
                registry=registry,
                telemetry=Telemetry(),
                redact=Redactor(secrets),
                spawning=spawning,
                budget=budget,
                changed=changed.tell,
            ),
        )
        made.append((connection, upstream))
        return connection

    yield make
    for connection, _ in made:
        await connection.close()
    await asyncio.sleep(120)  # an abandoned transport may still be letting go
    assert [fault for _, upstream in made for fault in upstream.faults] == []
    assert [upstream.open for _, upstream in made if upstream.open] == []
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())] == []


@pytest.fixture
def clock() -> Callable[[], float]:
    """Simulated seconds."""
    return lambda: asyncio.get_running_loop().time()
