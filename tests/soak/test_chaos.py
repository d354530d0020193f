"""S16 over everything at once: every question to an orchestrator whose servers and networks do everything wrong.

``MCP_ORCHESTRA_TEST_SOAK_SECONDS`` says for how long (10), ``MCP_ORCHESTRA_TEST_SEED`` what happens.
"""

import asyncio
import logging
import math
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp_orchestra import (
    MCPConfig,
    MCPConnectionError,
    MCPOrchestrator,
    MCPOrchestratorException,
    ResourceFetchError,
    ToolCallError,
    ToolNotFoundError,
)

from .leftovers import left
from .moody_servers import LIMIT, MoodyServers, moody_servers

pytestmark = pytest.mark.anyio

LONG = "MCP_ORCHESTRA_TEST_SOAK_SECONDS" in os.environ
VARIANTS = [("memory", False), ("disk", True), *([("memory", True), ("disk", False)] if LONG else [])]
"""Cache backends, and whether to fail fast."""
SECONDS = float(os.environ.get("MCP_ORCHESTRA_TEST_SOAK_SECONDS", "10")) / len(VARIANTS)
ASKING = 60
"""How many ask at the same time."""
LONGEST = 30.0
"""Seconds that a question may take: it may have to be put to many servers, one after the other, that do not answer.
A short run does not wait for that and cancels what is under way at its end."""

