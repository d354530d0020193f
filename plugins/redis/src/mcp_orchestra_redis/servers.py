"""Sends commands to the server that each one belongs to, each server's in one round trip."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from typing import NamedTuple, cast

from redis.exceptions import AskError, ClusterError, MovedError, ReadOnlyError, RedisError, ResponseError, TryAgainError

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.connecting import Pools
from mcp_orchestra_redis.deadline import within
from mcp_orchestra_redis.options import RedisOptions
from mcp_orchestra_redis.replies import array, text, values
from mcp_orchestra_redis.topology import Cluster, Fixed, Layout, Sentinels, Topology, slot_of
from mcp_orchestra_redis.wire import Connection, Exchange, Reply, Words

__all__ = ["Command", "Servers"]

_SCAN_COUNT = 500
_ELSEWHERE = (ClusterError, MovedError, ReadOnlyError)  # so that one has to ask again who has what


class Command(NamedTuple):
    """A command, and what it is about."""

    name: bytes
    """Decides which server it goes to."""
    words: Words


class Servers:
    """All servers that entries are kept on; methods raise what the client library raises.

    Where they are is found out at the first command, and again after any failure, for it may have been a failover.
    What is not said to take several round trips takes no longer than the options allow for a call.

    Args:
        options: Where to begin, and how to connect.
    """

    def __init__(self, options: RedisOptions) -> None:
        address = options.address
        self.text: str = str(address)
        """The address without credentials."""
        self._total = options.total
        self._layout: Layout | None = None
        self._failed: Place | None = None
        self._topology: Topology
        if address.kind == "sentinel":
            sentinels = Sentinels(Pools(options, options.sentinel_login), address.places, address.service)
            self._topology = sentinels
            self._pools = Pools(options, options.login, database=address.database, check=sentinels.check)
        elif address.kind == "cluster":
            self._pools = Pools(options, options.login)
            self._topology = Cluster(self._pools, address.places)
        else:
            self._pools = Pools(options, options.login, database=address.database)
            self._topology = Fixed(address.places[0])

    def values(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under these names, None where there is none."""
        if not self._topology.spread:
            return self._values([list(names)])
        slots: dict[int, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            slots[slot_of(name)].append(index)
        found = self._values([[names[index] for index in indexes] for indexes in slots.values()])
        order = [index for indexes in slots.values() for index in indexes]
        values: list[bytes | None] = [None] * len(names)
        for index, value in zip(order, found, strict=True):
            values[index] = value
        return values

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands and return what is answered, in order; errors among it, but none that another server cures."""
        if not commands:
            return []
        with within(self._total):
            replies = self._run_at_owners(commands)
            if any(isinstance(reply, _ELSEWHERE) for reply in replies):
                self._layout = None
            # Something has moved (MovedError is an AskError, too). One more time, where it is said to be.
            moved = next((reply for reply in replies if isinstance(reply, MovedError)), None)
            if moved is not None:
                self._find(first=_told_by(moved))
            for index, reply in enumerate(replies):
                if isinstance(reply, MovedError):
                    reply = self._run_at_owners([commands[index]])[0]  # it may be moving on from there
                if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                    reply = self.run_at(_told_by(reply), [("ASKING",), commands[index].words])[1]
                replies[index] = reply
        return replies

    def checked(self, commands: Sequence[Command]) -> list[Reply]:
        """Do what `run` does, and raise the first error that a server answers with."""
        replies = self.run(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    def run_at(self, place: Place, commands: Sequence[Words]) -> list[Reply]:
        """Send commands to one server and return what it answers."""
        try:
            with within(self._total), closing(Exchange(self._pools.at(place), commands)) as exchange:
                return exchange.answers()
        except RedisError:
            self._layout, self._failed = None, place
            raise

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """Yield the names that match, some at a time, each in a round trip; one may come twice."""
        for place in self.places():
            cursor = b"0"
            while True:
                (reply,) = self.run_at(place, [("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
                if isinstance(reply, ResponseError):
                    raise reply
                next_cursor, names = array(reply, 2)
                if names:
                    yield [text(name) for name in array(names)]
                if (cursor := text(next_cursor)) == b"0":
                    break

    def places(self) -> frozenset[Place]:
        """Return where the servers are, as far as is known."""
        return (self._layout or self._find()).places

    def survey(self) -> Layout:
        """Return where the servers are now, asking those who know."""
        return self._find()

    def dial(self, place: Place) -> Connection:
        """Return a connection that belongs to the caller."""
        return self._pools.dial(place)

    def close(self) -> None:
        """Close all connections; what is under way in other threads fails."""
        self._pools.close()
        self._topology.close()

    def _find(self, first: Place | None = None) -> Layout:
        with within(self._total):
            layout = self._layout = self._topology.find(first=first, last=self._failed)
        return layout

    def _values(self, groups: Sequence[list[bytes]]) -> list[bytes | None]:
        replies = self.run([_reading(group) for group in groups])
        # Those of a slot that is being moved may be here and there: then each is asked for by itself.
        apart = [index for index, reply in enumerate(replies) if isinstance(reply, TryAgainError)]
        again = self.checked([_reading([name]) for index in apart for name in groups[index]])
        single = chain.from_iterable(values(reply, 1) for reply in again)
        for index in apart:
            replies[index] = cast("list[Reply]", [next(single) for _ in groups[index]])
        found: list[bytes | None] = []
        for group, reply in zip(groups, replies, strict=True):
            if isinstance(reply, ResponseError):
                raise reply
            found += values(reply, len(group))
        return found

    def _run_at_owners(self, commands: Sequence[Command]) -> list[Reply]:
        layout = self._layout or self._find()
        if layout.only is not None:
            return self.run_at(layout.only, [command.words for command in commands])
        shares: dict[Place, list[int]] = defaultdict(list)
        for index, command in enumerate(commands):
            shares[layout.owner(command.name)].append(index)
        replies: list[Reply] = [None] * len(commands)
        place = None
        try:
            with ExitStack() as stack:
                exchanges: dict[Place, Exchange] = {}
                # All servers are given theirs before the first is waited for.
                for place, share in shares.items():
                    exchange = Exchange(self._pools.at(place), [commands[index].words for index in share])
                    exchanges[place] = stack.enter_context(closing(exchange))
                for place, exchange in exchanges.items():
                    for index, reply in zip(shares[place], exchange.answers(), strict=True):
                        replies[index] = reply
        except RedisError:
            self._layout, self._failed = None, place
            raise
        return replies


def _reading(names: Sequence[bytes]) -> Command:
    return Command(names[0], ("MGET", *names))


def _told_by(error: AskError) -> Place:
    host, port = cast("tuple[str, int]", error.node_addr)  # pyright: ignore[reportUnknownMemberType]  # untyped
    return Place(host, port)
