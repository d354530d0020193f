"""Says who would be asked a question, in which order, and why, without asking it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mcp_orchestra.cache import ResourceCache, resources_key
from mcp_orchestra.catalogue import Catalogue
from mcp_orchestra.failover import why_unusable
from mcp_orchestra.reading import Reader, by_claim
from mcp_orchestra.registry import MCPRegistry, MCPServerInfo
from mcp_orchestra.routing import Router
from mcp_orchestra.tool_names import how_to_choose
from mcp_orchestra.types import Question, ServerState

__all__ = ["Explainer", "Explanation", "RankedServer"]


@dataclass(frozen=True, kw_only=True)
class RankedServer:
    """A server that could answer a question, and what its place in the order depends on."""

    server_id: str
    name: str
    """Display name."""
    because: str
    """Why it is a candidate."""
    priority: int
    state: ServerState
    usable: bool
    """Whether it would be asked now; else it is passed over."""
    weight: int
    share: float
    """How much of its usual load it should get, in (0, 1]."""
    in_flight: int
    """Requests that it has not answered yet."""
    latency: float | None
    """Seconds that its last answer took."""
    peak_latency: float | None
    """Seconds, smoothed."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What would become of a question."""

    question: Question
    policy: str
    """Name of the routing policy that orders the candidates."""
    candidates: tuple[RankedServer, ...]
    """All that could answer, in the order in which they are asked."""
    left_out: Mapping[str, str]
    """Who would not be asked, by server id, and why: those that are no candidates, and those that are passed over."""
    answers: str | None
    """Id of the server that would answer now; None if none would."""
    why: str


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The candidates of a question."""

    ordered: Sequence[MCPServerInfo]
    because: Mapping[str, str]
    """Why each is one."""
    otherwise: str
    """Why the others are none."""
    besides: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why some of the others are none in particular."""
    copies: Collection[str] = ()
    """Ids of those that would answer from the cache."""
    refused: str | None = None
    """Why nobody would be asked at all."""


@dataclass(kw_only=True)
class Explainer:
    """Explains questions."""

    registry: MCPRegistry
    cache: ResourceCache
    router: Router
    reader: Reader
    catalogue: Catalogue
    policy: str
    """Name of the routing policy for all questions that have no other."""
    domains: Mapping[str, str]
    """Names of the policies of single domains."""

    async def explain(self, question: Question) -> Explanation:
        """Return what would become of the question, as things stand."""
        match question.kind:
            case "domain":
                found = await self._domain(question)
            case "capability":
                found = self._capability(question)
            case "uri":
                found = await self._uri(question)
            case "tool":
                found = await self._tool(question)
        left_out = {
            info.server_id: _why_left_out(info, found)
            for info in self.registry.get_all_servers()
            if info.server_id not in found.because or not (info.usable or info.server_id in found.copies)
        }
        answers, why = self._who_answers(found)
        by_domain = self.domains.get(question.value) if question.kind == "domain" else None
        return Explanation(
            question=question,
            policy=by_domain or self.policy,
            candidates=tuple(_ranked(info, found.because[info.server_id]) for info in found.ordered),
            left_out=left_out,
            answers=answers,
            why=why,
        )

    async def _domain(self, question: Question) -> _Found:
        domain = question.value
        enabled = [info for info in self.registry.get_servers_by_domain(domain) if info.config.enabled]
        keys = {resources_key(info.server_id): info.server_id for info in enabled}
        cached = await self.cache.lookup(list(keys), counts=False)
        copies = {keys[key] for key in cached}
        known = ", ".join(self.registry.get_domains()) or "none"
        return _Found(
            ordered=self.router.preview(question, enabled),
            because={
                info.server_id: "has a cached copy" if info.server_id in copies else "declares the domain"
                for info in enabled
            },
            otherwise=f"does not declare the domain {domain!r}",
            copies=copies,
            refused=None if enabled else f"no enabled server declares the domain {domain!r}; known domains: {known}",
        )

    def _capability(self, question: Question) -> _Found:
        name = question.value
        enabled = [info for info in self.registry.get_servers_by_capability(name) if info.config.enabled]
        return _Found(
            ordered=self.router.preview(question, enabled),
            because={info.server_id: "declares the capability" for info in enabled},
            otherwise=f"does not declare the capability {name!r}",
            refused=None if enabled else f"no enabled server declares the capability {name!r}",
        )

    async def _uri(self, question: Question) -> _Found:
        ordered = self.router.preview(question, self.registry.get_all_servers())
        claims = await self.reader.claims(question.value, ordered)
        enabled = [info for info in by_claim(ordered, claims) if info.config.enabled]
        return _Found(
            ordered=enabled,
            because={info.server_id: claims[info.server_id] for info in enabled},
            otherwise="cannot be asked",
            refused=None if enabled else "no server is enabled",
        )

    async def _tool(self, question: Question) -> _Found:
        name = question.value
        holders, tool, besides = await self.catalogue.holders(name)
        refused = None
        if not holders:
            refused = f"no server lists the tool {name!r}"
        elif len(holders) > 1:
            refused = f"several servers offer it: {how_to_choose(holders, tool)}"
        return _Found(
            ordered=self.router.preview(question, holders),
            because={info.server_id: "lists the tool" for info in holders},
            otherwise=f"does not list the tool {name!r}",
            besides=besides,
            refused=refused,
        )

    def _who_answers(self, found: _Found) -> tuple[str | None, str]:
        if found.refused is not None:
            return None, found.refused
        for info in found.ordered:
            if info.server_id in found.copies:
                return info.server_id, "the first that has a cached copy or can be asked: it has a copy"
            if info.usable:
                return info.server_id, f"the first in this order that can be asked: {found.because[info.server_id]}"
        for info in found.ordered:
            if info.state == "circuit_open" and self.registry.is_last(info):
                return info.server_id, "the last resort: its circuit is open, but nobody else is left"
        return None, "none of the candidates can be asked; the question would first try to connect them as planned"


def _why_left_out(info: MCPServerInfo, found: _Found) -> str:
    unusable = why_unusable(info)
    if unusable is not None and (info.server_id in found.because or not info.config.enabled):
        return unusable
    return found.besides.get(info.server_id, found.otherwise)


def _ranked(info: MCPServerInfo, because: str) -> RankedServer:
    return RankedServer(
        server_id=info.server_id,
        name=info.name,
        because=because,
        priority=info.config.priority,
        state=info.state,
        usable=info.usable,
        weight=info.config.weight,
        share=info.share,
        in_flight=info.in_flight,
        latency=info.latency,
        peak_latency=info.peak_latency,
    )
