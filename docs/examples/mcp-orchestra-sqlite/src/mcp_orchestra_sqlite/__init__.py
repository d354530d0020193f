"""A SQLite database, as a cache backend for MCP Orchestra."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from mcp_orchestra import CacheBackendSpec, StoredEntry, hookimpl
from pydantic import BaseModel, PositiveInt


class SqliteOptions(BaseModel):
    path: Path
    max_entries: PositiveInt = 10_000


class SqliteStore:
    def __init__(self, path: Path, max_entries: int = 10_000, timeout: float = 0.1) -> None:
        self._max_entries = max_entries
        self._lock = Lock()  # one connection for all threads; between processes, SQLite has locks of its own
        path.touch(mode=0o600)  # what is cached is nobody else's business; SQLite's further files are like this one
        self._db = sqlite3.connect(path, timeout=timeout, isolation_level="IMMEDIATE", check_same_thread=False)
        with self._transaction() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB, expires_at REAL)")

    def get_many(self, keys: Sequence[str]) -> dict[str, StoredEntry]:
        select = "SELECT value, expires_at FROM entries WHERE key = ?"
        with self._transaction() as db:
            found = {key: db.execute(select, [_bytes(key)]).fetchone() for key in keys}
        return {key: StoredEntry(*row) for key, row in found.items() if row is not None}

    def set_many(self, entries: Mapping[str, StoredEntry]) -> int:
        rows = [(_bytes(key), entry.value, entry.expires_at) for key, entry in entries.items()]
        evict = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries ORDER BY rowid DESC LIMIT -1 OFFSET ?)"
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", rows)
            return db.execute(evict, [self._max_entries]).rowcount

    def delete_many(self, keys: Iterable[str]) -> int:
        rows = [[_bytes(key)] for key in keys]
        with self._transaction() as db:
            return max(0, db.executemany("DELETE FROM entries WHERE key = ?", rows).rowcount)

    def clear(self) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM entries")

    def count(self, now: float) -> int:
        with self._transaction() as db:
            return int(db.execute("SELECT count(*) FROM entries WHERE expires_at > ?", [now]).fetchone()[0])

    def purge(self, now: float) -> int:
        with self._transaction() as db:
            return db.execute("DELETE FROM entries WHERE expires_at <= ?", [now]).rowcount

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        try:
            with self._lock, self._db:
                yield self._db
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise TimeoutError("the database is locked by another process") from None  # and is left alone for a moment


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # a key is any text, and not any text can be stored as one


@hookimpl
def mcp_orchestra_cache_backends() -> Iterator[CacheBackendSpec]:
    def open_sqlite(options: SqliteOptions) -> SqliteStore:
        return SqliteStore(options.path, options.max_entries)

    yield CacheBackendSpec(name="sqlite", open=open_sqlite, options=SqliteOptions, persistent=True)
