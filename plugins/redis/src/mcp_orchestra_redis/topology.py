"""Which server has what: one that stays where it is, one that sentinels know of, or the nodes of a cluster."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import count
from typing import Protocol

from redis.crc import key_slot
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as SilentError

from mcp_orchestra_redis.address import Place
from mcp_orchestra_redis.connecting import Pools
from mcp_orchestra_redis.replies import array, text, value
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


class _Guides:
    """Those who know where the servers are. One that hangs ends the search, and is the last to be asked from then on.

    So no call waits for more than one of them, and the next one asks another.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._hung: dict[Place, int] = {}
        self._number = count(1)

    def in_turn(self, places: Iterable[Place]) -> list[Place]:
        """Return them in the order in which to ask."""
        return sorted(dict.fromkeys(places), key=lambda place: self._hung.get(place, 0))

    def ask(self, place: Place, command: Words) -> Reply:
        """Ask one of them and return the answer, an error if it is one."""
        try:
            with closing(Exchange(self._pools.at(place), [command])) as exchange:
                (reply,) = exchange.answers()
        except SilentError:
            self._hung[place] = next(self._number)
            raise
        self._hung.pop(place, None)
        return reply


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
        self._guides = _Guides(pools)
        self._places = tuple(places)
        self._service = service

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Return where the server is by the first sentinel that knows."""
        failed: RedisError = LostError("no sentinel knows the service")
        for place in self._guides.in_turn(self._places):
            try:
                reply = self._guides.ask(place, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
            except SilentError:
                raise
            except RedisError as error:
                failed = error
                continue
            if isinstance(reply, ResponseError):
                failed = reply
            elif reply is not None:
                host, port = array(reply, 2)
                return Layout([(0, Place(text(host).decode(errors="replace"), _port(text(port))))])
        raise failed

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
        self._guides = _Guides(pools)
        self._given = tuple(places)
        self._known = self._given

    def find(self, *, first: Place | None = None, last: Place | None = None) -> Layout:
        """Return who has which slots by the first node that answers."""
        candidates = dict.fromkeys([*([first] if first is not None else ()), *self._known, *self._given])
        if last is not None and candidates.pop(last, 0) is None:
            candidates[last] = None
        failed: RedisError = LostError("no node knows where the slots are")
        for asked in self._guides.in_turn(candidates):
            try:
                reply = self._guides.ask(asked, ("CLUSTER", "SLOTS"))
            except SilentError:
                raise
            except RedisError as error:
                failed = error
                continue
            if isinstance(reply, ResponseError):
                raise reply
            owners = sorted(_owner(array(part), asked) for part in array(reply))
            if owners and owners[0][0] == 0:
                layout = Layout(owners)
                self._known = (asked, *(layout.places - {asked}))
                return layout
        raise failed

    def close(self) -> None:
        """Do nothing: whoever was asked is asked for entries, too."""


def _owner(part: list[Reply], asked: Place) -> tuple[int, Place]:
    if len(part) < 3:
        raise InvalidResponse
    start, node = part[0], array(part[2])
    if len(node) < 2 or not isinstance(start, int) or not isinstance(port := node[1], int):
        raise InvalidResponse
    name = (value(node[0]) or b"").decode(errors="replace")  # one that does not know what others call it says ""
    return start, Place(name if name not in ("", "?") else asked.host, port)


def _port(written: bytes) -> int:
    if not written.isdigit() or len(written) > 5:
        raise InvalidResponse
    return int(written)
