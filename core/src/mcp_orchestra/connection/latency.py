"""How long a server's answers take, smoothed so that trouble counts at once and recovery slowly: peak-EWMA."""

from math import exp

__all__ = ["peak_ewma"]

_TAU = 10.0


def peak_ewma(before: float | None, elapsed: float, seconds: float) -> float:
    """Return the smoothed latency after one more answer.

    Args:
        before: What it was; None before the first answer.
        elapsed: Seconds since the answer before.
        seconds: How long this answer took.
    """
    if before is None or seconds >= before:
        return seconds
    weight = exp(-elapsed / _TAU)
    return before * weight + seconds * (1 - weight)
