"""Keeps secrets out of what people read: messages, status, logs and traces."""

from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

__all__ = ["MASK", "Redactor", "safe_url"]

MASK = "***"

_SHORTEST = 3  # a one- or two-letter value would blot out ordinary words and protects nothing


class Redactor:
    """Replaces known secret values in texts.

    Args:
        secrets: The values. Those shorter than three characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that a secret that contains another is masked whole.
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with every known secret masked."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


def safe_url(url: str) -> str:
    """Return the URL without what may be secret: user info, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:  # an unbalanced bracket, say
        return "<invalid URL>"
    return urlunsplit((parts.scheme, host, parts.path, MASK if parts.query else "", ""))
