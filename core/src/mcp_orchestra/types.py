"""The records that plug-ins yield, and the protocols that what they make must follow.

Records are frozen and keyword-only, and grow by fields with defaults only, so a plug-in written today works with a
later core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from mcp_orchestra.addresses import AddressRules
from mcp_orchestra.diagnostics import Diagnostics
from mcp_orchestra.stores import CacheStore

if TYPE_CHECKING:
    from mcp.client import Transport
    from pydantic import BaseModel

__all__ = [
    "CacheBackendSpec",
    "Candidate",
    "Endpoint",
    "Question",
    "RoutingPolicy",
    "RoutingPolicySpec",
    "ServerState",
    "TransportSpec",
]

OptionsT = TypeVar("OptionsT")

ServerState = Literal[
    "pending",
    "connecting",
    "ready",
    "degraded",
    "backing_off",
    "circuit_open",
    "auth_required",
    "failed",
    "disabled",
    "closed",
]
"""Where a server's connection stands. ``failed`` and ``auth_required`` do not heal by themselves; ``ready`` and
``degraded`` answer questions."""


def _forget(_secret: str, /) -> None:
    """Take a secret where nothing is shown."""


@dataclass(frozen=True, kw_only=True)
class Endpoint(Generic[OptionsT]):
    """One server as a transport plug-in sees it: where it is and what binds the connection."""

    server_id: str
    """The server's key in the configuration."""
    url: str = field(default="", repr=False)
    """The configured address; empty where the transport has none. It may hold a secret: see ``safe_url``."""
    options: OptionsT = field(repr=False)
    """The transport's own fields, validated by its options model; None for a transport without one."""
    connect_timeout: float = 30.0
    """Seconds that core gives the whole connect; a transport may use less for its parts."""
    request_timeout: float = 30.0
    """Seconds that core gives each request."""
    max_message_bytes: int = 10 * 1024 * 1024
    """The largest single message to accept, in bytes, after any decompression."""
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    """Where to write what the server says outside the protocol (the standard error of a child process)."""
    addresses: AddressRules = field(default_factory=AddressRules, repr=False)
    """Where connections to whatever the server names may go."""
    hide: Callable[[str], None] = field(default=_forget, repr=False)
    """Takes a secret that was not in the configuration, such as a token from a file: it will not be shown anywhere."""


@dataclass(frozen=True, kw_only=True)
class TransportSpec:
    """A way to reach a server: what ``mcp_orchestra_transports`` yields."""

    name: str
    """What users write as ``transport:``; lower case, words joined by hyphens."""
    open: Callable[[Endpoint[Any]], Transport]
    """Makes a single-use transport, without connecting: the SDK's ``mcp.client.Transport``, an asynchronous context
    manager that connects on entry and yields a read and a write stream. Called once for each attempt."""
    options: type[BaseModel] | None = None
    """Validates the transport's own fields of a server's configuration. A field called ``url`` receives the common
    ``url``. Without a model the transport takes a ``url`` and nothing else."""
    aliases: tuple[str, ...] = ()
    """Other spellings of the name."""
    legacy_only: bool = False
    """The transport cannot carry the 2026-07-28 protocol: no probe is made."""
    deprecated: str | None = None
    """Why not to use it any more and what to use instead; logged once for each server."""
    spawns_process: bool = False
    """Connecting starts a process: core starts at most 16 of them at a time. Its options model has a field ``command``
    that holds the program, which is what ``orchestration.security.allowed_commands`` is about; where that is set, a
    transport that starts processes and has no such field is refused."""


@dataclass(frozen=True, kw_only=True)
class CacheBackendSpec:
    """A place for cached resources: what ``mcp_orchestra_cache_backends`` yields."""

    name: str
    """What users write as ``orchestration.cache.backend``."""
    open: Callable[[Any], CacheStore]
    """Makes the store from its validated options (None without an options model)."""
    options: type[BaseModel] | None = None
    """Validates ``orchestration.cache.options``."""
    blocking: bool = True
    """The store waits for a disk or a network: core calls it off the event loop."""
    persistent: bool = False
    """Entries outlive the process or are shared with others, so expiry is wall-clock time; else it is monotonic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What somebody wants to know, as far as it matters for who should answer."""

    kind: Literal["domain", "capability", "uri", "tool"]
    value: str
    key: str | None = None
    """What the caller wants the same server for each time (a user, a session); None if it does not care."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A server that could answer a question, as it stood when the question was asked."""

    server_id: str
    priority: int
    """1 to 999; lower goes first."""
    position: int
    """Its place in the order of registration."""
    connected: bool = True
    latency: float | None = None
    """Seconds that its last answer took; None before the first."""
    usable: bool = True
    """Whether it would be asked now: it is connected or started on first use, and is not left alone."""
    weight: int = 1
    """Its configured share among equals."""
    in_flight: int = 0
    """Requests that it has not answered yet."""
    peak_latency: float | None = None
    """Seconds, smoothed: follows a slower answer at once and faster ones slowly; None before the first."""
    share: float = 1.0
    """How much of its usual load it should get, in (0, 1]: less than 1 while it starts slowly after a recovery."""


class RoutingPolicy(Protocol):
    """Puts candidates into the order in which they are asked: synchronous, quick, and on the event loop only.

    It is asked for each question that has more than one candidate, and may remember what it answered. To explain what
    it would do, core asks a deep copy of it, so that nobody's turn is used up.
    """

    def order(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return the same candidates, each exactly once, in the order in which to ask them."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoutingPolicySpec:
    """A routing policy: what ``mcp_orchestra_routing_policies`` yields."""

    name: str
    """What users write as ``orchestration.routing.policy``."""
    create: Callable[[Any], RoutingPolicy]
    """Makes the policy from its validated options (None without an options model)."""
    options: type[BaseModel] | None = None
    """Validates ``orchestration.routing.options``."""
    stateful: bool = False
    """Equal questions about equal candidates may get different orders (round-robin). A promise to whoever tests or
    keeps a policy's answers: core does neither, and asks anew for each question either way."""
