"""Decides in one place whether a failed request may be put to another server, and puts it there.

Reads and listings change nothing and may go on. A tool call may only if it was certainly not delivered, or if the
configuration says that the tool may be repeated: running a tool twice is worse than an error. What a tool itself
reports (``is_error``) is a result and never gets here.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from mcp_orchestra.errors import MCPOrchestratorException
from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.telemetry import note_event

__all__ = [
    "Failover",
    "Purpose",
    "attempt_of",
    "in_words",
    "is_closing",
    "may_ask_another",
    "some",
    "unusable",
    "why_unusable",
]

ResultT = TypeVar("ResultT")

Purpose = Literal["read", "owned read", "call", "safe call"]
"""What was asked: a read or listing that others may answer as well, a read of what the server is known to have, a tool
call, or a call of a tool that the configuration lets us repeat."""

_Failure = Literal["undelivered", "unanswered", "internal", "refused"]
"""How it failed: certainly not carried out; carried out or not, without an answer that is one; by a failure inside of
the server; by the server's own word about this very request."""

_GOES_ON: Final[Mapping[Purpose, frozenset[_Failure]]] = {
    # Whoever is asked without being known to have it says "no such method" or "no such resource" for itself alone.
    "read": frozenset({"undelivered", "unanswered", "internal", "refused"}),
    # Its owner has spoken: another server's answer would be about another resource.
    "owned read": frozenset({"undelivered", "unanswered", "internal"}),
    "call": frozenset({"undelivered"}),
    "safe call": frozenset({"undelivered", "unanswered"}),
}
"""After which failures of what another server may be asked. Everything else is reported as it is."""

_INTERNAL_ERROR = -32603

_MOST_REASONS = 5
"""So many servers are named in a message; the error's context has them all."""


def may_ask_another(purpose: Purpose, error: MCPOrchestratorException) -> bool:
    """Return whether the next candidate may be asked after this error."""
    return _failure(error.context) in _GOES_ON[purpose]


def is_closing(error: MCPOrchestratorException) -> bool:
    """Return whether it is the orchestrator that ended this, and no server."""
    return error.context.get("cause") == "closed" and "server" not in error.context


def attempt_of(info: MCPServerInfo, error: MCPOrchestratorException) -> Mapping[str, Any]:
    """Return one attempt for the ``attempts`` of an error's context."""
    return {
        "server": info.name,
        "server_id": info.server_id,
        "reason": error.message,
        "cause": error.context.get("cause"),
        "delivered": error.context.get("delivered"),
    }


def why_unusable(info: MCPServerInfo) -> str | None:
    """Return why a server would not be asked now, or None if it would."""
    if info.usable:
        return None
    if not info.config.enabled:
        return "disabled"
    reason = f": {info.connection_error}" if info.connection_error else ""
    if info.state == "circuit_open":
        return f"its circuit is open{reason}"
    if info.connected:
        return info.connection_error or "it is left alone"
    return f"not connected ({info.state}){reason}"


def unusable(servers: Iterable[MCPServerInfo]) -> dict[str, str]:
    """Return which of these servers would not be asked now, by id, and why."""
    return {info.server_id: why for info in servers if (why := why_unusable(info)) is not None}


def in_words(reasons: Mapping[str, str]) -> str:
    """Return for the end of a message who was not asked, and why; empty if there is nobody.

    Args:
        reasons: As `unusable` returns them.
    """
    return f" ({some([f'{server_id}: {why}' for server_id, why in reasons.items()])})" if reasons else ""


def some(reasons: Sequence[str]) -> str:
    """Return the first few of these in one line, and how many more there are."""
    more = [f"and {len(reasons) - _MOST_REASONS} more"] if len(reasons) > _MOST_REASONS else []
    return "; ".join([*reasons[:_MOST_REASONS], *more])


@dataclass(kw_only=True)
class Failover:
    """One question on its way from server to server; each is asked at most once."""

    attempts: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    """Who was asked and failed."""
    passed_over: dict[str, str] = field(default_factory=dict[str, str])
    """Who was not asked, and why, by server id."""
    error: MCPOrchestratorException | None = None
    """How the last one failed."""
    _asked: set[str] = field(default_factory=set[str])
    _ended: bool = False

    @property
    def may_go_on(self) -> bool:
        """Whether some were passed over that may still be asked: nobody's failure has ended the question."""
        return bool(self.passed_over) and not self._ended

    async def ask(
        self,
        candidates: Iterable[MCPServerInfo],
        request: Callable[[MCPServerInfo], Awaitable[ResultT | None]],
        purpose: Callable[[MCPServerInfo], Purpose],
    ) -> ResultT | None:
        """Return the first answer, or None if nobody gave one.

        Args:
            candidates: Whom to ask, in this order.
            request: Asks one; None says that it cannot be asked now.
            purpose: What it is asked for; decides with the failure whether the next one is asked.

        Raises:
            MCPOrchestratorException: The orchestrator was closed meanwhile, which is no server's failure.
        """
        for info in candidates:
            if info.server_id in self._asked:
                continue
            try:
                answer = await request(info)
            except MCPOrchestratorException as error:
                if is_closing(error):
                    raise
                self._asked.add(info.server_id)
                self.passed_over.pop(info.server_id, None)
                self.error = error
                self.attempts.append(attempt_of(info, error))
                note_event(
                    "attempt", number=len(self.attempts), server=info.server_id, cause=str(error.context.get("cause"))
                )
                if not may_ask_another(purpose(info), error):
                    self._ended = True
                    return None
            else:
                if answer is not None:
                    return answer
                self.passed_over[info.server_id] = why_unusable(info) or "not asked"
        return None

    def pass_over(self, servers: Iterable[MCPServerInfo]) -> None:
        """Take note of servers that were no candidates because they cannot be asked now."""
        self.passed_over |= {key: why for key, why in unusable(servers).items() if key not in self._asked}

    def facts(self) -> dict[str, Any]:
        """Return what belongs into the context of the error that this ends with."""
        facts: dict[str, Any] = {"attempts": self.attempts}
        return {**facts, "passed_over": self.passed_over} if self.passed_over else facts


def _failure(context: Mapping[str, Any]) -> _Failure:
    if context.get("cause") == "rejected":
        return "internal" if context.get("code") == _INTERNAL_ERROR else "refused"
    return "undelivered" if context.get("delivered") == "no" else "unanswered"