Question = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Unheard(logging.Handler):
    """Collects what asyncio, the interpreter or the library complain about where no caller hears of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" or record.exc_info or "Traceback" in record.getMessage():
            self.complaints.append(f"{record.name}: {self.format(record)}")


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Unheard]:
    handler = Unheard()
    monkeypatch.setattr(sys, "unraisablehook", lambda found: handler.complaints.append(repr(found)))
    loggers = [logging.getLogger(name) for name in ("mcp_orchestra", "mcp.client", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


@dataclass
class Asker:
    """Asks whatever there is to ask, rightly and wrongly, and judges how it ends."""

    orchestrator: MCPOrchestrator
    configurations: Callable[[], MCPConfig]
    servers: list[str]
    chance: random.Random
    ended: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    async def go_on(self, seconds: float) -> None:
        """Ask all the time; besides start, stop and change the whole."""
        ends = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(self.live(ends), *(self.keep_asking(ends) for _ in range(ASKING)))

    async def keep_asking(self, ends: float) -> None:
        kinds = {self.question: 50, self.of_one_server: 40, self.wrong_call: 10}
        while asyncio.get_running_loop().time() < ends:
            kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
            name, question = kind()
            await self.ask(name, question, ends=ends, is_call_right=kind != self.wrong_call)
            if not self.orchestrator.get_status()["initialized"]:
                await asyncio.sleep(0.1)  # what is closed has one answer, and that at once

    async def live(self, ends: float) -> None:
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(self.chance.uniform(0.1, 0.7))
            name, question = self.about_life()
            await self.ask(name, question, ends=ends)
            if name in ("close", "managed_session") or self.chance.random() < 0.5:
                await self.ask("initialize", self.orchestrator.initialize, ends=ends)

    async def ask(self, name: str, question: Question, *, ends: float, is_call_right: bool = True) -> None:
        task = asyncio.create_task(question())
        remaining = max(0.0, ends - asyncio.get_running_loop().time())
        patience = self.chance.choice([0, 0.01, 0.1, 0.5]) if self.chance.random() < 0.2 else LONGEST
        await asyncio.wait({task}, timeout=min(patience, remaining + 1))
        if not task.done() and patience == LONGEST < remaining:
            self.wrong.append(f"{name} does not end")
        cancelled = task.cancel()
        await asyncio.wait({task}, timeout=LONGEST)
        self.judge(name, task, cancelled=cancelled, is_call_right=is_call_right)
        self.orchestrator.get_status()

    def judge(self, name: str, task: "asyncio.Task[Any]", *, cancelled: bool, is_call_right: bool) -> None:
        if not task.done():
            self.wrong.append(f"{name} does not end although it was cancelled")
            return
        error = None if task.cancelled() else task.exception()
        outcome = "cancelled" if task.cancelled() else "result" if error is None else type(error).__name__
        self.ended[f"{name if is_call_right else 'wrong call'}: {outcome}"] += 1
        expected = "cancelled" if cancelled else "a refusal" if not is_call_right else "an answer or our error"
        match error:
            case None:
                fits = task.cancelled() == cancelled and (cancelled or is_call_right)
            case TypeError() | ValueError():
                fits = not is_call_right and not cancelled
            case MCPOrchestratorException():
                fits = is_call_right and not cancelled
                self.causes[str(error.context.get("cause"))] += 1
                if missing := missing_in(name, error):
                    self.wrong.append(f"{name}: {error!r} lacks {missing}: {error.context}")
            case _:
                fits = False
        if not fits:
            self.wrong.append(f"{name} should have ended with {expected}, and not with {outcome}: {error!r}")

    def about_life(self) -> tuple[str, Question]:
        one, chance = self.orchestrator, self.chance

        async def session() -> None:
            async with one.managed_session():
                await asyncio.sleep(chance.uniform(0, 0.3))

        async def load() -> None:
            one.load_configuration()

        questions: dict[str, tuple[int, Question]] = {
            "close": (1, one.close),
            "managed_session": (1, session),
            "reload": (6, lambda: one.reload(self.configurations())),
            "reload a file": (1, lambda: one.reload("/nowhere/mcp_config.yaml")),
            "load_configuration": (1, load),
        }
        name = chance.choices(list(questions), [weight for weight, _ in questions.values()])[0]
        return name, questions[name][1]

    def question(self) -> tuple[str, Question]:
        one, chance = self.orchestrator, self.chance
        uri = chance.choice(["fault://0", "res://sse-auto/0", "res://well/0", "t://x", "nowhere://0"])
        tool = chance.choice(["echo", "well__echo", "slow", "fail", f"{chance.choice(self.servers)}__echo", "unknown"])
        server = chance.choice([None, None, *self.servers, "nobody"])
        narrowed: dict[str, str] = chance.choice([{}, {"domain": "d"}, {"capability": "c"}, {"domain": "nothing"}])
        timeout = chance.choice([None, 0.2, 1])
        about = chance.choice([{"domain": "d"}, {"capability": "c"}, {"uri": uri}, {"tool": tool}])
        key = chance.choice([None, "k"])
        questions: dict[str, Question] = {
            "gather": one.gather_all_resources,
            "domain": lambda: one.get_resources_for_domain(chance.choice(["d", "d", "nothing"]), key=key),
            "read": lambda: one.read_resource(uri, server=server, key=key),
            "tools": one.list_tools,
            "call": lambda: one.call_tool(tool, {"text": "x", "seconds": 0.1}, server=server, timeout=timeout),
            "call by": lambda: one.call_tool(tool, {"text": "x"}, timeout=timeout, key=key, **narrowed),
            "prompts": one.list_prompts,
            "prompt": lambda: one.get_prompt("greet", {"text": "you"}, server=server, key=key, **narrowed),
            "explain": lambda: one.explain(**about, key=key),
            "cache": self.use_cache,
        }
        name = chance.choice(list(questions))
        return name, questions[name]

    async def use_cache(self) -> None:
        cache, key = self.orchestrator.cache, f"resources:{self.chance.choice(self.servers)}"
        for use in (lambda: cache.get(key), cache.get_stats, cache.cleanup_expired, lambda: cache.invalidate(key)):
            use()

    def of_one_server(self) -> tuple[str, Question]:
        info = self.orchestrator.registry.get_server(self.chance.choice(self.servers))
        if info is None or info.client is None:
            return self.question()
        client = info.client
        questions: dict[str, Question] = {
            "list_resources": client.list_resources,
            "list_resource_templates": client.list_resource_templates,
            "list_tools": client.list_tools,
            "list_prompts": client.list_prompts,
            "read_resource": lambda: client.read_resource("fault://0"),
            "get_prompt": lambda: client.get_prompt("greet", {"text": "you"}),
            "call_tool": lambda: client.call_tool("echo", {"text": "x"}, timeout=self.chance.choice([None, 0.3])),
        }
        name = self.chance.choice(list(questions))
        return f"client.{name}", questions[name]

    def wrong_call(self) -> tuple[str, Question]:
        one: Any = self.orchestrator
        circle: dict[str, Any] = {}
        circle["itself"] = circle
        questions: dict[str, Question] = {
            "domain(7)": lambda: one.get_resources_for_domain(7),
            "domain(half a pair)": lambda: one.get_resources_for_domain("\ud800"),
            "domain(key=7)": lambda: one.get_resources_for_domain("d", key=7),
            "read(None)": lambda: one.read_resource(None),
            "read(server=7)": lambda: one.read_resource("fault://0", server=7),
            "read(key=7)": lambda: one.read_resource("fault://0", key=7),
            "call(None)": lambda: one.call_tool(None),
            "call(an object)": lambda: one.call_tool("echo", {"text": object()}),
            "call(no number)": lambda: one.call_tool("echo", {"text": math.nan}),
            "call(a circle)": lambda: one.call_tool("echo", circle),
            "call(a list)": lambda: one.call_tool("echo", ["text"]),
            "call(timeout=-1)": lambda: one.call_tool("echo", timeout=-1),
            "call(timeout='1')": lambda: one.call_tool("echo", timeout="1"),
            "call(server=[])": lambda: one.call_tool("echo", server=[]),
            "call(domain=[])": lambda: one.call_tool("echo", domain=[]),
            "call(capability=7)": lambda: one.call_tool("echo", capability=7),
            "call(key=7)": lambda: one.call_tool("echo", key=7),
            "prompt(7)": lambda: one.get_prompt(7),
            "prompt(a number)": lambda: one.get_prompt("greet", {"text": 7}),
            "prompt(domain=7)": lambda: one.get_prompt("greet", domain=7),
            "explain()": lambda: one.explain(),
            "explain(two)": lambda: one.explain(domain="d", tool="echo"),
            "explain(7)": lambda: one.explain(uri=7),
            "reload(7)": lambda: one.reload(7),
        }
        name = self.chance.choice(list(questions))
        return name, questions[name]


def missing_in(name: str, error: MCPOrchestratorException) -> set[str]:
    """Return which facts an error should have had: whose fault it is, if it is a server's."""
    concerns_a_server = isinstance(error, MCPConnectionError | ResourceFetchError | ToolCallError)
    if not concerns_a_server or isinstance(error, ToolNotFoundError) or "failed" in error.context:
        return set()
    needed = {"cause"}
    if name.startswith("client.") or error.context.keys() & {"server", "server_id"}:
        needed |= {"server", "server_id", "operation"}
    return needed - error.context.keys()


