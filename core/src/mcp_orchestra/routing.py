"""From a question to the order in which servers are asked: a routing policy decides, and is not trusted to."""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import islice
from types import MappingProxyType

from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.types import Candidate, Question, RoutingPolicy

__all__ = ["Router", "candidate"]

_logger = logging.getLogger("mcp_orchestra.routing")

_NO_RULES: Mapping[str, RoutingPolicy] = MappingProxyType({})


def candidate(info: MCPServerInfo) -> Candidate:
    """Return what a routing policy gets to know about a server, as it stands now."""
    return Candidate(
        server_id=info.server_id,
        priority=info.config.priority,
        position=info.position,
        connected=info.connected,
        latency=info.latency,
        usable=info.usable,
        weight=info.config.weight,
        in_flight=info.in_flight,
        peak_latency=info.peak_latency,
        share=info.share,
    )


class Router:
    """Orders servers by routing policies: one for all questions, and others for single domains.

    A policy that raises, or whose answer is not a permutation of the candidates, is overruled for that question: the
    order is then (priority, position). The first time it happens one warning names the policy.

    Args:
        default: Answers every question for which there is no other policy.
        domains: Policies for questions about single domains.
    """

    def __init__(self, default: RoutingPolicy, domains: Mapping[str, RoutingPolicy] = _NO_RULES) -> None:
        self._default = default
        self._domains = dict(domains)
        # Identities, for a policy need not be hashable and lives as long as this; and whether a copy of it failed.
        self._overruled: set[tuple[int, bool]] = set()

    def order(self, question: Question, servers: Sequence[MCPServerInfo]) -> list[MCPServerInfo]:
        """Return the servers in the order in which to ask them; never more, never fewer.

        Args:
            question: What somebody wants to know.
            servers: Those that could answer, with distinct ids.
        """
        return self._ordered(question, servers)

    def preview(self, question: Question, servers: Sequence[MCPServerInfo]) -> list[MCPServerInfo]:
        """Return the order that `order` would return next, without using up anybody's turn.

        Args:
            question: What somebody may want to know.
            servers: Those that could answer, with distinct ids.
        """
        return self._ordered(question, servers, copied=True)

    def _ordered(
        self, question: Question, servers: Sequence[MCPServerInfo], *, copied: bool = False
    ) -> list[MCPServerInfo]:
        if len(servers) < 2:
            return list(servers)
        policy = self._policy(question)
        ordered, fault = _asked(policy, question, servers, copied=copied)
        if fault is not None and (id(policy), copied) not in self._overruled:
            self._overruled.add((id(policy), copied))
            _logger.warning(
                "the routing policy %s %s (%s the %s %r): its answers are overruled by priority whenever that happens",
                type(policy).__qualname__,
                fault,
                "copied to explain" if copied else "asked for",
                question.kind,
                question.value,
            )
        return ordered

    def _policy(self, question: Question) -> RoutingPolicy:
        return self._domains.get(question.value, self._default) if question.kind == "domain" else self._default


def _asked(
    policy: RoutingPolicy, question: Question, servers: Sequence[MCPServerInfo], *, copied: bool
) -> tuple[list[MCPServerInfo], str | None]:
    """Return the order that a policy or a copy of it gives; if that is none, by priority, and what is wrong with it."""
    candidates = [candidate(info) for info in servers]
    by_id = {info.server_id: info for info in servers}
    try:
        asked = deepcopy(policy) if copied else policy
        # The copy is the policy's own; one candidate too many shows that it added some, however many those are.
        answer = list(islice(asked.order(question, list(candidates)), len(candidates) + 1))
        if _is_permutation(answer, candidates):
            return [by_id[chosen.server_id] for chosen in answer], None
        fault = "did not return each candidate exactly once"
    except Exception as error:  # noqa: BLE001 - a policy is a stranger's code: whatever it raises is contained
        fault = f"raised {type(error).__name__}"
    return sorted(servers, key=lambda info: (info.config.priority, info.position)), fault


def _is_permutation(answer: Sequence[object], candidates: Sequence[Candidate]) -> bool:
    if len(answer) != len(candidates):
        return False
    # Comparing all fields takes longer than most policies do, and is needed only where one made candidates of its own.
    return set(map(id, answer)) == set(map(id, candidates)) or set(answer) == set(candidates)
