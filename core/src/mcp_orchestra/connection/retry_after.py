"""Reads for how long a server asks to be left alone."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_seconds"]

LONGEST_SECONDS = 600.0
"""A server is not believed to mean more."""


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, section 10.2.3); 0 if it does not.

    Args:
        header: Seconds, or a date.
        now: The present, for tests.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)  # a date that names its zone "-0000" is in UTC all the same
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_SECONDS)
