"""The names that things have in Redis, from the keys of the cache."""

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote

__all__ = ["Keys", "as_bytes", "as_text"]

_PLAIN = re.compile(r"[!-$&-z|~]+")  # printable ASCII but % { }
_SAFE = "".join(map(chr, range(0x21, 0x7F))).translate({ord(char): None for char in "%{}"})


def as_bytes(text: str) -> bytes:
    """Encode any text, lone surrogates included; different texts give different bytes."""
    return text.encode("utf-8", "surrogatepass")


def as_text(encoded: bytes) -> str:
    """Decode what `as_bytes` encoded.

    Raises:
        UnicodeDecodeError: It did not encode that.
    """
    return encoded.decode("utf-8", "surrogatepass")


_REMEMBERED = 4096  # the keys are few and asked for again and again


class Keys:
    """Names in one namespace: ``<namespace>:entry:resources:{<id>}`` for the cache's ``resources:<id>``.

    What follows the first colon of a key, or all of a key without one, is the part by which a cluster spreads its keys:
    what is known of one server is together, with the leases on it.

    Args:
        namespace: What every name begins with.
    """

    def __init__(self, namespace: str) -> None:
        self._entry = f"{namespace}:entry:"
        self._lease = f"{namespace}:lease:"
        self.entries: str = f"{self._entry}*"
        """Matches the names of all entries."""
        self.leases: str = f"{self._lease}*"
        """Matches the names of all leases."""
        self.channel: str = f"{namespace}:changes"
        """Where changes are told."""
        self._marker = f"{namespace}:marker:"
        self.entry: Callable[[str], bytes] = lru_cache(_REMEMBERED)(self._named)
        """Returns the name of an entry by its key."""

    def _named(self, key: str) -> bytes:
        return (self._entry + _spread(key)).encode()

    def marker(self, number: int) -> bytes:
        """Return the name of a marker; in a cluster, different ones are in different places."""
        return f"{self._marker}{{{number}}}".encode()

    def lease(self, key: str) -> bytes:
        """Return the name of the lease on an entry; it is in the same slot."""
        return (self._lease + _spread(key)).encode()


def _spread(key: str) -> str:
    kind, colon, about = key.partition(":")
    if not colon:
        kind, about = "", kind
    # An empty part in braces would not count, and "%" alone is nothing that quoting makes.
    return f"{_quoted(kind)}{colon}{{{_quoted(about) or '%'}}}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, _SAFE, errors="surrogatepass")
