"""Reads what several processes wrote down and says what of it must not have happened.

The checker knows nothing of the cache but what it promises:

- what is served is its principal's and its key's;
- by the clock of who serves it, it is no older than its time to live, nor from further in the future than clocks may
  be apart;
- it is not what a change had made outdated that the same cache had been told of before the question began, or another
  one, ``push_delay`` before, if the store knew of it.

Times are lower and upper bounds throughout, so that a slow machine is never taken for a violation.
"""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

_ROUNDING = 0.01  # seconds: the time of day is steered, CLOCK_MONOTONIC is not

Line = dict[str, Any]


@dataclass(frozen=True)
class Promise:
    """What the caches were made with; seconds."""

    ttl: float
    max_stale: float
    skew: float
    push_delay: float


@dataclass
class Changes:
    """The changes to one key from some point of view, in the order in which they had to show."""

    known: list[tuple[float, int, float, str]] = field(default_factory=list)

    def add(self, at: float, number: int, start: float, change: str) -> None:
        self.known.append((at, number, start, change))

    def close(self) -> None:
        """Let each one stand for those before it."""
        self.known.sort()
        number, start = 0, -inf
        for index, (at, its_number, its_start, change) in enumerate(self.known):
            number, start = max(number, its_number), max(start, its_start)
            self.known[index] = (at, number, start, change)

    def before(self, time: float) -> tuple[int, float]:
        """Return the highest number, and the latest beginning, of the changes that had to show before a time."""
        index = bisect_left(self.known, (time,))
        return self.known[index - 1][1:3] if index else (0, -inf)


