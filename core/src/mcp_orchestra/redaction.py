"""Keeps secrets out of what people read: messages, status, logs and traces."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

__all__ = ["MASK", "SHORTEST", "Redactor", "safe_url"]

MASK = "***"

SHORTEST = 3
"""Characters of a secret that is worth hiding: one or two would blot out ordinary words and protect nothing."""
_SHORTEST_LINE = 8  # the same holds for lines such as "}" of a secret that has several
_SHORTEST_CUT = 4
_KEPT = 8  # secrets of one owner that were learned while running: the present ones, and a few before them


class Redactor:
    """Replaces known secret values in texts.

    A secret of several lines is known by each of them, for much of what is shown is shown by lines; all are known as
    JSON and URLs write them, too. Texts may have been cut anywhere: what a text ends with is masked if a secret begins
    like that.

    Args:
        secrets: The values. Those shorter than three characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._given = _written(secrets)
        self._learned: dict[str, deque[str]] = {}
        self._secrets = sorted(self._given)

    def know(self, secrets: Iterable[str]) -> None:
        """Hide more secrets, as those that the class was given."""
        self._given |= _written(secrets)
        self._hide()

    def learn(self, owner: str, secret: str) -> None:
        """Hide one more secret, and forget the oldest of the same owner if there are many: tokens come and go.

        Args:
            owner: Whose it is.
            secret: Its value.
        """
        kept = self._learned.setdefault(owner, deque(maxlen=_KEPT))
        if secret in kept:
            kept.remove(secret)  # what is still in use is the last to be forgotten
            kept.append(secret)
        else:
            kept.append(secret)
            self._hide()

    def _hide(self) -> None:
        learned = _written(each for own in self._learned.values() for each in own)
        self._secrets = sorted(self._given | learned)

    def __call__(self, text: str) -> str:
        """Return the text with every known secret masked; where several overlap, all of them at once."""
        shown: list[str] = []
        done = 0
        for start, end in sorted(span for secret in self._secrets for span in _spans(secret, text)):
            if start >= done:
                shown += [text[done:start], MASK]
            done = max(done, end)
        return "".join([*shown, text[done:]])


def _written(secrets: Iterable[str]) -> set[str]:
    """Return the forms in which the secrets may be met, their longer lines included."""
    whole = {secret for secret in secrets if len(secret) >= SHORTEST}
    lines = {line.strip() for secret in whole for line in secret.splitlines()}
    whole |= {line for line in lines if len(line) >= _SHORTEST_LINE}
    return {form for secret in whole for form in _forms(secret)}


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as it is written within JSON and URLs."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for safe in ("/", ""):
        yield quote(secret, safe, errors="surrogatepass")
        yield quote_plus(secret, safe, errors="surrogatepass")


def _spans(secret: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where the secret stands in the text, be it cut off by the text's end."""
    head = secret[:_SHORTEST_CUT]
    start = text.find(head)
    while start >= 0:
        end = start + len(secret)
        if text.startswith(secret, start) or (end > len(text) and secret.startswith(text[start:])):
            yield start, end
        start = text.find(head, start + 1)


def safe_url(url: str) -> str:
    """Return the URL without what may be secret: user info, query and fragment.

    A password that holds an unescaped slash looks like a host, a port and a path with an ``@``: of such an address
    nothing is shown. A path such as ``/@scope/name`` is common enough to be taken for what it is.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        port = parts.port  # raises if there is something else in its place, such as half a password
    except ValueError:
        return _INVALID
    if "@" in (parts.path if port is not None or not parts.netloc else parts.path.replace("/@", "/")):
        return f"{parts.scheme}://{MASK}" if parts.netloc else _INVALID
    return urlunsplit((parts.scheme, host, parts.path, MASK if parts.query else "", ""))


_INVALID = "<invalid URL>"
"""Shown for what cannot be taken apart with certainty, such as an address whose password holds a slash."""
