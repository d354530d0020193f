"""A ResourceCache whose look-ups and fetches return plain dicts: most tests are about what is in them."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Fetched


class PlainCache(ResourceCache):
    async def lookup(
        self, keys: Sequence[str], *, failing: Collection[str] = (), whole: bool = False
    ) -> dict[str, dict[str, Any]]:
        return {
            key: answer.copy() for key, answer in (await super().lookup(keys, failing=failing, whole=whole)).items()
        }

    async def fetch(
        self, key: str, fetch: Callable[[], Awaitable[Fetched]], *, fall_back: bool = True
    ) -> dict[str, Any]:
        return (await super().fetch(key, fetch, fall_back=fall_back)).copy()