def configurations(
    servers: MoodyServers, backend: str, folder: Path, chance: random.Random, *, fail_fast: bool
) -> Callable[[], MCPConfig]:
    """Return what makes configurations, one different from the other."""

    def make() -> MCPConfig:
        common = {"timeout": 3 if fail_fast else 1, "request_timeout": 0.5, "max_message_bytes": LIMIT, "max_pages": 5}
        whose = {"domains": ["d"], "capabilities": ["c"]}
        chosen = chance.sample(list(servers.fields), len(servers.fields) - chance.randrange(3))
        return MCPConfig.model_validate(
            {
                "mcp_servers": {
                    name: {
                        "name": name.title(),
                        "priority": chance.randint(1, 3),
                        "max_restarts_per_minute": 60,
                        "failure_threshold": chance.choice([5, 1000, 1000]),
                        "safe_tools": chance.choice([[], ["*"]]),
                        **common,
                        **(whose if chance.random() < 0.5 else {}),
                        **servers.fields[name],
                    }
                    for name in chosen
                },
                "orchestration": {
                    "fail_fast": fail_fast,
                    "max_retries": 1,
                    "resource_cache_ttl": chance.randint(1, 3),
                    "cache": {
                        "backend": backend,
                        "options": {"directory": str(folder)} if backend == "disk" else {},
                        "max_stale": chance.choice([0, 2]),
                        "stale_while_revalidate": chance.choice([0, 2]),
                    },
                    "routing": {"policy": chance.choice(["priority", "round-robin", "least-latency", "sticky"])},
                },
            }
        )

    return make


@pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=["-".join(map(str, one)) for one in VARIANTS])
async def test_s16_whatever_goes_wrong_everybody_gets_an_answer_an_error_of_ours_or_what_they_deserve(
    tmp_path: Path, unheard: Unheard, variant: int
) -> None:
    backend, fail_fast = VARIANTS[variant]
    seed = int(os.environ.get("MCP_ORCHESTRA_TEST_SEED", random.randrange(10**6)))
    print(f"MCP_ORCHESTRA_TEST_SEED={seed}")
    chance = random.Random(seed)
    logging.getLogger("mcp_orchestra").setLevel(logging.WARNING)
    before = left()
    async with moody_servers(chance, variant, len(VARIANTS), startable=fail_fast) as servers:
        children = left()[2]
        make = configurations(servers, backend, tmp_path, chance, fail_fast=fail_fast)
        orchestrator = MCPOrchestrator(config=make())
        asker = Asker(orchestrator, make, list(servers.fields), chance)
        with suppress(MCPOrchestratorException):
            await orchestrator.initialize()
        shaking = asyncio.create_task(servers.shake(chance))
        await asker.go_on(SECONDS)
        async with asyncio.timeout(5):
            await orchestrator.close()
        shaking.cancel()
        await asyncio.wait({shaking})
        assert shaking.cancelled()
        async with asyncio.timeout(2):
            while left()[2] > children:
                await asyncio.sleep(0.05)
    print(f"{sum(asker.ended.values())} questions: {dict(sorted(asker.ended.items()))}")
    print(f"causes: {dict(asker.causes.most_common())}")
    assert "\n".join(sorted(set(asker.wrong))) == ""
    assert unheard.complaints == []
    async with asyncio.timeout(10):
        while not _nothing_more(left(), before):
            await asyncio.sleep(0.05)


def _nothing_more(now: tuple[set[str], int, int], before: tuple[set[str], int, int]) -> bool:
    return now[0] <= before[0] and now[1] <= before[1] and now[2] <= before[2]
