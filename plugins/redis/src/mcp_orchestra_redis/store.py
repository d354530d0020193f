"""The store: entries as values in Redis, leases beside them, and changes told to everybody."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from mcp_orchestra import StoredEntry
from redis.exceptions import ResponseError

from mcp_orchestra_redis import moving, scripts
from mcp_orchestra_redis.deadline import within
from mcp_orchestra_redis.envelope import HEADER_BYTES, expiry, milliseconds_to_keep, unwrap, wrap
from mcp_orchestra_redis.faults import own_words
from mcp_orchestra_redis.keys import Keys, as_bytes
from mcp_orchestra_redis.leases import Leases
from mcp_orchestra_redis.markers import Markers
from mcp_orchestra_redis.messages import ANY_KEY, Sender
from mcp_orchestra_redis.options import RedisOptions
from mcp_orchestra_redis.push import PUSH_DELAY, Listener
from mcp_orchestra_redis.replies import numbers
from mcp_orchestra_redis.servers import Command, Servers

__all__ = ["RedisStore"]

_ItemT = TypeVar("_ItemT")

_BATCH = 500
_BATCH_BYTES = 1 << 20


class RedisStore:
    """Keeps entries in Redis or Valkey for all who share it; for threads, and safe after a fork.

    Nothing is connected before the first call. No call is repeated: what cannot be reached raises ``ConnectionError``
    or ``TimeoutError`` within the timeouts of the options, what is refused a ``RedisStoreError``. Only `clear`, `count`
    and `purge` may take longer in total, for they look at all keys: each of their steps has the time of a call.

    Args:
        options: Where it is and how to connect; None for all defaults.
        clock: Seconds since the epoch.
    """

    push_delay: float = PUSH_DELAY

    def __init__(self, options: RedisOptions | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options or RedisOptions()
        self._clock = clock
        self._total = self._options.total
        self._keys = Keys(self._options.namespace)
        self._servers = Servers(self._options)
        self._leases = Leases(self._servers, self._keys)
        self._sender = Sender()
        self._changed: Callable[[Sequence[str] | None], None] | None = None
        self._listeners: dict[int, Listener] = {}

    def __repr__(self) -> str:
        return f"RedisStore({self._servers.text}, namespace={self._options.namespace!r})"

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        """Return what is there, in one round trip to each server."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        names = [self._keys.entry(key) for key in wanted]
        with own_words(self._servers.text), within(self._total):
            values = self._servers.values(names)
        found: dict[str, StoredEntry] = {}
        for key, name, value in zip(wanted, names, values, strict=True):
            if value is not None and (entry := unwrap(name, value)) is not None:
                found[key] = entry
        return found

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        """Store the entries, revoke the leases on them and tell the others.

        Returns:
            0: if Redis evicts others to make room, nobody is told.

        Raises:
            RedisFullError: There was no room for one at least. What was there under its key is gone.
            RedisReadOnlyError: The server takes no writes. What was there is still there.
            RedisTooLargeError: It takes too long to send them. What was there may be, too.
            RedisStoreError: As it says. After any of these, there may be old or new under keys of later batches, too.
        """
        now = self._clock()
        with own_words(self._servers.text), within(self._total):
            calls = (self._storing(key, entry, now) for key, entry in entries.items())
            for batch in _batches(calls, _size):
                scripts.call(self._servers, scripts.STORE, batch, apart=moving.store)
        return 0

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries, revoke the leases on them, tell the others, and return how many there were.

        Raises:
            RedisReadOnlyError: The server takes no writes. What was there is still there, and is still returned.
        """
        dropped = 0
        with own_words(self._servers.text), within(self._total):
            for batch in _batches(keys):
                calls = [(self._names(key), (self._keys.channel, self._sender.written(key))) for key in batch]
                dropped += sum(numbers(scripts.call(self._servers, scripts.DROP, calls, apart=moving.drop)))
        return dropped

    def clear(self) -> None:
        """Drop everything in the namespace, and nothing else.

        Raises:
            RedisReadOnlyError: The server takes no writes. What was there is still there, and is still returned.
        """
        with own_words(self._servers.text):
            # Leases first: with one that is left, a fetch that began before could store its result behind our back.
            for pattern in (self._keys.leases, self._keys.entries):
                for names in self._servers.scan(pattern):
                    self._servers.checked([Command(name, ("UNLINK", name)) for name in names])
            told = self._keys.entry("")  # any name will do
            message = self._sender.written(ANY_KEY)
            self._servers.checked([Command(told, ("PUBLISH", self._keys.channel, message))])

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``; takes the longer the more keys of whomever Redis holds."""
        with own_words(self._servers.text):
            return sum(expires_at > now for _, expires_at in self._headers().values())

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were; as costly as `count`."""
        with own_words(self._servers.text):
            expired = [(name, header) for name, (header, expires_at) in self._headers().items() if expires_at <= now]
            calls: list[scripts.Call] = [([name], (header,)) for name, header in expired]
            return sum(sum(numbers(scripts.call(self._servers, scripts.PURGE, batch))) for batch in _batches(calls))

    def close(self) -> None:
        """Stop to listen and close all connections."""
        self._changed = None
        listener = self._listeners.pop(os.getpid(), None)
        if listener is not None:
            listener.halt()
        self._servers.close()
        if listener is not None:
            listener.stop()

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Give the holder the lease on a key, or renew it; False while another one holds it."""
        with own_words(self._servers.text), within(self._total):
            return self._leases.acquire(key, holder, seconds)

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        """Renew a lease; False unless the holder holds it."""
        with own_words(self._servers.text), within(self._total):
            return self._leases.renew(key, holder, seconds)

    def set_held(self, key: str, entry: StoredEntry, holder: str) -> int | None:
        """Store the entry and end the lease, in one step, if the holder holds it; else return None.

        While a cluster moves just this entry, there is no such step: the lease is ended, and nothing is stored.
        """
        names, arguments = self._storing(key, entry, self._clock())
        with own_words(self._servers.text), within(self._total):
            call = names, (*arguments, as_bytes(holder))
            (stored,) = scripts.call(self._servers, scripts.STORE, [call], apart=moving.store_nothing)
        return None if stored is None else 0

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        with own_words(self._servers.text), within(self._total):
            self._leases.release(key, holder)

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> None:
        """Call ``changed`` with what others change from now on, unless the option ``push`` is off."""
        if self._options.push:
            self._changed = changed
            self._listen(changed)

    def in_step(self) -> bool:
        """Return whether every change has been told that was made more than ``push_delay`` ago."""
        if (listener := self._listeners.get(os.getpid())) is not None:
            return listener.in_step()
        if self._changed is not None:
            self._listen(self._changed)  # the first call after a fork: the thread stayed with the parent
        return False

    def _names(self, key: str) -> list[bytes]:
        return [self._keys.entry(key), self._keys.lease(key)]

    def _storing(self, key: str, entry: StoredEntry, now: float) -> scripts.Call:
        milliseconds = milliseconds_to_keep(entry.expires_at, now)
        message = self._sender.written(key)
        names = self._names(key)
        return names, (wrap(names[0], entry), milliseconds, self._keys.channel, message)

    def _headers(self) -> dict[bytes, tuple[bytes, float]]:
        """Return the beginning of each entry, and its expiry, by its name in Redis."""
        found: dict[bytes, tuple[bytes, float]] = {}
        for names in self._servers.scan(self._keys.entries):
            commands = [Command(name, ("GETRANGE", name, 0, HEADER_BYTES - 1)) for name in names]
            for name, header in zip(names, self._servers.run(commands), strict=True):
                if isinstance(header, ResponseError) and not str(header).startswith("WRONGTYPE"):
                    raise header
                if isinstance(header, bytes) and (expires_at := expiry(header)) is not None:
                    found[name] = header, expires_at
        return found

    def _listen(self, changed: Callable[[Sequence[str] | None], None]) -> None:
        markers = Markers(self._servers, self._keys)
        channel, timeout = self._keys.channel, self._total
        listener = Listener(self._servers, markers, channel, self._sender, changed, timeout=timeout)
        # Without a lock, which a fork could leave locked: of two threads, one finds that the other was first.
        if self._listeners.setdefault(os.getpid(), listener) is listener:
            for pid in [pid for pid in self._listeners if pid != os.getpid()]:
                self._listeners.pop(pid)
            listener.start()
        else:
            listener.abandon()


def _size(call: scripts.Call) -> int:
    return sum(len(word) for word in call[1] if isinstance(word, bytes))


def _batches(items: Iterable[_ItemT], size: Callable[[_ItemT], int] = lambda _: 0) -> Iterator[list[_ItemT]]:
    """Yield items, neither too many nor too much at a time, unless a single one is."""
    batch: list[_ItemT] = []
    total = 0
    for item in items:
        if batch and (len(batch) == _BATCH or total + size(item) > _BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch
