"""Which server has what: one that stays where it is, one that sentinels know of, or the nodes of a cluster."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol, cast

from redis.crc import key_slot
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError, ResponseError

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.connecting import Pools
from mcp_orchestra_redis.wire import Exchange, Reply, Words

__all__ = ["Cluster", "Fixed", "Layout", "Sentinels", "Topology", "slot_of"]


def slot_of(name: bytes) -> int:
    """Return the slot of a cluster that a name in Redis belongs to."""
    return int(key_slot(name))


class Layout:
    """Which server has which slots; two are equal if the same servers are in it.

    Args:
        owners: Where slots are, by the first of a range each, in order; one for 0 is among them.
    """

    def __init__(self, owners: Sequence[tuple[int, Place]]) -> None:
        self._starts = [start for start, _ in owners]
        self._owners = [place for _, place in owners]
        self.places: frozenset[Place] = frozenset(self._owners)
        """All servers."""
        self.only: Place | None = self._owners[0] if len(self.places) == 1 else None
        """The server, if there is but one."""

    def owner(self, name: bytes) -> Place:
        """Return the server that has what is called so."""
        return self.only or self._owners[bisect_right(self._starts, slot_of(name)) - 1]


class Topology(Protocol):
    """Finds out where the servers are."""

    spread: bool
    """Whether a command may only be about names of one slot."""

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Ask those who know: first one who is said to know, and last one who has just failed."""
        ...

    def close(self) -> None:
        """Close what was opened to ask."""
        ...


class Fixed:
    """One server that stays where it is."""

    spread = False

    def __init__(self, place: Place) -> None:
        self._layout = Layout([(0, place)])

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Return where it is."""
        return self._layout

    def close(self) -> None:
        """Do nothing: nobody had to be asked."""


class Sentinels:
    """One server at a time, and which one it is, sentinels know.

    Args:
        pools: For connections to the sentinels.
        places: Where they are.
        service: What they call the server.
    """

    spread = False

    def __init__(self, pools: Pools, places: Sequence[Place], service: str) -> None:
        self._pools = pools
        self._places = tuple(places)
        self._service = service

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Return where the server is by the first sentinel that knows."""
        reply = _first_answer(self._pools, self._places, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
        if not isinstance(reply, list):
            raise LostError("no sentinel knows the service")
        host, port = cast("list[bytes]", reply)
        return Layout([(0, Place(host.decode(), int(port)))])

    def check(self, place: Place) -> None:
        """Refuse a new connection to one that was the server before a failover: it may be there again, as a replica."""
        if self.find().only != place:
            raise LostError("not the master any more")

    def close(self) -> None:
        """Close the connections to the sentinels."""
        self._pools.close()


class Cluster:
    """Nodes that share the slots.

    Args:
        pools: For connections to the nodes; not closed here.
        places: Some of them.
    """

    spread = True

    def __init__(self, pools: Pools, places: Sequence[Place]) -> None:
        self._pools = pools
        self._given = tuple(places)
        self._known = self._given

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Return who has which slots by the first node that answers."""
        candidates = dict.fromkeys([*([first] if first is not None else ()), *self._known, *self._given])
        if last is not None and candidates.pop(last, 0) is None:
            candidates[last] = None
        for asked in candidates:
            try:
                reply = _first_answer(self._pools, (asked,), ("CLUSTER", "SLOTS"))
            except RedisError as error:
                if asked == next(reversed(candidates)) or isinstance(error, ResponseError):
                    raise
                continue
            owners = sorted(_owner(cast("list[Reply]", part), asked) for part in cast("list[Reply]", reply))
            if owners and owners[0][0] == 0:
                layout = Layout(owners)
                self._known = (asked, *(layout.places - {asked}))
                return layout
        raise LostError("no node knows where the slots are")

    def close(self) -> None:
        """Do nothing: whoever was asked is asked for entries, too."""


def _owner(part: list[Reply], asked: Place) -> tuple[int, Place]:
    host, port = cast("list[Reply]", part[2])[:2]
    name = host.decode() if isinstance(host, bytes) else ""  # a node that does not know what others call it says ""
    return cast("int", part[0]), Place(name if name not in ("", "?") else asked.host, cast("int", port))


def _first_answer(pools: Pools, places: Sequence[Place], command: Words) -> Reply:
    failed: RedisError = LostError("nobody to ask")
    for place in places:
        try:
            exchange = Exchange(pools.at(place), [command])
            try:
                (reply,) = exchange.answers()
            finally:
                exchange.close()
        except RedisError as error:
            failed = error
        else:
            if isinstance(reply, ResponseError):
                failed = reply
            elif reply is not None:
                return reply
    raise failed
