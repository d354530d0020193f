"""Answers whose items are taken out of them before the SDK sees them, and validated by and by.

The SDK validates an answer as a whole, twice, on the event loop: a long one holds up everybody, and one malformed item
of a listing fails it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import mcp_types as types
from pydantic import BaseModel, TypeAdapter, ValidationError

from mcp_orchestra.connection.fault import one_line

if TYPE_CHECKING:
    from mcp import Client

__all__ = [
    "PROMPTS",
    "RESOURCES",
    "TEMPLATES",
    "TOOLS",
    "ItemT",
    "Kind",
    "Malformed",
    "Page",
    "call",
    "learn_tools",
    "read",
    "validated",
]

ItemT = TypeVar("ItemT", bound=BaseModel)
PartT = TypeVar("PartT")
SliceT = TypeVar("SliceT")

_SLICE = 200  # items that are validated without letting anybody else run: some milliseconds


@dataclass(kw_only=True, slots=True)
class Page:
    """An answer in parts: a page of a listing, or the contents that a read or a call returns."""

    key: str
    """The member of the answer that holds the items."""
    may_stay: int = 0
    """So many items are left where they are: the SDK validates a few as quickly as anybody."""
    items: list[object] = field(default_factory=list[object])
    """As the server wrote them; put here by `Inspector` before the SDK looks at the answer."""
    answer: Any = None
    """The rest of the answer: cursor and hints."""

    @property
    def next_cursor(self) -> str | None:
        """Where the next page is, if there is one."""
        cursor: str | None = self.answer.next_cursor
        return cursor

    @classmethod
    def asked_for(cls) -> "Page | None":
        """Return the page that the request being sent in this context asks for; None for an answer in one piece."""
        return _ASKED_FOR.get()

    @contextmanager
    def being_asked_for(self) -> Generator[None]:
        """Have the items of the answer to the request that is sent within the block put here."""
        token = _ASKED_FOR.set(self)
        try:
            yield
        finally:
            _ASKED_FOR.reset(token)


_ASKED_FOR: ContextVar[Page | None] = ContextVar("page", default=None)


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """An item that is not what the protocol says."""

    item: object
    """As the server wrote it."""
    where: str
    """The first member that is wrong or missing."""


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[ItemT]):
    """A kind of listing."""

    method: str
    request: Callable[..., types.PaginatedRequest[Any]]
    result: type[types.PaginatedResult]
    key: str
    item: type[ItemT]

    async def page(self, client: "Client", cursor: str | None) -> Page:
        """Ask for one page; not through the client's own methods, which would learn of tools that there are none."""
        page = Page(key=self.key)
        with page.being_asked_for():
            params = types.PaginatedRequestParams(cursor=cursor)
            page.answer = await client.session.send_request(self.request(params=params), self.result)
        return page


RESOURCES = Kind(
    method="resources/list",
    request=types.ListResourcesRequest,
    result=types.ListResourcesResult,
    key="resources",
    item=types.Resource,
)
TEMPLATES = Kind(
    method="resources/templates/list",
    request=types.ListResourceTemplatesRequest,
    result=types.ListResourceTemplatesResult,
    key="resourceTemplates",
    item=types.ResourceTemplate,
)
TOOLS = Kind(
    method="tools/list", request=types.ListToolsRequest, result=types.ListToolsResult, key="tools", item=types.Tool
)
PROMPTS = Kind(
    method="prompts/list",
    request=types.ListPromptsRequest,
    result=types.ListPromptsResult,
    key="prompts",
    item=types.Prompt,
)


async def read(client: "Client", uri: str) -> types.ReadResourceResult:
    """Read a resource.

    Raises:
        ValidationError: The answer is not what the protocol says.
    """
    page = Page(key="contents", may_stay=_SLICE)
    with page.being_asked_for():
        answer = await client.read_resource(uri)
    if page.items:
        answer.contents = await _parts(page.items, _adapters()[0])
    return answer


async def call(
    client: "Client", name: str, arguments: dict[str, Any] | None, seconds: float | None
) -> types.CallToolResult:
    """Call a tool.

    Raises:
        ValidationError: The answer is not what the protocol says.
    """
    page = Page(key="content", may_stay=_SLICE)
    with page.being_asked_for():
        answer = await client.call_tool(name, arguments, read_timeout_seconds=seconds)
    if page.items:
        answer.content = await _parts(page.items, _adapters()[1])
    return answer


@cache
def _adapters() -> tuple[
    TypeAdapter[list[types.TextResourceContents | types.BlobResourceContents]], TypeAdapter[list[types.ContentBlock]]
]:
    return (
        TypeAdapter(list[types.TextResourceContents | types.BlobResourceContents]),
        TypeAdapter(list[types.ContentBlock]),
    )


async def _parts(items: Sequence[object], adapter: TypeAdapter[list[PartT]]) -> list[PartT]:
    return [part async for some in _slices(items) for part in adapter.validate_python(some, by_name=False)]


async def _slices(items: Sequence[SliceT]) -> AsyncIterator[Sequence[SliceT]]:
    """Yield the items some at a time, and let others run in between."""
    for start in range(0, len(items), _SLICE):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + _SLICE]


async def validated(items: Sequence[object], model: type[ItemT]) -> tuple[list[ItemT], list[Malformed]]:
    """Return the items that are valid, and those that are not; others may run while many are looked at."""
    valid: list[ItemT] = []
    malformed: list[Malformed] = []
    async for some in _slices(items):
        for item in some:
            try:
                valid.append(model.model_validate(item, by_name=False))
            except ValidationError as error:
                malformed.append(Malformed(item=item, where=_place(error)))
    return valid, malformed


def _place(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return one_line(".".join(map(str, problem["loc"])))[:100] or "all of it"


async def learn_tools(client: "Client", tools: Sequence[types.Tool]) -> list[types.Tool]:
    """Have the SDK learn what calls of these tools need: headers for arguments, and schemas for results.

    Returns:
        The tools that may be called: modern clients must not call one whose header annotations are invalid
        (specification 2026-07-28, basic/transports).
    """
    # What the SDK's own client does with a listing from its cache; there is no public name for it.
    absorb = client.session._absorb_tool_listing  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return [
        tool
        async for some in _slices(tools)
        for tool in absorb(types.ListToolsResult(tools=list(some)), complete=False).tools
    ]
