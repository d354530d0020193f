"""A store that several caches share, as processes share a server: it grants leases and tells of changes at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event, RLock

from mcp_orchestra.stores import StoredEntry


class Shared:
    """What is behind all clients.

    Args:
        clock: Seconds, for leases.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = RLock()
        self.entries: dict[str, StoredEntry] = {}
        self.leases: dict[str, tuple[str, float]] = {}
        self.clients: list[BareClient] = []

    def holder(self, key: str) -> str | None:
        """Return who has the lease on a key."""
        holder, until = self.leases.get(key, ("", 0.0))
        return holder if self.clock() < until else None


class BareClient:
    """One process's way to the store; it does what every store must, and nothing besides.

    While the name of a method is in ``broken``, that method raises; while ``gate`` is closed, every method waits.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.error: BaseException = ValueError("it is broken")
        self.gate = Event()
        self.gate.set()
        self.entered = Event()
        self.changed: Callable[[Sequence[str] | None], None] | None = None
        self.stepping = True
        shared.clients.append(self)

    def begin(self, method: str) -> None:
        self.calls.append(method)
        self.entered.set()
        assert self.gate.wait(10)
        if method in self.broken:
            raise self.error

    def tell(self, keys: Sequence[str] | None) -> None:
        for client in self.shared.clients:
            if client is not self and client.changed is not None and client.stepping:
                client.changed(keys)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, StoredEntry]:
        self.begin("get_many")
        with self.shared.lock:
            return {key: self.shared.entries[key] for key in keys if key in self.shared.entries}

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        self.begin("set_many")
        with self.shared.lock:
            self.shared.entries.update(entries)
            for key in entries:
                self.shared.leases.pop(key, None)
            self.tell(list(entries))
        return 0

    def delete_many(self, keys: Iterable[str]) -> int:
        self.begin("delete_many")
        keys = list(keys)
        with self.shared.lock:
            there = [self.shared.entries.pop(key, None) for key in keys]
            for key in keys:
                self.shared.leases.pop(key, None)
            self.tell(keys)
        return len(there) - there.count(None)

    def clear(self) -> None:
        self.begin("clear")
        with self.shared.lock:
            self.shared.entries.clear()
            self.shared.leases.clear()
            self.tell(None)

    def count(self, now: float) -> int:
        with self.shared.lock:
            return sum(entry.expires_at > now for entry in self.shared.entries.values())

    def purge(self, now: float) -> int:
        self.begin("purge")
        with self.shared.lock:
            gone = [key for key, entry in self.shared.entries.items() if entry.expires_at <= now]
            for key in gone:
                del self.shared.entries[key]
        return len(gone)

    def close(self) -> None:
        self.shared.clients.remove(self)


class LeasingClient(BareClient):
    """One that grants leases."""

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        self.begin("acquire")
        with self.shared.lock:
            if self.shared.holder(key) not in (None, holder):
                return False
            self.shared.leases[key] = holder, self.shared.clock() + seconds
            return True

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        self.begin("renew")
        with self.shared.lock:
            if self.shared.holder(key) != holder:
                return False
            self.shared.leases[key] = holder, self.shared.clock() + seconds
            return True

    def set_held(self, key: str, entry: StoredEntry, holder: str) -> int | None:
        self.begin("set_held")
        with self.shared.lock:
            if self.shared.holder(key) != holder:
                return None
            self.shared.entries[key] = entry
            del self.shared.leases[key]
            self.tell([key])
        return 0

    def release(self, key: str, holder: str) -> None:
        self.begin("release")
        with self.shared.lock:
            if self.shared.holder(key) == holder:
                del self.shared.leases[key]


class TellingClient(BareClient):
    """One that tells of changes."""

    push_delay = 0.0

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> None:
        self.changed = changed

    def in_step(self) -> bool:
        return self.stepping

    def lose_step(self) -> None:
        self.stepping = False

    def regain_step(self) -> None:
        self.stepping = True
        assert self.changed is not None
        self.changed(None)


class Client(LeasingClient, TellingClient):
    """One that does everything."""
