"""What a look-up or a fetch hands out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """Cached or fetched data."""

    data: Mapping[str, Any]
    """To be read only: others may have it too."""
    copy: Callable[[], dict[str, Any]]
    """Makes a copy for one who may do to it as he likes; may raise what copying a value raises."""
    stale: bool = False
    """Whether it is older than its time to live, or its server has said that it has changed."""
    stored_at: float = float("-inf")
    """On the cache's clock: a time before it is one at which the entry cannot have been there."""
    good_until: float = float("-inf")
    """On the cache's clock: until then it is fresh."""
