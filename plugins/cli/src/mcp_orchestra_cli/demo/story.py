"""The tour itself: every number it prints was measured, and every claim it makes is checked on the way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcp_orchestra_cli.commands.status import cache_table, server_table
from mcp_orchestra_cli.demo.children import START_SECONDS, Child
from mcp_orchestra_cli.demo.configuration import PREFERRED, SECOND
from mcp_orchestra_cli.demo.contents import ROLES
from mcp_orchestra_cli.demo.steps import Narrator, Step, milliseconds
from mcp_orchestra_cli.failures import CommandError

if TYPE_CHECKING:
    from mcp_orchestra.orchestrator import MCPOrchestrator

__all__ = ["Story"]

_DOMAIN = "products"
_NOTICE_SECONDS = 20.0
_POLL_SECONDS = 0.02


class Story:
    """Tells how an orchestrator with three servers fares.

    Args:
        orchestrator: Configured for the demo's servers, not yet connected.
        preferred: The server to kill and to start again.
        narrator: Who tells it.
    """

    def __init__(self, orchestrator: "MCPOrchestrator", preferred: Child, narrator: Narrator) -> None:
        self._orchestrator = orchestrator
        self._preferred = preferred
        self._narrator = narrator

    async def tell(self) -> dict[str, Any]:
        """Tell the whole story and return the last status.

        Raises:
            CommandError: Something did not go as it should.
        """
        for chapter in (
            self._connect,
            self._gather,
            self._ask,
            self._cached,
            self._kill,
            self._failover,
            self._recover,
        ):
            await chapter()
        status = self._orchestrator.get_status()
        self._narrator.step("status", "How things stand in the end")
        self._narrator.table(server_table(status))
        self._narrator.table(cache_table(status))
        return status

    async def _connect(self) -> None:
        step = self._narrator.step("initialize", "Connect to all servers at once")
        with self._narrator.progress("Connecting"):
            seconds, _ = await _timed(self._orchestrator.initialize)
        servers = self._orchestrator.get_status()["servers"]
        step.facts |= {"seconds": seconds, "connected": [s["id"] for s in servers if s["connected"]]}
        _expect(len(step.facts["connected"]) == len(servers), "a sample server did not connect", servers)
        for server in servers:
            self._narrator.say(
                f"{server['name']}: connected over {server['transport']}, protocol {server['protocol_version']}"
            )
        self._narrator.say(
            f"{len(servers)} servers in {milliseconds(seconds)}; a child process was started on the way."
        )

    async def _gather(self) -> None:
        step = self._narrator.step("gather", "Gather the resources of every server")
        with self._narrator.progress("Gathering"):
            seconds, gathered = await _timed(self._orchestrator.gather_all_resources)
        step.facts |= {"seconds": seconds, "resources": {name: list(e["resources"]) for name, e in gathered.items()}}
        for name, entry in gathered.items():
            self._narrator.say(f"{name}: {', '.join(entry['resources'])}")
        self._narrator.say(
            f"{sum(len(e['resources']) for e in gathered.values())} resources in {milliseconds(seconds)}."
        )

    async def _ask(self) -> None:
        step = self._narrator.step("ask", f"Ask for the domain {_DOMAIN}")
        self._narrator.say("What was just gathered is forgotten first, so that a server really has to answer.")
        self._forget()
        with self._narrator.progress("Asking"):
            step.facts |= await self._question()
        _expect(step.facts["server"] == PREFERRED, "the preferred server did not answer", step.facts)
        self._narrator.say(f"{_answer(step)}: of the two servers for {_DOMAIN} it has the better priority.")

    async def _cached(self) -> None:
        step = self._narrator.step("cache", "Ask again")
        before = self._orchestrator.get_status()["cache_stats"]["hits"]
        step.facts |= await self._question()
        step.facts["hits"] = self._orchestrator.get_status()["cache_stats"]["hits"] - before
        _expect(step.facts["hits"] == 1, "the second answer did not come from the cache", step.facts)
        self._narrator.say(
            f"The same answer from the cache, in {milliseconds(step.facts['seconds'])}; no server was asked."
        )

    async def _kill(self) -> None:
        step = self._narrator.step("kill", f"Kill the preferred server ({ROLES[PREFERRED].title})")
        self._narrator.say(f"kill -9 {self._preferred.pid}")
        step.facts["pid"] = self._preferred.pid
        self._preferred.kill()
        with self._narrator.progress("Waiting until the status says so"):
            seconds, server = await _timed(lambda: self._until(connected=False))
        step.facts |= {"seconds": seconds, "error": server["error"]}
        await self._preferred.gone()
        self._narrator.say(f"The status says so after {milliseconds(seconds)}: {server['error']}")

    async def _failover(self) -> None:
        step = self._narrator.step("failover", "Ask again, without it")
        self._narrator.say("A fresh copy in the cache would answer even for a dead server: so it is forgotten first.")
        self._forget()
        with self._narrator.progress("Asking"):
            step.facts |= await self._question()
        _expect(step.facts["server"] == SECOND, "the second server did not stand in", step.facts)
        self._narrator.say(f"{_answer(step)}: it declares {_DOMAIN} too, at a lower priority.")

    async def _recover(self) -> None:
        step = self._narrator.step("recovery", "Start the killed server again, at the same address")
        with self._narrator.progress("Starting it"):
            started, _ = await _timed(self._preferred.start)
        with self._narrator.progress("Waiting until it is connected again"):
            seconds, _ = await _timed(lambda: self._until(connected=True))
            step.facts |= {"start_seconds": started, "reconnect_seconds": seconds, **await self._question()}
        _expect(step.facts["server"] == PREFERRED, "the preferred server did not take over again", step.facts)
        self._narrator.say(f"It took {milliseconds(started)} to start and was connected {milliseconds(seconds)} later.")
        self._narrator.say(f"{_answer(step)}: first again, and nobody had to do anything.")

    async def _question(self) -> dict[str, Any]:
        """Ask for the domain, and return who answered, with what, and how long it took."""
        seconds, resources = await _timed(lambda: self._orchestrator.get_resources_for_domain(_DOMAIN))
        schemes = [resource["uri"].partition(":")[0] for resource in resources.values()]
        return {"seconds": seconds, "server": next(iter(schemes), None), "resources": list(resources)}

    def _forget(self) -> None:
        for server_id in (PREFERRED, SECOND):
            self._orchestrator.cache.invalidate(f"resources:{server_id}")

    async def _until(self, *, connected: bool) -> dict[str, Any]:
        """Return the preferred server's status once it is connected, or not."""
        server: dict[str, Any] = {}
        try:
            async with asyncio.timeout(START_SECONDS if connected else _NOTICE_SECONDS):
                while True:
                    servers = self._orchestrator.get_status()["servers"]
                    server = next(s for s in servers if s["id"] == PREFERRED)
                    if server["connected"] is connected:
                        return server
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise CommandError(
                f"the status of {PREFERRED} did not change in time", context={"server": server}
            ) from None


async def _timed(ask: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = await ask()
    return time.perf_counter() - started, answer


def _expect(holds: bool, otherwise: str, facts: object) -> None:
    if not holds:
        raise CommandError(otherwise, context={"facts": facts})


def _answer(step: Step) -> str:
    title = ROLES[step.facts["server"]].title
    return f"{title} answered in {milliseconds(step.facts['seconds'])}"
