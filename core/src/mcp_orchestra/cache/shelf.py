"""Entries in a store: how they get there and back, and what is done about those that are of no use."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from mcp_orchestra.cache.abilities import Abilities
from mcp_orchestra.cache.entry import Entry, Kept, encode, kept, pack
from mcp_orchestra.cache.freshness import Freshness
from mcp_orchestra.cache.guard import Reading, StoreGuard
from mcp_orchestra.cache.keys import server_of
from mcp_orchestra.cache.near import NearCache
from mcp_orchestra.cache.sorting import Found, Sorter
from mcp_orchestra.cache.statistics import Statistics
from mcp_orchestra.cache.troubles import StoreTroubles
from mcp_orchestra.stores import CacheStore, GrantsLeases, StoredEntry, StoredObject

__all__ = ["Shelf", "Writing"]

_TAKE_OVER_SECONDS = 1.0


@dataclass(slots=True)
class Writing:
    """An entry on its way into the store."""

    key: str
    put: Callable[[], object]
    """Gives it to the store; one that is held returns None if it may not be stored any more."""
    kept: Kept
    """What will be read back."""
    size: int
    held: bool
    """Whether that takes a lease."""
    wanted: Callable[[], bool]
    """Asked when its turn has come: whether nothing has made it outdated meanwhile."""
    begun: bool = False
    ended: bool = False


class Shelf:
    """Reads and writes the entries of one cache.

    Args:
        store: Where they are.
        abilities: What it can do.
        guard: Makes the calls to it.
        near: In front of a store that has to be waited for.
        freshness: What may be done with an entry, and for how long it is kept.
        clock: Seconds.
        statistics: Counts entries and bytes.
        troubles: Told of entries that are not what was stored.
        partitions: For servers by id: what divides their entries from those that others get from the same server.
        holder_of: Returns which fetch of this process has the lease on a stored key, or a new name.
    """

    def __init__(
        self,
        store: CacheStore,
        abilities: Abilities,
        guard: StoreGuard,
        near: NearCache | None,
        *,
        freshness: Freshness,
        clock: Callable[[], float],
        statistics: Statistics,
        troubles: StoreTroubles,
        partitions: Mapping[str, str],
        holder_of: Callable[[str], str],
    ) -> None:
        self._store = store
        self._objects = abilities.objects
        self._leases = abilities.leases
        self._guard = guard
        self._near = near
        self._freshness = freshness
        self._clock = clock
        self._statistics = statistics
        self._troubles = troubles
        self._partitions = partitions
        self._holder_of = holder_of
        self._sorter = Sorter(abilities.objects, freshness=freshness, clock=clock, near=near is not None)

    def apply(self, freshness: Freshness, partitions: Mapping[str, str]) -> None:
        """Go by other rules from now on, as the class describes them."""
        self._freshness, self._partitions = freshness, partitions
        self._sorter.apply(freshness)

    def get(self, keys: tuple[str, ...]) -> dict[str, Found]:
        """Return what there is under the keys."""
        found = self._nearby(keys)
        nothing: dict[str, Any] = {}
        if len(found) < len(keys):
            more = self._guard.call(self._reading(keys, found), nothing)
            found |= {key: more[key] for key in keys if key in more}
            if self._leases is not None and len(found) < len(keys):
                self._guard.call(partial(self._sweep, [key for key in keys if key not in found]), None)
        return found

    async def aget(self, keys: tuple[str, ...], *, shared: bool = False) -> dict[str, Found]:
        """Return what there is under the keys, without holding up the event loop.

        Args:
            keys: The keys.
            shared: Whether several will copy what is found.
        """
        found = self._nearby(keys)
        nothing: dict[str, Any] = {}
        if len(found) < len(keys):
            more = await self._guard.acall(self._reading(keys, found, shared=shared), nothing)
            found |= {key: more[key] for key in keys if key in more}  # and not what others asked for
        return found

    def read(self, keys: tuple[str, ...], shared: bool, store: CacheStore) -> dict[str, Found]:
        """Read entries from the store; drop those that are of no use or were never stored by a cache.

        An expired one is left where somebody may hold the lease to replace it.
        """
        names = {key: self.name(key) for key in keys}
        wanted = tuple(names.values())
        token = self._near.reading(wanted) if self._near is not None else None
        near: dict[str, Kept] = {}
        try:
            result = self._sorter.look(names, shared, store)
            near = self._guard.unspoilt(result.near) if result.near else {}
        finally:
            if self._near is not None:
                self._near.keep(near, wanted, token)
        for key, one in result.found.items():
            if self._objects is None:
                self._statistics.read(key, one.size)
        for _ in result.junk:
            self._troubles.failed("an entry that is not what was stored")
        expired = result.expired if self._leases is None else []
        if expired or result.junk:
            self._drop(store, names, expired, result.junk)
        # What should be gone by now is, even if the store cannot delete it.
        kept = self._guard.unspoilt({names[key]: key for key in result.found})
        return {key: result.found[key] for key in kept.values()}

    def describe(self, keys: tuple[str, ...], store: CacheStore) -> dict[str, dict[str, Any]]:
        """Return what is known of the entries under the keys, without counting or changing anything."""
        now = self._clock()
        return {
            key: {
                "age": now - found.entry.stored_at,
                "expires_in": self._freshness.limit(found.entry) - now,
                "stale": not found.standing.fresh,
                "outdated": found.entry.outdated,
                "ttl_ms": found.entry.ttl_ms,
                "scope": found.entry.scope,
                "bytes": found.size,
            }
            for key, found in self._sorter.look({key: self.name(key) for key in keys}, True, store).found.items()
        }

    def writing(
        self, key: str, entry: Entry, *, wanted: Callable[[], bool] = lambda: True, holder: str | None = None
    ) -> Writing:
        """Prepare an entry for being written.

        Args:
            key: Its key.
            entry: The entry.
            wanted: As in `Writing`.
            holder: Who holds the lease on the key, without which it is not stored; None to take it from whoever does.

        Raises:
            TypeError: The data cannot be kept; the message says where.
        """
        name, store = self.name(key), self._store
        expires_at = entry.expires_at + self._freshness.retention
        if (objects := self._objects) is not None:
            packed = pack(name, entry)
            one = {name: StoredObject(packed, expires_at, packed.size)}
            return Writing(key, lambda: objects.set_objects(one), packed, packed.size, False, wanted)
        value, data = encode(name, entry)
        back = kept(name, entry._replace(data=data), adopt=True)
        stored = StoredEntry(value, expires_at)
        if (leases := self._leases) is not None:
            put = (
                partial(self._take_over, leases, name, stored)
                if holder is None
                else partial(leases.set_held, name, stored, holder)
            )
            return Writing(key, put, back, len(value), True, wanted)
        return Writing(key, lambda: store.set_many({name: stored}), back, len(value), False, wanted)

    def write(self, writing: Writing) -> None:
        """Write an entry, if it is still wanted; one that cannot be replaced is not served any more."""
        writing.begun = True
        name = self.name(writing.key)
        token = self._near.reading((name,)) if self._near is not None else None
        near: dict[str, Kept] = {}
        try:
            # Asked here, where no other call can come between: an invalidation either shows here, or deletes later and
            # voids the token.
            if not writing.wanted() or ((evicted := self._put(writing, name)) is None and writing.held):
                return
            near = self._guard.unspoilt({name: writing.kept})
        finally:
            if self._near is not None:
                self._near.keep(near, (name,), token)
            writing.ended = True
        self._statistics.written(writing.key, writing.size)
        self._statistics.evicted(self._evicted(evicted))

    def see_to(self, writing: Writing) -> None:
        """See to it that what could not be replaced is not served any more."""
        # Once begun, `write` has done so if need be, or will: it may only be slow. What is not wanted replaces nothing.
        if not writing.begun and writing.wanted():
            self._guard.condemn(self.name(writing.key))
        if not writing.ended:
            self.forget_near(writing.key)

    def discard(self, key: str | None) -> None:
        """Drop an entry, or all for None."""
        # In this order: who is reading at this moment sees one of the two, and keeps nothing near.
        self._guard.discard(None if key is None else self.name(key))
        self.forget_near(key)

    def outdate(self, key: str) -> None:
        """Mark an entry as outdated: it is not fresh any more, but better than nothing while its server fails."""
        if not self._freshness.max_stale:
            self.discard(key)
            return
        self._guard.amend(self.name(key), partial(self._mark_outdated, key, self._clock()))
        self.forget_near(key)

    def forget_near(self, key: str | None) -> None:
        """Forget what is in front of the store."""
        if self._near is not None:
            self._near.forget(None if key is None else self.name(key))

    def name(self, key: str) -> str:
        """Return the key under which the store has it."""
        if partition := self._partitions.get(server_of(key)):
            return f"{key}@{partition}"
        return f"{key}@" if "@" in key else key  # so that nothing else has a name of the first kind

    def whole(self, method: str, which: str, number: object) -> int:
        """Return a number that a store returned, 0 for one that is none: what it was asked to do is done."""
        if isinstance(number, int) and number >= 0:
            return number
        found = "a negative number" if isinstance(number, int) else type(number).__name__
        self._troubles.failed(f"{method} must return how many entries were {which}, not {found}")
        return 0

    def _take_over(self, leases: GrantsLeases, name: str, stored: StoredEntry) -> int | None:
        """Store an entry, whoever is fetching its key.

        Not with ``set_many``: over a network that may arrive when we have long ceased to wait for it, and after an
        invalidation by somebody else, which a lease does not survive.
        """
        holder = self._holder_of(name)
        if not leases.acquire(name, holder, _TAKE_OVER_SECONDS):
            self._store.delete_many([name])  # which revokes the other's lease: what he fetches is older
            leases.acquire(name, holder, _TAKE_OVER_SECONDS)
        return leases.set_held(name, stored, holder)

    def _put(self, writing: Writing, name: str) -> object:
        try:
            return writing.put()
        except BaseException:
            self._guard.condemn(name)
            raise

    def _evicted(self, number: object) -> int:
        return self.whole("set_many" if self._objects is None else "set_objects", "evicted", number)

    def _nearby(self, keys: tuple[str, ...]) -> dict[str, Found]:
        if self._near is None:
            return {}
        now = self._clock()
        names = {self.name(key): key for key in keys}
        found: dict[str, Found] = {}
        for name, near in self._near.find(names).items():
            one = self._sorter.judged(near, now)
            if one.standing.fresh:  # what to do about any other is the store's affair
                found[names[name]] = one
        return found

    def _reading(self, keys: tuple[str, ...], found: Mapping[str, Found], *, shared: bool = False) -> Reading:
        return Reading([key for key in keys if key not in found], self.read, shared=shared)

    def _mark_outdated(self, key: str, at: float, store: CacheStore) -> None:
        name, leases = self.name(key), self._leases
        holder = self._holder_of(name)
        # With the lease, what somebody else drops between our reading and our writing does not come back. It may be
        # that of a fetch of ours: what that brings is from before, and is not wanted any more.
        if leases is not None and not leases.acquire(name, holder, _TAKE_OVER_SECONDS):
            store.delete_many([name])  # which revokes the lease of whoever is fetching what was before
            return
        result = self._sorter.look({key: name}, True, store)
        found = result.found.get(key)
        useful = found is not None and found.standing.while_failing
        if leases is None:
            self._statistics.expired(result.expired)
        if leases is None or not useful:
            store.delete_many([name])
        if found is None or not useful:
            return
        entry = found.entry._replace(expires_at=min(found.entry.expires_at, at), outdated=True)
        with suppress(TypeError):  # it was stored before, so it can be again
            if (evicted := self.writing(key, entry, holder=holder).put()) is not None or leases is None:
                self._statistics.evicted(self._evicted(evicted))

    def _sweep(self, keys: Iterable[str], store: CacheStore) -> None:
        """Drop the expired among these keys."""
        names = {key: self.name(key) for key in keys}
        stored, now = store.get_many(tuple(names.values())), self._clock()
        expired = [key for key, name in names.items() if name in stored and not now < stored[name].expires_at]
        if expired:
            self._drop(store, names, expired, ())

    def _drop(self, store: CacheStore, names: Mapping[str, str], expired: list[str], junk: Iterable[str]) -> None:
        try:
            store.delete_many([names[key] for key in (*expired, *junk)])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a store that cannot write can still be read
            self._troubles.failed(type(error).__name__, error)
        else:
            self._statistics.expired(expired)
