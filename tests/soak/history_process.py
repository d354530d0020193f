"""One of several processes that share a Redis: does random things with caches and writes down what it sees.

Started with its arguments as JSON; runs until it is killed, or for as long as it is told. Every line of its record is
written in one call, so that a kill leaves whole lines. All times are CLOCK_MONOTONIC, which processes of one machine
share.

An *agent* is one cache: what it was told itself holds for it at once, what others were told after a while. A value
carries whose it is and the number of its key's upstream at which it was read or set. Numbers grow with each change.
"""

import asyncio
import fcntl
import json
import logging
import os
import random
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_orchestra import ResourceCache
from mcp_orchestra.cache import Answer, Fetched, Freshness, Ticket, resources_key
from mcp_orchestra_redis import RedisOptions, RedisStore

PRINCIPALS = ("alice", "bob")
SERVERS = tuple(f"s{number}" for number in range(5))
KEYS = tuple(map(resources_key, SERVERS))
_SLOT = struct.Struct("=q")


class Upstream:
    """The number of every key of every principal, in a file that all processes share."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self, principal: str, key: str) -> int:
        raw = os.pread(self._file, _SLOT.size, self._slot(principal, key))
        return _SLOT.unpack(raw)[0] if len(raw) == _SLOT.size else 0

    def change(self, principal: str, key: str | None) -> int:
        """Give a key, or all keys of everybody for None, a new number and return it."""
        slots = [(principal, key)] if key is not None else [(p, k) for p in PRINCIPALS for k in KEYS]
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            number = time.monotonic_ns()
            for slot in slots:
                os.pwrite(self._file, _SLOT.pack(number), self._slot(*slot))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return number

    @staticmethod
    def _slot(principal: str, key: str) -> int:
        return (PRINCIPALS.index(principal) * len(KEYS) + KEYS.index(key)) * _SLOT.size


class Record:
    """A file of lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **fields: Any) -> None:
        os.write(self._file, json.dumps({"what": what, **fields}).encode() + b"\n")


class DeafStore(RedisStore):
    """A store with a defect: it says that it tells of changes and does not."""

    def watch(self, changed: object) -> None:
        pass

    def in_step(self) -> bool:
        return True


class Clock:
    """The time of day, as wrong as it is told to be."""

    def __init__(self, process: str, record: Record) -> None:
        self._process = process
        self._record = record
        self.offset = 0.0
        self.set(0.0)

    def __call__(self) -> float:
        return time.time() + self.offset

    def set(self, offset: float) -> None:
        before, self.offset = time.monotonic(), offset
        self._record.write("clock", process=self._process, before=before, after=time.monotonic(), offset=offset)


