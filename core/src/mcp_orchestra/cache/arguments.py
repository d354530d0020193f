"""Checks what callers give, who may be untyped."""

__all__ = ["checked_key", "checked_ttl"]

_LONGEST_TTL = 10**10  # three hundred years: more would cost the clock its fractions of a second


def checked_ttl(value: object) -> float:
    """Return a time to live in seconds.

    Raises:
        ValueError: It is not a number above 0, or is larger than 10 ** 10.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LONGEST_TTL:
        return float(value)
    raise ValueError(f"ttl_seconds must be a number of seconds above 0, at most {_LONGEST_TTL}, not {value!r}")


def checked_key(key: object) -> str:
    """Return a cache key.

    Raises:
        TypeError: It is not a text.
    """
    if not isinstance(key, str):
        raise TypeError(f"a cache key must be a str, not {type(key).__name__}")
    return key
