"""The clock that planned attempts and pauses are on."""

import asyncio
import time

__all__ = ["loop_time"]


def loop_time() -> float:
    """Return the time on the event loop's clock, also where no loop runs: another thread may ask how things stand."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