class History:
    """The lines of all processes."""

    def __init__(self, lines: Iterable[Line], promise: Promise) -> None:
        self._promise = promise
        by_kind: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            by_kind[line["what"]].append(line)
        self.reads = by_kind["read"]
        self.changes = by_kind["change"]
        self._told = {line["change"]: line["at"] for line in by_kind["told"]}
        self._settled = {line["change"]: line["at"] for line in by_kind["settled"]}
        self._clocks: dict[str, list[Line]] = defaultdict(list)
        for line in sorted(by_kind["clock"], key=lambda line: line["before"]):
            self._clocks[line["process"]].append(line)
        self._deaths = {line["process"]: line["at"] for line in by_kind["killed"]}
        self._born = {line["origin"]: line["at"] for line in by_kind["fetched"]}
        self._set_by = {line["origin"]: line for line in self.changes if "origin" in line}
        self._kept_by = self._latest_keeping()
        self._flown_by = self._latest_landing()
        self._hard, self._soft = self._views(hard=True), self._views(hard=False)

    @classmethod
    def read(cls, folder: Path, promise: Promise, more: Iterable[Line] = ()) -> "History":
        """Read all records in a folder."""
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl"))]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return cls([*lines, *more], promise)

    def violations(self) -> list[str]:
        """Return what must not have happened."""
        found = []
        for read in self.reads:
            for key, value, stale in read["served"]:
                reasons = [*self._whose(read, key, value), *self._age(read, value, stale)]
                reasons += self._outdated(read, key, value, stale)
                found += [f"{reason}: {value} for {key!r} in {without(read, 'served')}" for reason in reasons]
        return found

    # The three promises.

    def _whose(self, read: Line, key: str, value: Line) -> Iterable[str]:
        if value["principal"] != principal_of(read["agent"]):
            yield "another principal's"
        if value["key"] != key:
            yield "another key's"

    def _age(self, read: Line, value: Line, stale: bool) -> Iterable[str]:
        origin = value["origin"]
        earliest, latest = self._born_at(origin), self._kept_by[origin]
        if read["how"] == "fetch" and self._is_just_fetched(read, origin):
            return  # it need not have been kept at all
        writer, reader = process_of(origin), process_of(read["agent"])
        ahead = max(self._offsets(writer, earliest, latest)) - min(self._offsets(reader, read["start"], read["end"]))
        behind = max(self._offsets(reader, read["start"], read["end"])) - min(self._offsets(writer, earliest, latest))
        limit = self._promise.ttl + (self._promise.max_stale if stale else 0)
        if read["start"] - latest >= limit + ahead + _ROUNDING:
            yield f"{read['start'] - latest:.3f} s old"
        if read["end"] - earliest + behind < -self._promise.skew - _ROUNDING:
            yield "from the future"

    def _outdated(self, read: Line, key: str, value: Line, stale: bool) -> Iterable[str]:
        where = (value["principal"], key)
        views = self._hard if stale else self._soft
        own = views[*where, read["agent"]].before(read["start"])
        others = views[*where, None].before(read["start"])
        if read["how"] == "fetch" and self._is_just_fetched(read, value["origin"]):
            others = (0, -inf)  # who joins a fetch gets what that has seen when it began
        for said, (number, start) in (("by itself", own), ("by another", others)):
            if (change := self._set_by.get(value["origin"])) is not None:
                outdated = self._ended(change) < start
            else:
                outdated = value["number"] < number
            if outdated:
                yield f"outdated {said}"

    # What is known of values and changes.

    def _born_at(self, origin: str) -> float:
        """Return a time before which a value cannot have been stored."""
        return self._set_by[origin]["start"] if origin in self._set_by else self._born[origin]

    def _ended(self, change: Line) -> float:
        """Return a time after which the call that made a change did nothing more."""
        ended = self._told.get(change["change"])
        return ended if ended is not None else self._deaths.get(process_of(change["agent"]), inf)

    def _latest_keeping(self) -> dict[str, float]:
        """Return, by origin, a time before which a value was dated: whoever has it had it then."""
        latest: dict[str, float] = defaultdict(lambda: inf)
        for origin, change in self._set_by.items():
            latest[origin] = self._ended(change)
        for read in self.reads:
            for _, value, _ in read["served"]:
                latest[value["origin"]] = min(latest[value["origin"]], read["end"])
        return latest

    def _latest_landing(self) -> dict[str, float]:
        """Return, by origin, when the fetch had ended that brought it."""
        landed: dict[str, float] = defaultdict(lambda: inf)
        for read in self.reads:
            for _, value, _ in read["served"]:
                if read["how"] == "fetch" and agent_of(value["origin"]) == read["agent"]:
                    landed[value["origin"]] = min(landed[value["origin"]], read["end"])
        return landed

    def _is_just_fetched(self, read: Line, origin: str) -> bool:
        return agent_of(origin) == read["agent"] and read["start"] <= self._flown_by[origin]

    def _views(self, *, hard: bool) -> dict[tuple[str, str, str | None], Changes]:
        """Return what had to show when: to the agent that made a change, and (None) to all others.

        The hard ones leave out those after which a stale answer may be served.
        """
        views: dict[tuple[str, str, str | None], Changes] = defaultdict(Changes)
        names = {(value["principal"], key) for read in self.reads for key, value, _ in read["served"]}
        for change in self.changes:
            if hard and change.get("stale_is_served"):
                continue
            where = [(change["principal"], change["key"])] if change["key"] is not None else names
            for principal, key in where:
                what = (change["number"], change["start"], change["change"])
                if (told := self._told.get(change["change"])) is not None:
                    views[principal, key, change["agent"]].add(told, *what)
                if (settled := self._settled.get(change["change"])) is not None:
                    views[principal, key, None].add(settled + self._promise.push_delay, *what)
        for view in views.values():
            view.close()
        return views

    def _offsets(self, process: str, start: float, end: float) -> Sequence[float]:
        """Return by how much the clock of a process may have been wrong in a span of time."""
        clocks = self._clocks[process]
        index = bisect_right(clocks, end, key=lambda line: line["before"]) - 1
        offsets = [clocks[index]["offset"]]
        while index > 0 and clocks[index]["after"] >= start:
            index -= 1
            offsets.append(clocks[index]["offset"])
        return offsets


def process_of(name: str) -> str:
    """Return the process that an agent, or an origin, belongs to."""
    return name.partition("/")[0]


def agent_of(origin: str) -> str:
    """Return the agent that made a value."""
    return origin.rpartition(":")[0]


def principal_of(agent: str) -> str:
    """Return on whose behalf an agent asks."""
    return agent.partition("/")[2]


def without(line: Line, field_name: str) -> Line:
    """Return a line without one of its fields."""
    return {name: value for name, value in line.items() if name != field_name}
