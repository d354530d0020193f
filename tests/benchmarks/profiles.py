"""Where the time of a warm gather goes."""

import asyncio
import cProfile
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from benchmarks.servers import scripted
from benchmarks.stores import Places
from benchmarks.warm_gather import OURS, RESOURCES, SERVERS, misses, orchestras

__all__ = ["profiles"]

SECONDS = 2.0
LINES = 15


async def profiles(places: Places) -> None:
    """Print two profiles for each kind of cache of ours: of the gathering thread's calls, and of all threads' lines."""
    async with orchestras(scripted(SERVERS, RESOURCES), places) as ours:
        for name in OURS:
            gather = ours[name].gather_all_resources
            print(f"\n## {name}: {await _gathering(gather):.1f} µs a gather\n")
            with cProfile.Profile() as profile:
                await _gathering(gather)
            pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LINES)
            with Sampler() as sampler:
                await _gathering(gather)
            print(sampler.text())
            print(misses(name, ours[name]))


async def _gathering(gather: Callable[[], Awaitable[object]]) -> float:
    """Gather for a while, and return how many microseconds one gather took."""
    start, calls = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < SECONDS:
        await gather()
        calls += 1
        if calls % 1000 == 0:
            await asyncio.sleep(0)  # what other tasks have to do does not pile up
    return taken / calls * 1e6


class Sampler:
    """Looks every millisecond at which line each thread is, as a profile of calls sees one thread only."""

    def __init__(self) -> None:
        self.lines: dict[str, Counter[str]] = {}
        """How often each thread was seen at each line."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self._interval = sys.getswitchinterval()

    def __enter__(self) -> Self:
        sys.setswitchinterval(1e-4)  # or a thread would be seen only where it lets go of the interpreter
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        sys.setswitchinterval(self._interval)

    def text(self) -> str:
        """Return the most frequent lines of the threads that did anything but wait at one place."""
        parts: list[str] = []
        for thread, lines in sorted(self.lines.items()):
            if len(lines) > 1:
                parts.append(f"{thread}:")
                parts += [f"  {seen / lines.total():6.1%}  {line}" for line, seen in lines.most_common(LINES)]
        return "\n".join(parts)

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if (name := names.get(ident, "?")) != "sampler":
                    code = frame.f_code
                    line = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
                    self.lines.setdefault(name, Counter())[line] += 1
