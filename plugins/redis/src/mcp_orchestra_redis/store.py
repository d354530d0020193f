"""The store: entries as values in Redis, leases beside them, and changes told to everybody."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TypeVar, cast

from mcp_orchestra import StoredEntry
from redis.exceptions import ResponseError

from mcp_orchestra_redis import scripts
from mcp_orchestra_redis.envelope import HEADER_BYTES, expiry, milliseconds_to_keep, unwrap, wrap
from mcp_orchestra_redis.faults import own_words
from mcp_orchestra_redis.keys import Keys, as_bytes
from mcp_orchestra_redis.leases import Leases
from mcp_orchestra_redis.messages import ANY_KEY, Sender
from mcp_orchestra_redis.options import RedisOptions
from mcp_orchestra_redis.push import PUSH_DELAY, Listener
from mcp_orchestra_redis.servers import Command, Servers

__all__ = ["RedisStore"]

_ItemT = TypeVar("_ItemT")

_BATCH = 500


class RedisStore:
    """Keeps entries in Redis or Valkey for all who share it; for threads, and safe after a fork.

    Nothing is connected before the first call. No call is repeated: what cannot be reached raises ``ConnectionError``
    or ``TimeoutError`` within the timeouts of the options, what is refused a ``RedisStoreError``.

    Args:
        options: Where it is and how to connect; None for all defaults.
        clock: Seconds since the epoch.
    """

    push_delay: float = PUSH_DELAY

    def __init__(self, options: RedisOptions | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options or RedisOptions()
        self._clock = clock
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
        with self._own_words():
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
        """
        now = self._clock()
        with self._own_words():
            for batch in _batches(entries.items()):
                calls = [self._storing(key, entry, now) for key, entry in batch]
                scripts.call(self._servers, scripts.STORE, calls)
        return 0

    def delete_many(self, keys: Iterable[str]) -> int:
        """Drop the entries, revoke the leases on them, tell the others, and return how many there were."""
        dropped = 0
        with self._own_words():
            for batch in _batches(keys):
                calls = [(self._names(key), (self._keys.channel, self._sender.written(key))) for key in batch]
                dropped += sum(cast("list[int]", scripts.call(self._servers, scripts.DROP, calls)))
        return dropped

    def clear(self) -> None:
        """Drop everything in the namespace, and nothing else."""
        with self._own_words():
            # Leases first: with one that is left, a fetch that began before could store its result behind our back.
            for pattern in (self._keys.leases, self._keys.entries):
                for names in self._servers.scan(pattern):
                    self._servers.checked([Command(name, ("UNLINK", name)) for name in names])
            told = self._keys.entry("")  # any name will do
            message = self._sender.written(ANY_KEY)
            self._servers.checked([Command(told, ("PUBLISH", self._keys.channel, message))])

    def count(self, now: float) -> int:
        """Return how many entries expire after ``now``; takes the longer the more keys of whomever Redis holds."""
        with self._own_words():
            return sum(expires_at > now for _, expires_at in self._headers().values())

    def purge(self, now: float) -> int:
        """Drop every entry that expires at or before ``now`` and return how many there were; as costly as `count`."""
        with self._own_words():
            expired = [(name, header) for name, (header, expires_at) in self._headers().items() if expires_at <= now]
            calls: list[scripts.Call] = [([name], (header,)) for name, header in expired]
            return sum(
                sum(cast("list[int]", scripts.call(self._servers, scripts.PURGE, batch))) for batch in _batches(calls)
            )

    def close(self) -> None:
        """Stop to listen and close all connections."""
        self._changed = None
        if (listener := self._listeners.pop(os.getpid(), None)) is not None:
            listener.stop()
        self._servers.close()

    def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Give the holder the lease on a key, or renew it; False while another one holds it."""
        with self._own_words():
            return self._leases.acquire(key, holder, seconds)

    def renew(self, key: str, holder: str, seconds: float) -> bool:
        """Renew a lease; False unless the holder holds it."""
        with self._own_words():
            return self._leases.renew(key, holder, seconds)

    def set_held(self, key: str, entry: StoredEntry, holder: str) -> int | None:
        """Store the entry and end the lease, in one step, if the holder holds it; else return None."""
        names, arguments = self._storing(key, entry, self._clock())
        with self._own_words():
            (stored,) = scripts.call(self._servers, scripts.STORE, [(names, (*arguments, as_bytes(holder)))])
        return None if stored is None else 0

    def release(self, key: str, holder: str) -> None:
        """End the lease if the holder holds it."""
        with self._own_words():
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

    def _own_words(self) -> AbstractContextManager[None]:
        return own_words(self._servers.text)

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
        listener = Listener(self._servers, self._keys.channel, self._sender, changed)
        # Without a lock, which a fork could leave locked: of two threads, one finds that the other was first.
        if self._listeners.setdefault(os.getpid(), listener) is listener:
            for pid in [pid for pid in self._listeners if pid != os.getpid()]:
                self._listeners.pop(pid).abandon()
            listener.start()
        else:
            listener.abandon()


def _batches(items: Iterable[_ItemT]) -> Iterable[list[_ItemT]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