@dataclass
class Agent:
    """One cache, and what is done with it."""

    name: str
    principal: str
    cache: ResourceCache
    upstream: Upstream
    record: Record
    random: random.Random
    number: int = 0
    granted: tuple[Ticket, dict[str, Answer]] | None = None

    async def act(self) -> None:
        """Do one thing."""
        actions = {
            self.gather: 50,
            self.show_ticket: 25,
            self.get: 8,
            self.fetch: 8,
            self.fetch_and_give_up: 2,
            self.invalidate: 2,
            self.invalidate_in_a_thread: 2,
            self.outdate: 2,
            self.set: 2,
            self.invalidate_everything: 0.2,
        }
        (action,) = self.random.choices(list(actions), list(actions.values()))
        await action()

    def some_keys(self) -> list[str]:
        return self.random.sample(KEYS, self.random.randint(1, len(KEYS)))

    def one_key(self) -> str:
        return self.random.choice(KEYS)

    # Reading.

    def saw(self, how: str, start: float, served: Sequence[tuple[str, dict, bool]]) -> None:
        self.record.write("read", how=how, agent=self.name, start=start, end=time.monotonic(), served=list(served))

    async def gather(self) -> None:
        keys, start = self.some_keys(), time.monotonic()
        ticket = self.cache.ticket()
        failing = [key for key in keys if self.random.random() < 0.05]
        answers = await self.cache.lookup(keys, failing=failing)
        self.saw("lookup", start, [(key, answer.copy(), answer.stale) for key, answer in answers.items()])
        granted = self.cache.grant(ticket, answers)
        self.granted = (granted, answers) if granted is not None else None
        await asyncio.gather(*(self.fetch(key) for key in keys if key not in answers))

    async def show_ticket(self) -> None:
        if self.granted is not None:
            start = time.monotonic()
            if self.cache.honours(self.granted[0]):
                answers = self.granted[1]
                self.saw("ticket", start, [(key, answer.copy(), answer.stale) for key, answer in answers.items()])

    async def get(self) -> None:
        key, start = self.one_key(), time.monotonic()
        data = await asyncio.to_thread(self.cache.get, key)
        self.saw("get", start, [(key, data, False)] if data is not None else [])

    async def fetch(self, key: str | None = None) -> None:
        key, start = key or self.one_key(), time.monotonic()
        try:
            answer = await self.cache.fetch(key, lambda: self.ask(key))
        except LookupError:
            return
        self.saw("fetch", start, [(key, answer.copy(), answer.stale)])

    async def fetch_and_give_up(self) -> None:
        task = asyncio.create_task(self.fetch())
        await asyncio.sleep(self.random.random() * 0.02)
        task.cancel()
        await asyncio.wait([task])

    async def ask(self, key: str) -> Fetched:
        """Ask upstream, which takes a while before and after it has seen how things stand, and may fail."""
        await asyncio.sleep(self.random.random() * 0.01)
        value = self.value(key, self.upstream.read(self.principal, key))
        await asyncio.sleep(self.random.choice((0, 0.01, 0.1)) * self.random.random())
        if self.random.random() < 0.05:
            raise LookupError
        self.record.write("fetched", agent=self.name, origin=value["origin"], at=time.monotonic())
        return Fetched(data=value)

    def value(self, key: str, number: int) -> dict[str, Any]:
        self.number += 1
        origin = f"{self.name}:{self.number}"
        return {"principal": self.principal, "key": key, "number": number, "origin": origin}

    # Changing.

    async def invalidate(self, key: str | None = None) -> None:
        change = await self.begin_change(key := key or self.one_key())
        self.cache.invalidate(key)
        await self.end_change(change)

    async def invalidate_in_a_thread(self) -> None:
        change = await self.begin_change(key := self.one_key())
        await asyncio.to_thread(self.cache.invalidate, key)
        await self.end_change(change)

    async def invalidate_everything(self) -> None:
        change = await self.begin_change(None)
        self.cache.invalidate()
        await self.end_change(change)

    async def outdate(self) -> None:
        change = await self.begin_change(key := self.one_key(), stale_is_served=True)
        self.cache.outdate(key)
        await self.end_change(change)

    async def set(self) -> None:
        key = self.one_key()
        value = self.value(key, self.upstream.change(self.principal, key))
        change = await self.begin_change(key, number=value["number"], origin=value["origin"])
        await asyncio.to_thread(self.cache.set, key, value)
        await self.end_change(change)

    async def begin_change(self, key: str | None, number: int | None = None, **fields: Any) -> tuple[str, int]:
        """Change what upstream has and write down that the cache is about to be told."""
        self.number += 1
        change, errors = f"{self.name}:{self.number}", (await asyncio.to_thread(self.cache.get_stats))["errors"]
        self.record.write(
            "change",
            change=change,
            agent=self.name,
            principal=self.principal if key is not None else None,
            key=key,
            number=number or self.upstream.change(self.principal, key),
            start=time.monotonic(),
            **fields,
        )
        return change, errors

    async def end_change(self, begun: tuple[str, int]) -> None:
        """Write down that the cache was told, and whether the store has been since without any trouble."""
        change, errors = begun
        end = time.monotonic()
        self.record.write("told", change=change, at=end)
        stats = await asyncio.to_thread(self.cache.get_stats)
        if stats["errors"] == errors and stats["available"]:
            self.record.write("settled", change=change, at=time.monotonic())


async def jump(clock: Clock, rng: random.Random, skew: float) -> None:
    """Let a clock be wrong: mostly by no more than is stated, now and then far behind for a moment."""
    while True:
        clock.set(rng.uniform(0, skew) if rng.random() < 0.9 else -rng.uniform(2, 5))
        await asyncio.sleep(rng.uniform(0.1, 0.6))


async def run(arguments: dict[str, Any]) -> None:
    folder, process = Path(arguments["folder"]), arguments["process"]
    rng = random.Random(arguments["seed"])
    record, upstream = Record(folder / f"{process}.jsonl"), Upstream(folder / "upstream")
    clock = Clock(process, record)
    agents = []
    for principal in PRINCIPALS:
        store_type = DeafStore if arguments["deaf"] else RedisStore
        options = RedisOptions(url=arguments["url"], namespace="history", connect_timeout=1.0, socket_timeout=1.0)
        cache = ResourceCache(
            arguments["ttl"],
            store=store_type(options),
            blocking=True,
            clock=clock,
            store_timeout=2.0,
            freshness=Freshness(max_stale=arguments["max_stale"]),
            near_entries=arguments["near_entries"],
            partitions=dict.fromkeys(SERVERS, principal),
        )
        agents.append(Agent(f"{process}/{principal}", principal, cache, upstream, record, rng))

    async def keep_acting(agent: Agent) -> None:
        while True:
            await agent.act()
            await asyncio.sleep(rng.random() * 0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(jump(clock, rng, arguments["skew"]))
        for agent in agents * 3:
            group.create_task(keep_acting(agent))


if __name__ == "__main__":
    logging.disable()
    asyncio.run(run(json.loads(sys.argv[1])))
