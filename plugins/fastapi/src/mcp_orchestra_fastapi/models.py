"""What the routes take and answer, as it appears in the application's OpenAPI document."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CacheStats",
    "Content",
    "ErrorBody",
    "Failure",
    "Invalidated",
    "Invalidation",
    "Resource",
    "ServerResources",
    "ServerStatus",
    "Status",
]


class Failure(BaseModel):
    """What went wrong, as far as a caller may know."""

    type: str = Field(examples=["NoMCPAvailableError"])
    """The error's documented class, ``InvalidRequest`` or ``InternalError``."""
    message: str = Field(examples=["no MCP server that could answer is available"])
    """One line, of this library's own words."""
    id: str = Field(examples=["0f8fad5bd9cb469fa16570867728950e"])
    """What the log's line with the full error contains too."""


class ErrorBody(BaseModel):
    """The body of every error that the router itself answers with."""

    error: Failure


class Content(BaseModel):
    """One content of a resource: a text, or a blob in base64."""

    uri: str
    mime_type: str | None
    text: str | None = None
    blob: str | None = None


class Resource(BaseModel):
    """A resource of one server. Fields that do not apply are absent."""

    uri: str
    name: str
    mime_type: str | None
    title: str | None = None
    description: str | None = None
    size: int | None = None
    data: str | None = None
    """The text of the first content that is a text."""
    contents: list[Content] | None = None
    error: Failure | None = None
    """Why there are no contents, if reading failed."""
    skipped: str | None = None
    """The limit that kept the contents from being read."""


class ServerResources(BaseModel):
    """One connected server and its resources, by name."""

    priority: int
    domains: list[str]
    capabilities: list[str]
    resources: dict[str, Resource]
    error: Failure | None = None
    """Why there are no resources, if fetching them failed; else absent."""
    stale: bool | None = None
    """True for an outdated copy; else absent."""


class ServerStatus(BaseModel):
    """How one server stands.

    Its address and what its process writes are left out: either may hold a secret that nobody declared as one.
    """

    name: str
    connected: bool
    priority: int
    domains: list[str]
    error: str | None
    id: str | None = None
    state: str | None = None
    capabilities: list[str] = []
    transport: str | None = None
    protocol_version: str | None = None
    server_version: str | None = None
    last_connected: str | None = None
    """In UTC, as ISO 8601 has it."""
    retry_in: float | None = None
    """Seconds until the next attempt to connect; null if none is planned."""
    latency: float | None = None
    """Seconds that its last answer took."""
    protocol_errors: int = 0
    """How often it said something that the protocol does not allow."""
    tools_not_as_pinned: dict[str, str] = {}
    """``changed`` or ``new`` for each tool that is not as it was approved, if tools are pinned."""
    peak_latency: float | None = None
    """Seconds that its answers take, smoothed: follows a slower one at once and faster ones slowly."""
    in_flight: int = 0
    """Requests that it has not answered yet."""
    share: float = 1.0
    """How much of its usual load it gets: less than 1 while it starts slowly after a recovery."""


class CacheStats(BaseModel):
    """The cache's statistics since it was made."""

    hits: int
    misses: int
    evictions: int
    total_requests: int
    hit_rate: str = Field(examples=["78.95%"])
    cached_items: int
    evictions_by_cause: dict[str, int] = {}
    """How many entries were dropped because they were ``expired``, how many for want of ``room``."""
    stale: int = 0
    """Answers that were served beyond their time to live."""
    fetches: int = 0
    fetches_saved: int = 0
    """Fetches that were not necessary, because another one's answer could be shared."""
    bytes_read: int = 0
    """From the cache's store."""
    bytes_written: int = 0
    errors: int = 0
    """Failed calls to the cache's store."""
    available: bool = True
    """Whether the store could be reached when it was last tried."""
    servers: dict[str, dict[str, int | str]] = {}
    """The counters of each server, by its id."""


class Status(BaseModel):
    """How the orchestrator, its servers and its cache stand."""

    initialized: bool
    servers: list[ServerStatus]
    cache_stats: CacheStats


class Invalidation(BaseModel):
    """What to drop from the cache."""

    model_config = ConfigDict(extra="forbid")  # a misspelt key must not clear everything

    key: str | None = Field(default=None, examples=["resources:products"])
    """One entry's key, such as ``resources:<server id>``; null drops all entries."""


class Invalidated(BaseModel):
    """What was dropped, and how the cache stands after it."""

    key: str | None
    cache_stats: CacheStats
