"""The configured cache for the length of one command: its backend is opened, and no server is started."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_orchestra.errors import UnknownServerError
from mcp_orchestra.suggest import did_you_mean

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.invocation import Invocation

if TYPE_CHECKING:
    from mcp_orchestra.cache import ResourceCache
    from mcp_orchestra.config.loaded import LoadedConfig

__all__ = ["CacheUnavailableError", "OpenedCache", "opened_cache"]

T = TypeVar("T")

_PATIENCE = 60.0  # seconds: a whole store may be counted or cleared, and only the one who asked waits for it


class CacheUnavailableError(CommandError):
    """The cache's backend could not be reached, or did not do what it was asked.

    Args:
        backend: Its name.
        consequence: What was not done, or may not have been.
    """

    def __init__(self, backend: str, consequence: str) -> None:
        super().__init__(
            f"the cache backend {backend} cannot be reached, or fails: {consequence}; "
            "see that it is running and that orchestration.cache.options are right",
            code=ExitCode.UNAVAILABLE,
            context={"backend": backend},
        )


@dataclass(frozen=True, kw_only=True)
class OpenedCache:
    """A cache, and what the configuration says about it."""

    cache: "ResourceCache"
    backend: str
    persistent: bool
    """Whether the application's entries can be seen from here."""
    servers: Mapping[str, str]
    """The display names of all configured servers, by id."""
    redact: Callable[[str], str]

    def keys(self, server_ids: Sequence[str] | None = None) -> dict[str, str]:
        """Return the keys that servers may have entries under, each with the server's id.

        Args:
            server_ids: Which servers; all by default.
        """
        from mcp_orchestra.cache import resources_key, templates_key, tools_key

        kinds = (resources_key, templates_key, tools_key)
        ids = self.servers if server_ids is None else server_ids
        return {key(server_id): server_id for server_id in ids for key in kinds}

    def ids(self, given: Sequence[str]) -> list[str]:
        """Return the ids of servers that are given by id or display name.

        Raises:
            UnknownServerError: There is no such server.
        """
        by_name = {name: server_id for server_id, name in self.servers.items()}
        found: list[str] = []
        for server in given:
            server_id = server if server in self.servers else by_name.get(server)
            if server_id is None:
                known = ", ".join(self.servers) or "none"
                meant = did_you_mean(server, [*by_name, *self.servers])  # an id is preferred
                raise UnknownServerError(
                    f"no server is called {server!r}; there are: {known}{meant}", {"server": server}
                )
            found.append(server_id)
        return list(dict.fromkeys(found))

    def nearest(self, key: str) -> str:
        """Return a hint at the key that was probably meant, or an empty text."""
        keys = self.keys()
        if key in keys:
            return ""
        server = key.partition(":")[2] or key
        near = [known for known, owner in keys.items() if did_you_mean(server, (owner, self.servers[owner]))]
        return did_you_mean(key, near) or (f"; did you mean {near[0]!r}?" if near else "")

    async def check(self, consequence: str) -> None:
        """Make sure that the store has done everything that it was asked up to here.

        Args:
            consequence: What it means for the user if it has not.

        Raises:
            CacheUnavailableError: It has not.
        """
        if await asyncio.to_thread(self.cache.probe):
            raise CacheUnavailableError(self.backend, consequence)

    async def statistics(self) -> dict[str, Any]:
        """Return the cache's statistics; for some stores this takes a look at every entry."""
        return await asyncio.to_thread(self.cache.get_stats)

    async def describe(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of the entries under these keys."""
        return await asyncio.to_thread(self.cache.describe, keys)


@asynccontextmanager
async def opened_cache(call: Invocation) -> AsyncGenerator[OpenedCache]:
    """Load the configuration, open the backend that it names, and close it on every way out.

    Raises:
        ConfigurationError: The configuration is missing or invalid, or the backend cannot be opened.
    """
    with call.screen.progress("Opening the cache"):
        from mcp_orchestra.caching import open_cache
        from mcp_orchestra.config.loader import load_config
        from mcp_orchestra.redaction import Redactor

        loaded: LoadedConfig = load_config(call.settings.config)
        for warning in loaded.warnings:
            call.screen.note(f"warning: {warning}")
        cache = open_cache(loaded, store_timeout=_PATIENCE, near=False)  # for one look, nothing has to be near
    spec = loaded.cache_backend.spec
    if not spec.persistent:
        call.screen.note(
            f"note: the cache backend {spec.name} keeps its entries in the application's own process, so there is "
            "nothing to see or to drop from here; ask the application itself: get_status(), orchestrator.cache"
        )
    try:
        yield OpenedCache(
            cache=cache,
            backend=spec.name,
            persistent=spec.persistent,
            servers={server_id: config.name for server_id, config in loaded.config.mcp_servers.items()},
            redact=Redactor(loaded.secrets),
        )
    finally:
        await cache.aclose()
