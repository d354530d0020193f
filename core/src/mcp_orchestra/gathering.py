"""Answers questions for resources: of all servers at once, and of the best server for a domain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mcp_orchestra.cache import Answer, ResourceCache, Ticket, resources_key
from mcp_orchestra.connection.resources import fetch_resources
from mcp_orchestra.connections import Connections
from mcp_orchestra.errors import MCPOrchestratorException, NoMCPAvailableError, ResourceFetchError
from mcp_orchestra.failover import Failover, in_words, is_closing, unusable
from mcp_orchestra.handout import Handout
from mcp_orchestra.parts import copied_part, listed, server_part
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.suggest import did_you_mean
from mcp_orchestra.tasks import run_all
from mcp_orchestra.types import Question

__all__ = ["Gatherer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Assembled:
    """What was gathered last, as long as it would be gathered again."""

    ticket: Ticket
    registry_version: int
    shared: dict[str, Any]
    """The answer; not to be changed."""
    copies: dict[str, Callable[[], dict[str, Any]]]
    """What makes a copy of each server's part."""


@dataclass(kw_only=True)
class Gatherer:
    """Gathers resources through the cache."""

    registry: MCPRegistry
    connections: Connections
    cache: ResourceCache
    router: Router
    fail_fast: bool
    _assembled: _Assembled | None = None

    async def gather(self) -> dict[str, Any]:
        """Return the resources of every connected server under its display name, in priority order.

        Those of a server that is down are included if there is a copy that may be served while it is.

        Raises:
            NoMCPAvailableError: No server is connected.
            ResourceFetchError: A fetch failed, and the configuration says to fail fast.
        """
        if (last := self._assembled) is not None:
            if last.registry_version == self.registry.version and self.cache.honours(last.ticket):
                return Handout(last.shared, last.copies)
            self._assembled = None
        version, ticket = self.registry.version, self.cache.ticket()
        servers, answers = await self._cached()
        if not servers:
            await self.connections.revive(self.registry.get_all_servers())
            servers, answers = await self._cached()
        if not servers:
            raise self.connections.none_available()
        if len(answers) == len(servers) and (granted := self.cache.grant(ticket, answers)) is not None:
            self._assembled = _assemble(granted, version, servers, answers)
            return Handout(self._assembled.shared, self._assembled.copies)
        names = [info.name for info in servers]  # a reload may give one of them another's while they are asked
        missing = [info for info in servers if resources_key(info.server_id) not in answers]
        fetched = dict(zip((i.server_id for i in missing), await run_all(map(self._entry, missing)), strict=True))
        return {
            name: fetched.get(info.server_id) or _entry(info, answers[resources_key(info.server_id)])
            for name, info in zip(names, servers, strict=True)
        }

    async def domain(self, domain: str, key: str | None = None) -> dict[str, Any]:
        """Return the resources of one server that declares the domain: the first that can answer.

        Args:
            domain: The domain.
            key: What the caller wants the same server for each time.

        Raises:
            NoMCPAvailableError: No server declares the domain, or none that does is connected.
            ResourceFetchError: All that were asked failed.
        """
        declaring = self.registry.get_servers_by_domain(domain)
        if not declaring:
            known = self.registry.get_domains()
            raise NoMCPAvailableError(
                f"no server declares the domain {domain!r}{did_you_mean(domain, known)}",
                {"domain": domain, "known_domains": known, "candidates": {}},
            )
        enabled = [info for info in declaring if info.config.enabled]
        candidates = self.router.order(Question(kind="domain", value=domain, key=key), enabled)
        failover = Failover()
        found = await self._first(candidates, failover) or await self._stale(candidates)
        if found is None and failover.may_go_on and await self.connections.revive(candidates):
            found = await self._first(candidates, failover, last_resort=not failover.attempts)
        if found is not None:
            return found
        if (error := failover.error) is None:
            states = self.connections.states()
            raise NoMCPAvailableError(
                f"no server for the domain {domain!r} is connected{in_words(unusable(declaring))}",
                {
                    "domain": domain,
                    "known_domains": self.registry.get_domains(),
                    "candidates": {info.server_id: states[info.server_id] for info in declaring},
                },
            )
        last = failover.attempts[-1]
        raise ResourceFetchError(
            f"no server could answer for the domain {domain!r}: {last['reason']}{in_words(failover.passed_over)}",
            {**error.context, "server": last["server"], "server_id": last["server_id"], "domain": domain}
            | failover.facts(),
        ) from error

    async def _cached(self) -> tuple[list[MCPServerInfo], dict[str, Answer]]:
        """Return the servers that belong into an answer, and what is cached of them."""
        servers = self.registry.get_available_servers()
        down: set[str] = set()
        if self.cache.serves_stale:
            servers = [info for info in self.registry.get_all_servers() if info.config.enabled]
            # A circuit that is open says as much as a lost connection; whoever asks all the same waits for a timeout.
            down = {resources_key(info.server_id) for info in servers if not (info.connected and info.usable)}
        answers = await self.cache.lookup([resources_key(info.server_id) for info in servers], failing=down)
        for info in servers:
            if (answer := answers.get(resources_key(info.server_id))) is not None:
                self._follow(info, answer)
        return [info for info in servers if info.available or resources_key(info.server_id) in answers], answers

    async def _entry(self, info: MCPServerInfo) -> dict[str, Any]:
        try:
            answer = await self._fetch(info)
            return _entry(info, answer)
        except MCPOrchestratorException as error:
            if is_closing(error):
                raise
            if self.fail_fast:
                raise _fetch_error(info, error) from error
            return {**server_part(info, {}), "error": error.message}

    async def _fetch(self, info: MCPServerInfo, *, fall_back: bool = True) -> Answer:
        connection = self.connections[info.server_id]
        key = resources_key(info.server_id)
        return await self.cache.fetch(
            key, lambda: fetch_resources(connection), fall_back=fall_back, patience=connection.request_timeout
        )

    def _follow(self, info: MCPServerInfo, answer: Answer) -> None:
        """See to it that what is served from the cache is or becomes up to date, as far as its server can be asked."""
        if (connection := self.connections.get(info.server_id)) is None or not info.connected:
            return
        connection.cover_cached(lambda: [one["uri"] for one in listed(answer.data) if "contents" in one])
        if answer.stale:
            self.cache.refresh(resources_key(info.server_id), lambda: fetch_resources(connection))

    async def _first(
        self, candidates: Sequence[MCPServerInfo], failover: Failover, *, last_resort: bool = False
    ) -> dict[str, Any] | None:
        """Return the first candidate's resources, from the cache or fresh.

        Args:
            candidates: Whom to ask.
            failover: Keeps who was asked and failed.
            last_resort: Ask servers whose circuit is open, too: nobody else is left.
        """

        async def one(info: MCPServerInfo) -> dict[str, Any] | None:
            key = resources_key(info.server_id)
            if (answer := (await self.cache.lookup([key])).get(key)) is not None:
                self._follow(info, answer)
                return answer.copy()
            if not (info.usable or (last_resort and info.connected)):
                return None
            return (await self._fetch(info, fall_back=False)).copy()

        return await failover.ask(candidates, one, lambda _: "read")

    async def _stale(self, candidates: Sequence[MCPServerInfo]) -> dict[str, Any] | None:
        """Return the first candidate's resources that may be served while it fails: a fresh answer of any is better."""
        if not self.cache.serves_stale:
            return None
        keys = [resources_key(info.server_id) for info in candidates]
        answers = await self.cache.lookup(keys, failing=keys, counts=False)  # each was counted as a miss before
        return next((answers[key].copy() for key in keys if key in answers), None)


def _assemble(
    ticket: Ticket, version: int, servers: Sequence[MCPServerInfo], answers: Mapping[str, Answer]
) -> _Assembled:
    found = {info.name: (info, answers[resources_key(info.server_id)]) for info in servers}
    shared = {name: _part(info, answer, answer.data) for name, (info, answer) in found.items()}
    return _Assembled(
        ticket=ticket,
        registry_version=version,
        shared=shared,
        # Of the part and not of the server, which may be another one by the time somebody looks.
        copies={name: partial(copied_part, shared[name], answer.copy) for name, (_, answer) in found.items()},
    )


def _entry(info: MCPServerInfo, answer: Answer) -> dict[str, Any]:
    return _part(info, answer, answer.copy())


def _part(info: MCPServerInfo, answer: Answer, resources: Mapping[str, Any]) -> dict[str, Any]:
    # What is served while a server is down may be outdated, whatever its age: nobody would say so.
    return server_part(info, resources, stale=answer.stale or not info.connected)


def _fetch_error(info: MCPServerInfo, error: MCPOrchestratorException) -> ResourceFetchError:
    if isinstance(error, ResourceFetchError):
        return error
    return ResourceFetchError(error.message, {**error.context, "server": info.name, "server_id": info.server_id})
