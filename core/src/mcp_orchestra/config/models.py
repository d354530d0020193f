"""The configuration as typed models: what each field means, its unit, its bounds and its default."""

from ipaddress import ip_network
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mcp_orchestra.redaction import MASK

__all__ = [
    "CacheConfig",
    "LimitsConfig",
    "MCPConfig",
    "MCPServerConfig",
    "OrchestrationConfig",
    "PluginsConfig",
    "RoutingConfig",
    "RoutingRule",
    "SecurityConfig",
    "SupervisionConfig",
]

Seconds = Annotated[int | float, Field(gt=0, le=86_400, allow_inf_nan=False)]
"""A positive time in seconds, at most a day."""

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class _Model(BaseModel):
    # Strict: `no` is not a text and `"5"` not a number. Inputs stay out of messages: they may be secrets.
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


def _without_options(arguments: Any) -> Any:
    for name, value in arguments:
        yield name, dict.fromkeys(value, MASK) if name == "options" else value


class LimitsConfig(_Model):
    """How much of a server's answers is taken; each limit is named wherever it cuts something off."""

    max_message_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    """The largest single message, in bytes."""
    max_pages: int = Field(default=100, ge=1)
    """Pages of one listing."""
    max_items: int = Field(default=10_000, ge=1)
    """Items of one listing over all its pages."""
    max_resources_read: int = Field(default=200, ge=0)
    """Resources of one server whose contents are read; the others are listed without."""
    max_concurrent_reads: int = Field(default=8, ge=1)
    """Reads of one server that run at the same time."""
    resource_contents: bool = True
    """Whether the contents of resources are read at all; false lists them only."""


