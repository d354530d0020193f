"""Many MCP servers as if they were one: puts the parts together and holds no logic of its own."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mcp_orchestra.config.difference import ReloadResult, compare, refuse_other_plugins
from mcp_orchestra.config.loader import LoadedConfig
from mcp_orchestra.config.source import Source
from mcp_orchestra.errors import ConfigurationError, MCPConnectionError
from mcp_orchestra.held_cache import HeldCache
from mcp_orchestra.life_cycle import LifeCycle
from mcp_orchestra.logs import configure_logging
from mcp_orchestra.questions import Questions
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.status import describe
from mcp_orchestra.warm_start import WarmStart

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from mcp_orchestra.cache import ResourceCache
    from mcp_orchestra.config.models import MCPConfig
    from mcp_orchestra.plugins import PluginManager
    from mcp_orchestra.running import Running
    from mcp_orchestra.telemetry import Telemetry

__all__ = ["MCPOrchestrator"]

logger: logging.Logger = logging.getLogger(__name__)


class MCPOrchestrator(Questions):
    """Manages connections to many MCP servers as if they were one.

    Args:
        config_path: The configuration file. Without one: ``$MCP_ORCHESTRA_CONFIG``, else the first of
            ``fastapi_server/mcp_config.yaml``, ``mcp_config.yaml`` and ``.mcp.json`` in the working directory.
        config: A configuration made in Python, instead of a file.
        fail_fast: Overrides the configuration's ``fail_fast``.
        plugins: The plug-ins to use, instead of discovering the installed ones.
        tracer_provider: Where spans go; the application's global provider by default.
        tool_pins: Whether the pin file that the configuration names is read and gone by. False is for a program that
            writes that file: it sees all tools as they are.
    """

    def __init__(
        self,
        config_path: Path | str | None = None,
        *,
        config: "MCPConfig | None" = None,
        fail_fast: bool | None = None,
        plugins: "PluginManager | None" = None,
        tracer_provider: "TracerProvider | None" = None,
        tool_pins: bool = True,
    ) -> None:
        if config_path is not None and config is not None:
            raise TypeError("give either config_path or config, not both")
        self._source = Source.of(config_path if config is None else config, tool_pins=tool_pins)
        self._fail_fast = fail_fast
        self._plugins = plugins
        self._tracer_provider = tracer_provider
        self._loaded: LoadedConfig | None = None
        self._registry = MCPRegistry()
        self._caches = HeldCache()
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
    def config_path(self) -> Path | None:
        """The file of the configuration in force; None before it is loaded, and for one that was made in Python."""
        return self._loaded.path if self._loaded is not None else None

    @property
    def cache(self) -> "ResourceCache":
        """The cache of gathered resources; loads the configuration if nobody has.

        A server's resources are under ``resources:<id>``, its tools and templates under ``tools:`` and ``templates:``.
        """
        return self._caches.of(self._loaded or self._use(self._source.load(self._plugins)))

    def load_configuration(self) -> None:
        """Load the configuration, check it against the installed plug-ins, and register its servers.

        While the orchestrator is initialised this is refused: close it first.

        Raises:
            ConfigurationError: The configuration is missing or invalid. What was loaded before stays in force.
        """
        if not self._life.down:
            raise ConfigurationError("the orchestrator is running; close() it before loading a configuration")
        self._use(self._source.load(self._plugins))

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

    async def reload(self, config: "MCPConfig | Path | str | None" = None) -> ReloadResult:
        """Go over to a configuration while running: only what is different in it is touched.

        Servers that are reached as before keep their connections, what is cached of them, and their statistics. New
        ones, and those that are reached in another way, are connected first; then everything changes in one step.
        Questions under way are answered by what was there when they were asked, and what was replaced is closed
        after that. Reloads happen one after the other. Before ``initialize()`` the configuration is only loaded.

        Args:
            config: What it is made with from here on; by default what it was made with, loaded again.

        Raises:
            ConfigurationError: It is missing or invalid, or disables other plug-ins. Nothing has changed.
            MCPConnectionError: One of those servers failed, and the new configuration says to fail fast (the context
                is as in ``initialize()``); or the orchestrator is closed. Nothing has changed.
        """
        source = self._source if config is None else Source.of(config, tool_pins=self._source.tool_pins)
        return await self._life.change(lambda running: self._reload(source, running))

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
        starting = not self._closed and self._life.running is None
        if starting and (early := await self._warm_start.gather()) is not None:
            return early
        running = await self._ready()
        with running.usage, self._span("gather"):
            return await running.gatherer.gather()

    def get_status(self) -> dict[str, Any]:
        """Return how things stand: ``initialized``, ``servers``, ``cache_stats`` and ``plugins``.

        Every server has ``name``, ``connected``, ``priority``, ``domains`` and ``error``, and further ``id``,
        ``state``, ``transport``, ``protocol_version``, ``retry_in`` and ``latency`` (seconds), ``stderr`` (lines) …
        """
        running = self._life.running
        connections = running.connections if running is not None else None
        offers = running.catalogue.offers if running is not None else None
        return describe(self._loaded, self._registry, connections, self._caches.current, offers)

    async def _ready(self) -> "Running":
        """Return what is running, initialising if nobody did; what was closed stays closed."""
        self._refuse_if_closed()
        return await self._life.bring_up()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise MCPConnectionError(
                "the orchestrator is closed; initialize() starts it again", {"cause": "closed", "retryable": False}
            )

    async def _start(self) -> "Running":
        # Importing the SDK, reading files and opening a cache take up to a second: not on the event loop. Only the
        # event loop changes anything of ours, so that a thread which outlives a cancelled start cannot.
        loaded = self._loaded or self._use(await asyncio.to_thread(self._source.load, self._plugins))
        registry, cache = self._registry, await self._caches.ready(loaded)
        if loaded.cache_backend.spec.persistent:
            self._warm_start.opened(registry, cache)
        await asyncio.to_thread(import_module, "mcp_orchestra.running")
        from mcp_orchestra.running import Running

        with self._span("initialize"):
            return await Running.start(loaded, registry, cache, self._telemetry, fail_fast=self._fails_fast(loaded))

    async def _stop(self, running: "Running | None") -> None:
        self._warm_start.closed()
        if running is not None:
            await running.close()
        await self._caches.aclose()

    async def _reload(self, source: Source, running: "Running | None") -> ReloadResult:
        self._refuse_if_closed()
        old = self._loaded
        new = await asyncio.to_thread(source.load, self._plugins if old is None else old.plugins)
        if old is not None and self._plugins is None:
            refuse_other_plugins(old, new)
        result = compare(old, new)
        if running is None or old is None:
            self._use(new)
        else:
            from mcp_orchestra.reloading import reload_running

            def take(successor: "Running") -> None:
                self._life.put(successor)
                self._caches.current = successor.gatherer.cache
                self._take(new)

            with self._span("reload"):
                result = await reload_running(
                    running, self._registry, old, new, result, take, fail_fast=self._fails_fast(new)
                )
        self._source = source
        return result

    def _fails_fast(self, loaded: LoadedConfig) -> bool:
        return loaded.config.orchestration.fail_fast if self._fail_fast is None else self._fail_fast

    def _use(self, loaded: LoadedConfig) -> LoadedConfig:
        """Take a configuration into force; up to here nothing has changed."""
        registry = MCPRegistry()
        for server_id, config in loaded.config.mcp_servers.items():
            registry.register_server(server_id, config)
        self._registry.exchange(loaded.config.mcp_servers, registry)
        self._caches.replace()
        self._warm_start.closed()  # what it knows is of the configuration before
        self._take(loaded)
        return loaded

    def _take(self, loaded: LoadedConfig) -> None:
        configure_logging(loaded.config.orchestration)
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        self._loaded = loaded

    @property
    def _telemetry(self) -> "Telemetry":
        if self._spans is None:
            from mcp_orchestra.telemetry import Telemetry

            self._spans = Telemetry(self._tracer_provider)
        return self._spans

    def _span(self, operation: str, **attributes: str) -> "AbstractContextManager[object]":
        return self._telemetry.span(operation, **attributes)
