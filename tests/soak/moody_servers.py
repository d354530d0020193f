"""Servers that do everything wrong that `mcp_orchestra.testing.faults` knows, now this and now that, and some well."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

from mcp.shared.exceptions import MCPError
from mcp_orchestra.testing.faults import FaultProxy, StdioFault, http, sick_command, sick_server
from mcp_orchestra.testing.raw_http import Answer, RawRequest, json_answer
from mcp_orchestra.testing.servers import ScriptedServer, serve

__all__ = ["LIMIT", "MoodyServers", "moody_servers"]

LIMIT = 100_000
"""The ``max_message_bytes`` that their faults are made for."""

_METHODS = ("resources/list", "resources/read", "tools/list", "tools/call")
_NEVER_STARTS = {"silent", "exits-at-once"}
_SIZES = {"deep-json": 5_000, "huge-line": 3 * LIMIT, "floods-stderr": 3 * LIMIT}
_LISTENS_TO_NOTHING = {"ignores-shutdown", "stops-reading"}  # takes seconds to close

_NOTIFICATION = 'data: {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}'
_LACKING = {"requiredCapabilities": {"sampling": {}}}
HTTP_FAULTS: tuple[Answer, ...] = (
    *(http.hang, http.headers_then_hang, http.drip(0.1), http.endless_events(), http.endless_events(_NOTIFICATION)),
    *(http.status(status) for status in (400, 401, 403, 404, 405, 409, 413, 500, 502)),
    *(http.status(429, retry_after="1"), http.status(503, retry_after="1"), http.redirect("http://198.51.100.1/mcp")),
    *(http.forgotten_session, http.cut_body, http.cut_events, http.garbage, http.malformed, http.foreign_id),
    *(http.deep_json(5_000), http.not_a_number, http.huge_body(3 * LIMIT), http.huge_event(3 * LIMIT)),
    *(http.gzip_bomb(30 * LIMIT), http.endless_cursor, http.repeated_cursor),
    *(json_answer(error={"code": code, "message": "no"}) for code in (-32603, -32602, -32601, -32600, -32000, 1000)),
    json_answer(400, error={"code": -32021, "message": "no", "data": _LACKING}),
)


def _late(proxy: FaultProxy) -> None:
    proxy.upstream.latency, proxy.downstream.jitter = 0.1, 0.2


def _drip(proxy: FaultProxy) -> None:
    proxy.downstream.drip = (1, 0.05)


def _garbage(proxy: FaultProxy) -> None:
    proxy.downstream.garbage = b"\x00\xff garbage\r\n\r\n"


def _lose_answers(proxy: FaultProxy) -> None:
    proxy.downstream.swallow = True


_NETWORK_FAULTS: tuple[Callable[[FaultProxy], object], ...] = (
    *(_late, _drip, _garbage, _lose_answers, FaultProxy.refuse, FaultProxy.black_hole, FaultProxy.pause),
    *(FaultProxy.reset, lambda proxy: proxy.downstream.cut(after=20), lambda proxy: proxy.upstream.reset(after=20)),
    *(lambda proxy: proxy.downstream.reset(after=20), lambda proxy: proxy.upstream.cut(after=20)),
)


@dataclass(frozen=True)
class _Mood:
    """Answers as one should, or in any other way."""

    chance: random.Random
    bad: float
    """How often it is bad, in [0, 1]."""

    def answer(self, request: RawRequest, well: Answer = http.healthy) -> Any:
        chosen = self.chance.choice(HTTP_FAULTS) if self.chance.random() < self.bad else well
        if request.message.get("id") is None and callable(chosen):  # a notification has no answer to spoil
            chosen = http.status(202)
        elif chosen is http.endless_cursor and not isinstance(request.message.get("params"), dict):
            chosen = http.garbage
        return chosen(request) if callable(chosen) else chosen


class _MoodyServer(ScriptedServer):
    """Fails inside: with errors of any code, with exceptions, by taking too long, by offering what it has not."""

    def __init__(self, name: str, chance: random.Random) -> None:
        super().__init__(name, tools=["echo", "slow", "fail"], prompts={"greet": "Hello {text}"}, templates=["t://{x}"])
        self.chance = chance

    async def _answering(self, method: str) -> None:
        await super()._answering(method)
        await self._be_moody()

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        await self._be_moody()
        return await super()._call_tool(ctx, params)

    async def _be_moody(self) -> None:
        if self.chance.random() < 0.2:
            await asyncio.sleep(self.chance.choice([0.05, 5]))
        if self.chance.random() < 0.2:
            raise self.chance.choice([MCPError(-32603, "inside"), MCPError(-32602, "what?"), MCPError(7, "\ud7ff\n{")])


@dataclass
class MoodyServers:
    """What a configuration says of them, and the networks between."""

    fields: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    proxies: list[FaultProxy] = field(default_factory=list[FaultProxy])

    async def shake(self, chance: random.Random) -> None:
        """Break one network after the other and mend it, until cancelled."""
        while True:
            proxy = chance.choice(self.proxies)
            fault = chance.choice(_NETWORK_FAULTS)(proxy)
            if asyncio.iscoroutine(fault):
                await fault
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            await proxy.heal()
            await asyncio.sleep(chance.uniform(0.2, 1))


def dealt(chance: random.Random, hand: int, hands: int) -> Sequence[StdioFault]:
    """Return a hand of the faults over stdio: all hands of one seed have all of them, the last one the slowest."""
    faults = [fault for fault in get_args(StdioFault) if fault not in _NEVER_STARTS | _LISTENS_TO_NOTHING]
    chance.shuffle(faults)
    return [*faults[hand::hands], *(sorted(_LISTENS_TO_NOTHING) if hand == hands - 1 else ())]


@asynccontextmanager
async def moody_servers(
    chance: random.Random, hand: int, hands: int, *, startable: bool
) -> AsyncIterator[MoodyServers]:
    """Run them.

    Args:
        chance: Decides about everything.
        hand: Which of the faults over stdio, see `dealt`.
        hands: How many hands there are.
        startable: Whether all of them can be connected to, most of the time.
    """
    found = MoodyServers()
    async with AsyncExitStack() as stack:
        at_start = _Mood(chance, 0.0 if startable else 0.2)
        later = _Mood(chance, 0.5)
        for name, legacy in {"modern": False, "legacy": True}.items():
            server = sick_server(dict.fromkeys(_METHODS, later.answer), legacy=legacy)
            for method in ("server/discover", "initialize"):
                if (well := server.answers.get(method)) is not None:
                    server.answers[method] = lambda request, well=well: at_start.answer(request, well)
            await stack.enter_async_context(server.listening())
            found.fields[name] = {"transport": "streamable-http", "url": server.url}
        for transport, mode in [("streamable-http", "auto"), ("streamable-http", "legacy"), ("sse", "auto")]:
            name = f"{transport}-{mode}"
            url = await stack.enter_async_context(serve(_MoodyServer(name, chance), transport))
            proxy = await stack.enter_async_context(FaultProxy(url, seed=chance.randrange(10**6)))
            found.proxies.append(proxy)
            found.fields[name] = {"transport": transport, "url": proxy.url, "mode": mode}
        well = await stack.enter_async_context(serve(ScriptedServer("well", prompts={"greet": "Good morning"})))
        found.fields["well"] = {"transport": "streamable-http", "url": well}
        faults = [*dealt(chance, hand, hands), *(() if startable else sorted(_NEVER_STARTS))]
        for fault in faults:
            on = "" if chance.random() < 0.3 else ",".join(chance.sample(_METHODS, 2))
            command, *args = sick_command(fault, on=on, size=_SIZES.get(fault, 0))
            found.fields[fault] = {"transport": "stdio", "command": command, "args": args}
        yield found
