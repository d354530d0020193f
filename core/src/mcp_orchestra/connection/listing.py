"""Walks the pages of a listing to its end, within the limits."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from mcp_orchestra.cache import Fetched
from mcp_orchestra.config.models import LimitsConfig
from mcp_orchestra.connection.paging import Malformed, Page
from mcp_orchestra.errors import ResourceFetchError

__all__ = ["CursorExpiredError", "Hints", "Listing", "collect"]

ItemT = TypeVar("ItemT")


@dataclass
class Hints:
    """The caching hints of several answers taken together: the smallest time, the narrowest scope."""

    ttl_ms: int | None = None
    """The smallest positive ``ttlMs``; None if no answer had one."""
    complete: bool = True
    """Whether every answer had one."""
    scope: Literal["public", "private"] = "public"
    since: float | None = field(default=None, compare=False)
    """When the first answer arrived, in monotonic seconds: from then on the times count."""

    def add(self, answer: Any) -> None:
        """Take in one answer's hints; an absent or unknown scope is private."""
        hint = getattr(answer, "ttl_ms", None)
        if isinstance(hint, int) and hint > 0:
            self.ttl_ms = hint if self.ttl_ms is None else min(self.ttl_ms, hint)
        else:
            self.complete = False
        if self.since is None:
            self.since = time.monotonic()
        if getattr(answer, "cache_scope", None) != "public":
            self.scope = "private"

    def fetched(self, data: dict[str, Any], *, cacheable: bool = True) -> Fetched:
        """Return what was made of the answers, with all that is known about keeping it."""
        return Fetched(
            data=data,
            ttl_ms=self.ttl_ms,
            hinted_whole=self.complete,
            age=time.monotonic() - self.since if self.since is not None else 0.0,
            scope=self.scope,
            cacheable=cacheable,
        )


@dataclass
class Listing(Generic[ItemT]):
    """All items of a listing."""

    items: list[ItemT] = field(default_factory=list[ItemT])
    malformed: list[Malformed] = field(default_factory=list[Malformed])
    hints: Hints = field(default_factory=Hints)


class CursorExpiredError(Exception):
    """The server no longer knows a page's cursor: all pages so far are void."""


async def collect(
    method: str,
    page: Callable[[str | None], Awaitable[Page]],
    limits: LimitsConfig,
) -> Listing[object]:
    """Return all items of a listing, as the server wrote them.

    Args:
        method: The protocol method, for messages.
        page: Fetches one page by its cursor; None is the first page. The empty string is a cursor like any other, and
            `CursorExpiredError` starts the walk again, once (specification 2026-07-28, server/utilities/pagination).
        limits: ``max_pages`` and ``max_items`` bound the walk.

    Raises:
        ResourceFetchError: The listing exceeds a limit, or names a cursor twice and would never end;
            ``context["items"]`` is how many items there were until then.
    """
    try:
        return await _walk(method, page, limits)
    except CursorExpiredError:
        try:
            return await _walk(method, page, limits)
        except CursorExpiredError:
            raise ResourceFetchError(
                f"{method} refuses the page cursors that it hands out", {"cause": "protocol", "retryable": True}
            ) from None


async def _walk(
    method: str,
    page: Callable[[str | None], Awaitable[Page]],
    limits: LimitsConfig,
) -> Listing[object]:
    listing: Listing[object] = Listing()
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(limits.max_pages):
        answer = await page(cursor)
        listing.items.extend(answer.items)
        listing.hints.add(answer.answer)
        if len(listing.items) > limits.max_items:
            raise _beyond(method, "max_items", limits.max_items, len(listing.items))
        cursor = answer.next_cursor
        if cursor is None:
            return listing
        if cursor in seen:
            raise ResourceFetchError(
                f"{method} repeats a page cursor and would never end ({len(listing.items)} items so far)",
                {"cause": "protocol", "items": len(listing.items), "retryable": True},
            )
        seen.add(cursor)
    raise _beyond(method, "max_pages", limits.max_pages, len(listing.items))


def _beyond(method: str, limit: str, value: int, items: int) -> ResourceFetchError:
    return ResourceFetchError(
        f"{method} exceeds {limit}={value} ({items} items so far); raise {limit} if the server is right",
        {"cause": "limit", "limit": limit, "items": items, "retryable": False},
    )