class SupervisionConfig(_Model):
    """How a server that fails is found out, left alone and taken back, and what may be asked of it at once."""

    failure_threshold: int = Field(default=5, ge=1)
    """Failures in a row after which a server is left alone for a while: its circuit opens."""
    health_check_interval: int | float = Field(default=30, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds (±20 %) after which a server that was not asked anything is asked whether it answers; 0 = never."""
    slow_start: int | float = Field(default=20, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds over which a server that has come back gets its full share of the questions again; 0 = at once."""
    max_concurrent_requests: int = Field(default=64, ge=1)
    """Requests to one server that are under way at the same time; further ones wait for their turn."""
    max_restarts_per_minute: int = Field(default=10, ge=1)
    """How often the process of one server is started within a minute, whatever happens."""


SettingsT = TypeVar("SettingsT", LimitsConfig, SupervisionConfig)


class MCPServerConfig(BaseModel):
    """Configuration of one MCP server.

    Fields beyond the ones below belong to the transport (``command``, ``headers``, …); its plug-in validates them.
    They stay out of ``repr()``, because they may hold secrets.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    """Display name, unique: the key of the server's resources."""
    url: str = ""
    """Where the server is; empty for a transport that needs no address."""
    priority: int = Field(default=100, ge=1, le=999)
    """1 to 999; the lower number is asked first."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Its share of the questions among servers of equal priority, under a routing policy that shares them out."""
    domains: list[str] = Field(default_factory=list)
    """What the server knows about."""
    capabilities: list[str] = Field(default_factory=list)
    """What the server can do."""
    transport: str = "sse"
    """Name of an installed transport."""
    timeout: Seconds = 30
    """Seconds for connecting, and for each request unless ``request_timeout`` is set."""
    request_timeout: Seconds | None = None
    """Seconds for each request."""
    enabled: bool = True
    """False keeps the server in the configuration without ever connecting to it."""
    mode: Literal["auto", "legacy", "2026-07-28"] = "auto"
    """The protocol era: found out by asking, or given."""
    safe_tools: list[str] = Field(default_factory=list)
    """Tools, by their own names, that may run twice: a call that may have run goes to another server; ``"*"`` = all."""
    start: Literal["at_once", "on_first_use"] = "at_once"
    """When to connect: while initialising, or when the first question needs the server."""
    idle_stop: Seconds | None = None
    """Seconds without a request after which a server with ``start: on_first_use`` is let go of, until it is needed."""

    max_message_bytes: int | None = Field(default=None, ge=1024)
    """Overrides ``orchestration.max_message_bytes`` for this server."""
    max_pages: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.max_pages`` for this server."""
    max_items: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.max_items`` for this server."""
    max_resources_read: int | None = Field(default=None, ge=0)
    """Overrides ``orchestration.max_resources_read`` for this server."""
    max_concurrent_reads: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.max_concurrent_reads`` for this server."""
    resource_contents: bool | None = None
    """Overrides ``orchestration.resource_contents`` for this server."""

    failure_threshold: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.failure_threshold`` for this server."""
    health_check_interval: int | float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    """Overrides ``orchestration.health_check_interval`` for this server."""
    slow_start: int | float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    """Overrides ``orchestration.slow_start`` for this server."""
    max_concurrent_requests: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.max_concurrent_requests`` for this server."""
    max_restarts_per_minute: int | None = Field(default=None, ge=1)
    """Overrides ``orchestration.max_restarts_per_minute`` for this server."""

    def may_repeat(self, tool: str) -> bool:
        """Return whether a call of this tool may be repeated elsewhere although it may have run here."""
        return tool in self.safe_tools or "*" in self.safe_tools

    def limits(self, defaults: LimitsConfig) -> LimitsConfig:
        """Return the limits in force for this server: its own, else the given ones."""
        return self._in_force(LimitsConfig, defaults)

    def supervision(self, defaults: SupervisionConfig) -> SupervisionConfig:
        """Return how this server is supervised: as it says itself, else as the given ones do."""
        return self._in_force(SupervisionConfig, defaults)

    def _in_force(self, model: type[SettingsT], defaults: SettingsT) -> SettingsT:
        names = model.model_fields
        own = {name: value for name in names if (value := getattr(self, name)) is not None}
        return model.model_construct(**{name: own.get(name, getattr(defaults, name)) for name in names})

    def __repr_args__(self) -> Any:
        """Show the address and the transport's fields by name only: a secret may stand in a path or host as well."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            yield name, MASK if name == "url" and value else value
        for name in self.model_extra or {}:
            yield name, MASK


class CacheConfig(_Model):
    """Where gathered resources are kept, and for how long they may be served."""

    backend: str = "memory"
    """Name of an installed cache backend."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The backend's own options."""
    ttl_policy: Literal["hint-or-default", "strict"] = "hint-or-default"
    """Without a positive ``ttlMs`` from the server: keep for ``resource_cache_ttl``, or (strict) do not keep."""
    max_stale: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    """Seconds beyond its time to live that an entry may be served while its server fails; 0 = never."""
    stale_while_revalidate: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    """Seconds beyond its time to live that an entry is served at once and refreshed behind; 0 = never."""
    ttl_jitter: int | float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    """The largest part by which a time to live is cut at random (0.1: up to a tenth), so that not all end together."""
    timeout: Seconds = 0.25
    """Seconds that a call to a backend on disk or over a network may take; the server is asked instead."""
    near_entries: int = Field(default=1000, ge=0)
    """Decoded entries that are kept in memory in front of a backend on disk or over a network; 0 = none."""
    near_seconds: int | float = Field(default=1, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds after which those are looked up again, unless the backend tells what other processes change."""

    def __repr_args__(self) -> Any:
        """Show the backend's options by name only: an address may hold a password."""
        return _without_options(super().__repr_args__())


class RoutingRule(_Model):
    """A routing policy and its options."""

    policy: str = "priority"
    """Name of an installed routing policy."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The policy's own options."""

    def __repr_args__(self) -> Any:
        """Show the policy's options by name only, as those of a cache backend."""
        return _without_options(super().__repr_args__())


class RoutingConfig(RoutingRule):
    """Which server is asked first: one policy for all, and others for single domains."""

    domains: dict[str, RoutingRule] = Field(default_factory=dict)
    """Policies for single domains."""


def _checked_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be a network such as 10.1.0.0/16 or fd00:1::/32, without host bits") from None
    return text


def _checked_command(text: str) -> str:
    if not text or (PurePath(text).name != text and not PurePath(text).is_absolute()):
        raise ValueError("must be a name, such as npx, or an absolute path")
    return text


class SecurityConfig(_Model):
    """What servers, and whoever writes their configuration, can make this program do."""

    allowed_networks: list[Annotated[str, AfterValidator(_checked_network)]] = Field(default_factory=list)
    """Networks that are not public and to which servers may lead us all the same, as in ``10.1.0.0/16``. The host of a
    server's own ``url`` need not be in any."""
    allowed_commands: list[Annotated[str, AfterValidator(_checked_command)]] | None = None
    """The only programs that servers may be started with: names, or absolute paths, exactly as the servers'
    ``command`` has them. Without the list, any."""
    tool_pins: str | None = Field(default=None, min_length=1)
    """A file with the digests of the tools that were looked at and approved, as ``mcp-orchestra pins --write`` writes
    it. A relative path starts at the configuration's folder. Without it every tool is taken as it is."""
    tool_pins_policy: Literal["block", "warn"] = "block"
    """What becomes of a tool that is new or changed since then: neither listed nor called, or only reported."""


class OrchestrationConfig(LimitsConfig, SupervisionConfig):
    """Behaviour of the orchestrator as a whole."""

    resource_cache_ttl: int = Field(default=300, ge=1, le=10_000_000_000)
    """Seconds for which gathered resources are fresh."""
    fail_fast: bool = True
    """Whether the first failure is raised; false keeps what works and retries the rest in the background."""
    enable_logging: bool = True
    """Whether the logger ``mcp_orchestra`` says anything."""
    log_level: LogLevel = "INFO"
    """Level of the logger ``mcp_orchestra``."""
    max_retries: int = Field(default=3, ge=0)
    """Attempts to connect after the first one while initialising, within the server's timeout."""
    cache: CacheConfig = Field(default_factory=CacheConfig)
    """Where resources are cached."""
    routing: RoutingConfig = Field(default_factory=RoutingConfig)
    """Which server is asked first."""
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    """Where connections may go and what may be started."""


class PluginsConfig(_Model):
    """Which installed plug-ins are used."""

    disabled: list[str] = Field(default_factory=list)
    """Names of plug-ins that are not even imported."""


class MCPConfig(_Model):
    """The complete configuration."""

    mcp_servers: dict[str, MCPServerConfig] = Field(default_factory=dict)
    """The servers under their ids, in the order in which equal priorities are asked."""
    orchestration: OrchestrationConfig = Field(default_factory=OrchestrationConfig)
    """Behaviour of the orchestrator."""
    plugins: PluginsConfig = Field(default_factory=PluginsConfig)
    """Which plug-ins are used."""
