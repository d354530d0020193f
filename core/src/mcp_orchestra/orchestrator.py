"""Many MCP servers as if they were one: puts the parts together and holds no logic of its own."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mcp_orchestra.config.loader import LoadedConfig, bind_config, load_config
from mcp_orchestra.errors import ConfigurationError, MCPConnectionError
from mcp_orchestra.inputs import checked_key, checked_seconds, checked_text
from mcp_orchestra.life_cycle import LifeCycle
from mcp_orchestra.logs import configure_logging
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.selection import narrowing, question_of, selected
from mcp_orchestra.status import describe_plugins, describe_servers
from mcp_orchestra.warm_start import WarmStart

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ReadResourceResult
    from opentelemetry.trace import TracerProvider

    from mcp_orchestra.cache import ResourceCache
    from mcp_orchestra.catalogue import ToolInfo
    from mcp_orchestra.config.models import MCPConfig
    from mcp_orchestra.explaining import Explanation
    from mcp_orchestra.plugins import PluginManager
    from mcp_orchestra.running import Running
    from mcp_orchestra.telemetry import Telemetry

__all__ = ["MCPOrchestrator"]

logger: logging.Logger = logging.getLogger(__name__)

_NO_STATISTICS = {"hits": 0, "misses": 0, "evictions": 0, "total_requests": 0, "hit_rate": "0.00%", "cached_items": 0}


class MCPOrchestrator:
    """Manages connections to many MCP servers as if they were one.

    Args:
        config_path: The configuration file. Without one: ``$MCP_ORCHESTRA_CONFIG``, else the first of
            ``fastapi_server/mcp_config.yaml``, ``mcp_config.yaml`` and ``.mcp.json`` in the working directory.
        config: A configuration made in Python, instead of a file.
        fail_fast: Overrides the configuration's ``fail_fast``.
        plugins: The plug-ins to use, instead of discovering the installed ones.
        tracer_provider: Where spans go; the application's global provider by default.
    """

    def __init__(
        self,
        config_path: Path | str | None = None,
        *,
        config: "MCPConfig | None" = None,
        fail_fast: bool | None = None,
        plugins: "PluginManager | None" = None,
        tracer_provider: "TracerProvider | None" = None,
    ) -> None:
        if config_path is not None and config is not None:
            raise TypeError("give either config_path or config, not both")
        self._path = Path(config_path) if config_path is not None else None
        self._given = config
        self._fail_fast = fail_fast
        self._plugins = plugins
        self._tracer_provider = tracer_provider
        self._loaded: LoadedConfig | None = None
        self._registry = MCPRegistry()
        self._cache: ResourceCache | None = None
        self._replaced: list[ResourceCache] = []
        self._closed = False
        self._spans: Telemetry | None = None
        self._life: LifeCycle[Running] = LifeCycle(self._start, self._stop)
        self._warm_start = WarmStart(self._life.bring_up)

    @property
    def registry(self) -> MCPRegistry:
        """The configured servers and the state of their connections."""
        return self._registry

    @property
    def config(self) -> "MCPConfig | None":
        """The configuration in force; None before it is loaded."""
        return self._loaded.config if self._loaded is not None else None

    @property
    def cache(self) -> "ResourceCache":
        """The cache of gathered resources; loads the configuration if nobody has.

        A server's resources are under ``resources:<id>``, its tools under ``tools:<id>``.
        """
        if self._cache is None:
            self._cache = _open_cache(self._loaded or self._use(self._load()))
        return self._cache

    def load_configuration(self) -> None:
        """Load the configuration, check it against the installed plug-ins, and register its servers.

        While the orchestrator is initialised this is refused: close it first.

        Raises:
            ConfigurationError: The configuration is missing or invalid. What was loaded before stays in force.
        """
        if not self._life.down:
            raise ConfigurationError("the orchestrator is running; close() it before loading a configuration")
        self._use(self._load())

    async def initialize(self) -> None:
        """Connect all servers at once; joins in if that is under way.

        Once it is done, only servers that were given up (a command that was not found, refused credentials) are tried
        again; the others are being retried anyway.

        Raises:
            ConfigurationError: The configuration is missing or invalid.
            MCPConnectionError: A server failed, and the configuration says to fail fast; the context has ``failed``
                (id to reason) and ``connected`` (ids). Everything is closed again.
            NoMCPAvailableError: No server connected. Everything is closed again.
        """
        self._closed = False
        if (running := self._life.running) is not None:
            await running.connections.reopen()
        else:
            await self._life.bring_up()

    async def close(self) -> None:
        """Close all connections: at any time, from any task, any number of times. Ends within 5 s, raises nothing."""
        self._closed = True
        await self._life.take_down()

    @asynccontextmanager
    async def managed_session(self) -> AsyncGenerator[Self]:
        """Initialise on entry, yield the orchestrator, and close on every way out."""
        try:
            await self.initialize()
            yield self
        finally:
            await self.close()

    async def gather_all_resources(self) -> dict[str, Any]:
        """Return the resources of every connected server, by display name and in priority order.

        Each value has ``priority``, ``domains``, ``capabilities`` and ``resources`` (name to resource). A server whose
        fetch failed has no resources and an ``error``; one that is answered for by an outdated copy has ``stale``.

        With a cache that outlives the process, the first call after a restart does not wait for the servers if the
        resources of all of them are cached.

        Raises:
            NoMCPAvailableError: No server is connected.
            ResourceFetchError: A fetch failed, and the configuration says to fail fast; ``context["server"]``.
        """
        if (early := await self._before_connecting()) is not None:
            return early
        running = await self._ready()
        with self._span("gather"):
            return await running.gatherer.gather()

    async def get_resources_for_domain(self, domain: str, *, key: str | None = None) -> dict[str, Any]:
        """Return the resources (name to resource) of the first server for the domain that can answer.

        Args:
            domain: As servers declare it in the configuration.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Raises:
            NoMCPAvailableError: No server declares the domain, or none that does is connected.
            ResourceFetchError: All that were asked failed; ``context["attempts"]`` lists them.
        """
        checked_text(domain, "domain")
        key = checked_key(key)
        running = await self._ready()
        with self._span("domain", domain=domain):
            return await running.gatherer.domain(domain, key)

    async def read_resource(
        self, uri: str, *, server: str | None = None, key: str | None = None
    ) -> "ReadResourceResult":
        """Return the contents of one resource: from a server that lists it, else has a template for it, else has it.

        Args:
            uri: The resource's URI.
            server: Id or display name of the only server to ask.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Raises:
            UnknownServerError: No such server.
            NoMCPAvailableError: No server is connected.
            ResourceFetchError: No server has it, or reading failed.
        """
        checked_text(uri, "uri")
        key = checked_key(key)
        running = await self._ready()
        servers = selected(self._registry, server)
        with self._span("read"):
            return await running.reader.read(uri, servers, key)

    async def explain(
        self,
        *,
        domain: str | None = None,
        capability: str | None = None,
        uri: str | None = None,
        tool: str | None = None,
        key: str | None = None,
    ) -> "Explanation":
        """Return who would be asked a question, in which order, who would not and why, and who would answer now.

        The question itself is not asked, and nobody's turn is used up; only what the question would need to know, and
        nobody has listed yet, is listed. Give exactly one of the first four.

        Args:
            domain: As for `get_resources_for_domain`.
            capability: As for `call_tool`.
            uri: As for `read_resource`.
            tool: As ``name`` for `call_tool`.
            key: As for all three.

        Raises:
            NoMCPAvailableError: No server could be connected.
            TypeError: None of the four is given, or more than one, or something is not a text.
        """
        question = question_of(domain=domain, capability=capability, uri=uri, tool=tool, key=key)
        return await (await self._ready()).explainer.explain(question)

    async def list_tools(self) -> "list[ToolInfo]":
        """Return the tools of every connected server under unique names, in priority order.

        Raises:
            NoMCPAvailableError: No server is connected.
        """
        running = await self._ready()
        with self._span("tools"):
            return await running.catalogue.tools()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        server: str | None = None,
        domain: str | None = None,
        capability: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> "CallToolResult":
        """Call a tool.

        It runs once at most: another server is asked only if the call was certainly not delivered, or if the
        configuration has the tool among the server's ``safe_tools``, and only among those that ``domain`` or
        ``capability`` allow.

        Args:
            name: A name from `list_tools`, or the tool's own name at its server.
            arguments: The tool's arguments.
            server: Id or display name of the only server to ask.
            domain: Ask only servers that declare this domain.
            capability: Ask only servers that declare this capability.
            timeout: Seconds to wait for the result of each server; its ``request_timeout`` by default.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Returns:
            The result; a failure that the tool itself reports has ``is_error`` set.

        Raises:
            UnknownServerError: No such server.
            ToolNotFoundError: No connected server has the tool, or several have and nothing says which to ask.
            ToolCallError: There is no result; ``context["delivered"]`` says whether the tool may have run.
            TypeError: An argument is of the wrong type, or cannot be written as JSON.
            ValueError: The timeout is not positive, or a text is not valid Unicode. Nothing was sent.
        """
        checked_text(name, "name")
        timeout = checked_seconds(timeout)
        key = checked_key(key)
        running = await self._ready()
        servers = selected(self._registry, server, domain, capability)
        question = narrowing(domain, capability, key)
        with self._span("call", tool=name):
            return await running.catalogue.call(name, arguments, servers, question, timeout)

    def get_status(self) -> dict[str, Any]:
        """Return how things stand: ``initialized``, ``servers``, ``cache_stats`` and ``plugins``.

        Every server has ``name``, ``connected``, ``priority``, ``domains`` and ``error``, and further ``id``,
        ``state``, ``transport``, ``protocol_version``, ``retry_in`` and ``latency`` (seconds), ``stderr`` (lines) …
        """
        loaded = self._loaded
        if loaded is None:
            return {"initialized": False, "servers": [], "cache_stats": dict(_NO_STATISTICS), "plugins": []}
        running = self._life.running
        connections = running.connections if running is not None else None
        return {
            "initialized": running is not None,
            "servers": describe_servers(self._registry, loaded.transports, connections, Redactor(loaded.secrets)),
            "cache_stats": self._cache.get_stats() if self._cache is not None else dict(_NO_STATISTICS),
            "plugins": describe_plugins(loaded.plugins.installed()),
        }

    async def _ready(self) -> "Running":
        """Return what is running, initialising if nobody did; what was closed stays closed."""
        if self._closed:
            raise MCPConnectionError(
                "the orchestrator is closed; initialize() starts it again", {"cause": "closed", "retryable": False}
            )
        return await self._life.bring_up()

    async def _before_connecting(self) -> dict[str, Any] | None:
        """Return the resources that a cache has kept from an earlier run, while the servers are being connected."""
        if self._closed or self._life.running is not None:
            return None
        return await self._warm_start.gather()

    async def _start(self) -> "Running":
        # Importing the SDK, reading files and opening a cache take up to a second: not on the event loop. Only the
        # event loop changes anything of ours, so that a thread which outlives a cancelled start cannot.
        loaded = self._loaded or self._use(await asyncio.to_thread(self._load))
        registry = self._registry
        if self._cache is None or self._cache.closed:
            opening = asyncio.create_task(asyncio.to_thread(_open_cache, loaded))
            opening.add_done_callback(self._keep_opened_cache)
            await asyncio.shield(opening)
        if loaded.cache_backend.spec.persistent:
            self._warm_start.opened(registry, self.cache)
        await asyncio.to_thread(import_module, "mcp_orchestra.running")
        from mcp_orchestra.running import Running

        with self._span("initialize"):
            return await Running.start(
                loaded, registry, self.cache, self._telemetry, fail_fast=self._fails_fast(loaded)
            )

    def _keep_opened_cache(self, opening: "asyncio.Task[ResourceCache]") -> None:
        """Take over a cache even if whoever opened it was cancelled meanwhile, so that it will be closed."""
        if not opening.cancelled() and opening.exception() is None:
            if self._cache is not None:
                self._replaced.append(self._cache)
            self._cache = opening.result()

    async def _stop(self, running: "Running | None") -> None:
        self._warm_start.closed()
        if running is not None:
            await running.connections.close()
        for cache in [*self._replaced, *([self._cache] if self._cache is not None else [])]:
            await cache.aclose()
        self._replaced.clear()

    def _fails_fast(self, loaded: LoadedConfig) -> bool:
        return loaded.config.orchestration.fail_fast if self._fail_fast is None else self._fail_fast

    def _load(self) -> LoadedConfig:
        if self._given is not None:
            return bind_config(self._given, plugins=self._plugins)
        return load_config(self._path, plugins=self._plugins)

    def _use(self, loaded: LoadedConfig) -> LoadedConfig:
        """Take a configuration into force; up to here nothing has changed."""
        registry = MCPRegistry()
        for server_id, config in loaded.config.mcp_servers.items():
            registry.register_server(server_id, config)
        configure_logging(loaded.config.orchestration)
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        if self._cache is not None:
            self._replaced.append(self._cache)
            self._cache = None
        self._warm_start.closed()  # what it knows is of the configuration before
        self._registry = registry
        self._loaded = loaded
        return loaded

    @property
    def _telemetry(self) -> "Telemetry":
        if self._spans is None:
            from mcp_orchestra.telemetry import Telemetry

            self._spans = Telemetry(self._tracer_provider)
        return self._spans

    def _span(self, operation: str, **attributes: str) -> "AbstractContextManager[object]":
        return self._telemetry.span(operation, **attributes)


def _open_cache(loaded: LoadedConfig) -> "ResourceCache":
    from mcp_orchestra.caching import open_cache  # takes its time to import

    return open_cache(loaded)
