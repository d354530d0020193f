"""Where the time of a warm gather goes."""

import cProfile
import pstats
import time

from benchmarks.servers import scripted
from benchmarks.stores import Places
from benchmarks.warm_gather import OURS, RESOURCES, SERVERS, orchestras

__all__ = ["profiles"]

SECONDS = 2.0
LINES = 25


async def profiles(places: Places) -> None:
    """Print a profile of the thread that gathers, for each kind of cache of ours."""
    async with orchestras(scripted(SERVERS, RESOURCES), places) as ours:
        for name in OURS:
            gather = ours[name].gather_all_resources
            calls = 0
            profile = cProfile.Profile()
            end = time.perf_counter() + SECONDS
            with profile:
                while time.perf_counter() < end:
                    await gather()
                    calls += 1
            print(f"\n## {name}: {calls} gathers, {SECONDS / calls * 1e6:.0f} µs each while profiled\n")
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LINES)
