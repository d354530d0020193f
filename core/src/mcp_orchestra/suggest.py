"""The hint that turns an unknown name into the one that was meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

__all__ = ["did_you_mean"]

_LIKENESS = 0.75  # less likens "auth" to "watch"
# Comparing takes time in the square of the length, for each known name.
_LONGEST = 40
_MOST = 200


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'stdio'?"`` for the known name nearest to this one, or an empty text.

    Case does not count: ``STDIO`` is near ``stdio``. There is no hint for a name of more than 40 characters, nor where
    more than 200 are known.
    """
    by_folded = {candidate.casefold(): candidate for candidate in islice(known, _MOST + 1)}
    if len(name) > _LONGEST or len(by_folded) > _MOST:
        return ""
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=_LIKENESS)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""
