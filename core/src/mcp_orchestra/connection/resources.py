"""Gathers everything a server has to read: all pages of its resources and their contents."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import mcp_types as types

from mcp_orchestra.cache import Fetched
from mcp_orchestra.connection.owner import Connection
from mcp_orchestra.connection.paging import Malformed
from mcp_orchestra.errors import MCPConnectionError, MCPOrchestratorException
from mcp_orchestra.tasks import run_all

__all__ = ["contents_of", "fetch_resources"]


async def fetch_resources(connection: Connection) -> Fetched:
    """Return a server's resources under their names, or under their URIs where a name is not unique.

    A resource that cannot be read keeps its place with an ``error``; the whole is then not worth caching. One that is
    listed in a malformed way keeps its place too, but asking again will not change that. A server without resources
    has none: that is no error.

    Raises:
        MCPConnectionError: The connection was lost: another server should be asked.
        ResourceFetchError: The listing failed or exceeds a limit.
    """
    client, limits = connection.client, connection.limits
    current = connection.current
    if current is not None and current.server_capabilities.resources is None:
        return Fetched(data={})
    try:
        listing = await client.collect_resources()
    except MCPOrchestratorException as error:
        if error.context.get("code") == types.METHOD_NOT_FOUND:
            return Fetched(data={})
        raise
    found = dict(_keyed([*map(_described, listing.items), *filter(None, map(_salvaged, listing.malformed))]))
    if not limits.resource_contents:
        return listing.hints.fetched(found)

    entries = [entry for entry in found.values() if "error" not in entry]
    for entry in entries[limits.max_resources_read :]:
        entry["skipped"] = "max_resources_read"
    readable = entries[: limits.max_resources_read]
    await connection.cover([entry["uri"] for entry in readable])  # first: a change after the read must not be missed
    to_read = iter(readable)

    async def read_some() -> None:
        for entry in to_read:
            try:
                answer = await client.read_resource(entry["uri"])
            except MCPConnectionError:
                raise
            except MCPOrchestratorException as error:
                entry["error"] = error.message
                if error.context.get("cause") == "timeout":
                    return  # the others would each cost as much: one silent server costs its timeout, not many
            else:
                listing.hints.add(answer)
                entry.update(contents_of(answer))

    workers = min(limits.max_concurrent_reads, len(entries))
    await run_all(read_some() for _ in range(workers))
    for entry in to_read:
        entry["error"] = "not read, because reading another resource took too long"
    return listing.hints.fetched(found, cacheable=not any("error" in entry for entry in entries))


def contents_of(answer: types.ReadResourceResult) -> dict[str, Any]:
    """Return a read's ``data`` (the first text, else None) and ``contents`` (everything)."""
    contents: list[dict[str, Any]] = []
    for part in answer.contents:
        body = {"text": part.text} if isinstance(part, types.TextResourceContents) else {"blob": part.blob}
        contents.append({"uri": part.uri, "mime_type": part.mime_type, **body})
    return {"data": next((part["text"] for part in contents if "text" in part), None), "contents": contents}


def _keyed(entries: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each entry with its key; a resource that is listed twice over is one resource."""
    unique: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        unique.setdefault((entry["name"], entry["uri"]), entry)
    names = Counter(name for name, _ in unique)
    uris = {uri for _, uri in unique}
    for (name, uri), entry in unique.items():
        # A name that is also somebody's URI would take the place of the one that has to go under its URI.
        yield (name if names[name] == 1 and (name not in uris or name == uri) else uri), entry


def _described(resource: types.Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {"uri": resource.uri, "name": resource.name, "mime_type": resource.mime_type}
    optional = {"title": resource.title, "description": resource.description, "size": resource.size}
    return entry | {key: value for key, value in optional.items() if value is not None}


def _salvaged(malformed: Malformed) -> dict[str, Any] | None:
    """Return an entry that says what is wrong with a resource; None if it cannot even be said which it is."""
    item = malformed.item
    if not isinstance(item, dict):
        return None
    item = cast("dict[str, object]", item)
    uri, name = (text if isinstance(text := item.get(key), str) and text else "" for key in ("uri", "name"))
    if not uri and not name:
        return None
    error = f"the server lists it in a form that does not follow the protocol (at {malformed.where})"
    return {"uri": uri, "name": name or uri, "mime_type": None, "error": error}
