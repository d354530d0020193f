"""The prompts of all servers: which there are, and how one finds its server."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp_orchestra.connection.faults import METHOD_NOT_FOUND
from mcp_orchestra.connections import Connections
from mcp_orchestra.errors import MCPConnectionError, MCPOrchestratorException, NoMCPAvailableError
from mcp_orchestra.failover import Failover, in_words, some
from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.selection import none_fits
from mcp_orchestra.tasks import run_all
from mcp_orchestra.types import Question

if TYPE_CHECKING:
    from mcp_types import GetPromptResult

__all__ = ["PromptInfo", "Prompter"]

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PromptInfo:
    """A prompt that can be had."""

    name: str
    server: str
    """Display name of its server."""
    server_id: str
    title: str | None = None
    description: str | None = None
    arguments: tuple[str, ...] = ()
    """Names of its arguments."""
    required: tuple[str, ...] = ()
    """Those of them that it needs."""


@dataclass(frozen=True, kw_only=True)
class Prompter:
    """Lists and gets prompts."""

    connections: Connections
    router: Router
    fail_fast: bool

    async def prompts(self) -> list[PromptInfo]:
        """Return the prompts of every server that can be asked, in priority order.

        Raises:
            NoMCPAvailableError: There is none.
            MCPConnectionError: One cannot list its prompts, and the configuration says to fail fast; or the
                orchestrator was closed meanwhile.
        """
        servers = await self.connections.available()
        return [prompt for listed in await run_all(map(self._listed, servers)) for prompt in listed]

    async def get(
        self,
        name: str,
        arguments: Mapping[str, str] | None,
        servers: Sequence[MCPServerInfo],
        question: Question | None,
    ) -> "GetPromptResult":
        """Return a prompt filled with arguments, from the first of these servers that gives it.

        Getting a prompt changes nothing, so that after any failure the next one may be asked.

        Args:
            name: The prompt's name.
            arguments: Its arguments.
            servers: Who may be asked, in priority order.
            question: Why just these; with it the routing policy decides about their order.

        Raises:
            NoMCPAvailableError: None of them is connected.
            MCPConnectionError: None of them gave it.
        """
        candidates = self.router.order(question, servers) if question is not None else servers
        failover = Failover()

        async def one(info: MCPServerInfo, *, last_resort: bool = False) -> "GetPromptResult | None":
            if not (info.usable or (last_resort and info.connected)):
                return None
            return await self.connections[info.server_id].client.get_prompt(name, arguments)

        answer = await failover.ask(candidates, one, lambda _: "read")
        if answer is None and failover.may_go_on:
            last_resort = not failover.attempts
            await self.connections.revive(candidates)  # any of them may be the only one that has it
            answer = await failover.ask(candidates, lambda info: one(info, last_resort=last_resort), lambda _: "read")
        if answer is not None:
            return answer
        facts = {"prompt": name, **failover.facts()}
        if (error := failover.error) is None:
            if not servers:
                raise NoMCPAvailableError(none_fits(question), facts)
            raise NoMCPAvailableError(
                f"no server is connected that could give the prompt {name!r}{in_words(failover.passed_over)}", facts
            )
        if len(failover.attempts) == 1 and not failover.passed_over:
            error.context.update(facts)
            raise error
        reasons = some([str(attempt["reason"]) for attempt in failover.attempts])
        raise MCPConnectionError(
            f"no server could give the prompt {name!r}: {reasons}{in_words(failover.passed_over)}",
            {**error.context, **facts},
        ) from error

    async def _listed(self, info: MCPServerInfo) -> list[PromptInfo]:
        try:
            listed = await self.connections[info.server_id].client.list_prompts()
        except MCPOrchestratorException as error:
            if error.context.get("code") == METHOD_NOT_FOUND:
                return []
            if self.fail_fast or self.connections.closed:
                raise
            logger.warning("%s", error.message)
            return []
        return [
            PromptInfo(
                name=prompt.name,
                server=info.name,
                server_id=info.server_id,
                title=prompt.title,
                description=prompt.description,
                arguments=tuple(argument.name for argument in prompt.arguments or ()),
                required=tuple(argument.name for argument in prompt.arguments or () if argument.required),
            )
            for prompt in listed.prompts
        ]
