"""Stores that keep the contract, and stores that each break one rule of it: the tests of the tests run on them."""

import hashlib
import pickle
import sqlite3
import threading
import time
import unicodedata
import zlib
from contextlib import contextmanager
from uuid import uuid4

from mcp_orchestra.stores import StoredEntry


class InMemory:
    """Keeps bytes and objects in a dict."""

    def __init__(self, path=None):
        self.lock = threading.RLock()
        self.entries = {}
        self.objects = {}

    def get_many(self, keys):
        with self.lock:
            return {key: self.entries[key] for key in keys if key in self.entries}

    def set_many(self, entries):
        with self.lock:
            self.objects = {key: kept for key, kept in self.objects.items() if key not in entries}
            self.entries.update(entries)
        return 0

    def get_objects(self, keys):
        with self.lock:
            return {key: self.objects[key] for key in keys if key in self.objects}

    def set_objects(self, entries):
        with self.lock:
            self.entries = {key: kept for key, kept in self.entries.items() if key not in entries}
            self.objects.update(entries)
        return 0

    def delete_many(self, keys):
        with self.lock:
            return sum(self.drop(key) for key in keys)

    def drop(self, key):
        return (self.entries.pop(key, None) is not None) + (self.objects.pop(key, None) is not None)

    def clear(self):
        with self.lock:
            self.entries.clear()
            self.objects.clear()

    def count(self, now):
        with self.lock:
            return sum(kept.expires_at > now for kept in [*self.entries.values(), *self.objects.values()])

    def purge(self, now):
        with self.lock:
            both = {**self.entries, **self.objects}
            return self.delete_many([key for key, kept in both.items() if kept.expires_at <= now])

    def close(self):
        pass


@contextmanager
def cut_off(path):
    """Let no store on this path look for changes while the block lasts."""
    sign = path.with_suffix(".cut")
    sign.touch()
    yield
    sign.unlink()


class OnDisk:
    """Keeps bytes and leases in SQLite, and tells of changes by looking for them every few milliseconds."""

    push_delay = 0.5
    look_every = 0.005

    def __init__(self, path):
        self.path = path
        self.me = str(uuid4())
        self.lock = threading.RLock()
        self.db = self.connect()
        for table in (
            "entries (key BLOB PRIMARY KEY, value BLOB, expires_at REAL)",
            "leases (key BLOB PRIMARY KEY, holder TEXT, ends_at REAL)",
            "changes (number INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT, key BLOB)",
        ):
            self.db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        self.closing = threading.Event()
        self.watcher = None
        self.looked_at = 0.0

    def connect(self):
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        return db

    @contextmanager
    def changing(self):
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    @staticmethod
    def key(text):
        return text.encode("utf-8", "surrogatepass")

    def publish(self, db, keys):
        rows = [(self.me, None if key is None else self.key(key)) for key in keys]
        db.executemany("INSERT INTO changes (sender, key) VALUES (?, ?)", rows)

    def store(self, db, entries):
        rows = [(self.key(key), entry.value, entry.expires_at) for key, entry in entries.items()]
        db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", rows)

    def revoke(self, db, keys):
        db.executemany("DELETE FROM leases WHERE key = ?", [[self.key(key)] for key in keys])

    def get_many(self, keys):
        found = {}
        with self.lock:
            for key in keys:
                row = self.db.execute("SELECT value, expires_at FROM entries WHERE key = ?", [self.key(key)]).fetchone()
                if row is not None:
                    found[key] = StoredEntry(*row)
        return found

    def set_many(self, entries):
        with self.changing() as db:
            self.store(db, entries)
            self.revoke(db, entries)
            self.publish(db, entries)
        return 0

    def delete_many(self, keys):
        keys = list(keys)
        with self.changing() as db:
            self.revoke(db, keys)
            self.publish(db, keys)
            return sum(db.execute("DELETE FROM entries WHERE key = ?", [self.key(key)]).rowcount for key in keys)

    def clear(self):
        with self.changing() as db:
            db.execute("DELETE FROM entries")
            db.execute("DELETE FROM leases")
            self.publish(db, [None])

    def count(self, now):
        with self.lock:
            return self.db.execute("SELECT count(*) FROM entries WHERE expires_at > ?", [now]).fetchone()[0]

    def purge(self, now):
        with self.changing() as db:
            return db.execute("DELETE FROM entries WHERE expires_at <= ?", [now]).rowcount

    def close(self):
        self.closing.set()
        if self.watcher is not None:
            self.watcher.join()
        self.db.close()

    def holder_of(self, db, key):
        row = db.execute("SELECT holder FROM leases WHERE key = ? AND ends_at > ?", [self.key(key), time.time()])
        found = row.fetchone()
        return None if found is None else found[0]

    def lease(self, db, key, holder, seconds):
        db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", [self.key(key), holder, time.time() + seconds])

    def acquire(self, key, holder, seconds):
        with self.changing() as db:
            if self.holder_of(db, key) not in (None, holder):
                return False
            self.lease(db, key, holder, seconds)
            return True

    def renew(self, key, holder, seconds):
        with self.changing() as db:
            if self.holder_of(db, key) != holder:
                return False
            self.lease(db, key, holder, seconds)
            return True

    def set_held(self, key, entry, holder):
        with self.changing() as db:
            if self.holder_of(db, key) != holder:
                return None
            self.store(db, {key: entry})
            self.revoke(db, [key])
            self.publish(db, [key])
            return 0

    def release(self, key, holder):
        with self.changing() as db:
            if self.holder_of(db, key) == holder:
                self.revoke(db, [key])

    def watch(self, changed):
        db = self.connect()
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
        self.watcher = threading.Thread(target=self.look, args=[changed, db, last], daemon=True)
        self.watcher.start()

    def in_step(self):
        return time.monotonic() - self.looked_at < self.push_delay

    def look(self, changed, db, last):
        select = "SELECT number, key FROM changes WHERE number > ? AND sender IS NOT ? ORDER BY number"
        while not self.closing.wait(self.look_every):
            if self.path.with_suffix(".cut").exists():
                continue
            begun = time.monotonic()
            for number, key in db.execute(select, [last, self.skipped()]).fetchall():
                last = number
                changed(None if key is None else [key.decode("utf-8", "surrogatepass")])
            self.looked_at = begun
        db.close()

    def skipped(self):
        return self.me

    def notices(self):
        return ["all is well"]


# Bytes, keys and times


class ReturnsBytearrays(InMemory):
    def get_many(self, keys):
        return {key: found._replace(value=bytearray(found.value)) for key, found in super().get_many(keys).items()}


class StripsValues(InMemory):
    def set_many(self, entries):
        return super().set_many({key: entry._replace(value=entry.value.strip()) for key, entry in entries.items()})


class CutsLongValues(InMemory):
    def set_many(self, entries):
        return super().set_many({key: entry._replace(value=entry.value[:65536]) for key, entry in entries.items()})


class CutsValuesOfNearly2MiB(InMemory):
    def set_many(self, entries):
        return super().set_many({key: entry._replace(value=entry.value[:1_500_000]) for key, entry in entries.items()})


class CutsValuesOf8MiB(InMemory):
    def set_many(self, entries):
        return super().set_many({key: entry._replace(value=entry.value[: 1 << 23]) for key, entry in entries.items()})


class KeepsWhatALargeValueReplaces(InMemory):
    def set_many(self, entries):
        return super().set_many({key: entry for key, entry in entries.items() if len(entry.value) < 1 << 24})


class AnswersForFewKeys(InMemory):
    def get_many(self, keys):
        if len(keys) > 30:
            raise sqlite3.OperationalError("too many SQL variables")
        return super().get_many(keys)


class DeletesFewKeys(InMemory):
    def delete_many(self, keys):
        return super().delete_many(list(keys)[:999])


class DropsEmptyValues(InMemory):
    def get_many(self, keys):
        return {key: found for key, found in super().get_many(keys).items() if found.value}


class ReturnsTuples(InMemory):
    def get_many(self, keys):
        return {key: tuple(found) for key, found in super().get_many(keys).items()}


class RoundsExpiry(InMemory):
    def set_many(self, entries):
        rounded = {key: entry._replace(expires_at=round(entry.expires_at, 3)) for key, entry in entries.items()}
        return super().set_many(rounded)


class IgnoresWhatHasExpired(InMemory):
    """Leaves what is there if the new entry has expired already."""

    def set_many(self, entries):
        return super().set_many({key: entry for key, entry in entries.items() if entry.expires_at > time.time()})


class PurgesTooLate(InMemory):
    def purge(self, now):
        return self.delete_many([key for key, kept in self.entries.items() if kept.expires_at < now])


class PurgesAndSaysNothing(InMemory):
    def purge(self, now):
        super().purge(now)


class CountsWhatExpiresNow(InMemory):
    def count(self, now):
        return sum(kept.expires_at >= now for kept in self.entries.values())


class CountsEverything(InMemory):
    def count(self, now):
        return len(self.entries)


class PurgesToCount(InMemory):
    def count(self, now):
        self.purge(now)
        return len(self.entries)


class OtherKeys(InMemory):
    """Keeps entries under another form of their keys."""

    def form(self, key):
        return key

    def get_many(self, keys):
        found = super().get_many([self.form(key) for key in keys])
        return {key: found[self.form(key)] for key in keys if self.form(key) in found}

    def set_many(self, entries):
        return super().set_many({self.form(key): entry for key, entry in entries.items()})

    def delete_many(self, keys):
        return super().delete_many(self.form(key) for key in keys)


class IgnoresCase(OtherKeys):
    def form(self, key):
        return key.casefold()


class NormalizesKeys(OtherKeys):
    def form(self, key):
        return unicodedata.normalize("NFC", key)


class StripsKeys(OtherKeys):
    def form(self, key):
        return key.strip()


class CutsKeysAtNul(OtherKeys):
    def form(self, key):
        return key.partition("\0")[0]


class CutsKeysAt10000(OtherKeys):
    def form(self, key):
        return key[:10_000]


class CutsKeysAt65536(OtherKeys):
    def form(self, key):
        return key[:65_536]


class KeepsChecksumsOfKeys(OtherKeys):
    def form(self, key):
        return str(zlib.crc32(key.encode("utf-8", "surrogatepass")))


class KeepsMd5OfKeys(OtherKeys):
    def form(self, key):
        return hashlib.md5(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keeps32BitsOfKeys(OtherKeys):
    def form(self, key):
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]


class CutsLongKeys(OtherKeys):
    def form(self, key):
        return key[:1000]


class TakesNoSurrogates(OtherKeys):
    def form(self, key):
        return key.encode("utf-8")


class ReplacesSurrogates(OtherKeys):
    def form(self, key):
        return key.encode("utf-8", "replace")


class EmptyKeyMeansAll(InMemory):
    def delete_many(self, keys):
        keys = list(keys)
        return super().delete_many(list(self.entries) if "" in keys else keys)


# Several keys


class RefusesNoKeys(InMemory):
    def get_many(self, keys):
        if not keys:
            raise ValueError("wrong number of arguments")
        return super().get_many(keys)


class ClosesGaps(InMemory):
    """Gives the values that were found to the first keys that were asked for."""

    def get_many(self, keys):
        return dict(zip(keys, super().get_many(keys).values(), strict=False))


class ReturnsNoneForAbsentKeys(InMemory):
    def get_many(self, keys):
        return {key: self.entries.get(key) for key in keys}


class ReturnsItsOwnDict(InMemory):
    def get_many(self, keys):
        return self.entries if set(keys) >= set(self.entries) else super().get_many(keys)


class KeepsTheCallersDict(InMemory):
    def set_many(self, entries):
        if self.entries:
            return super().set_many(entries)
        self.entries = entries
        return 0


class KeepsTheOldExpiry(InMemory):
    def set_many(self, entries):
        old = self.entries
        kept = {k: e._replace(expires_at=old[k].expires_at) if k in old else e for k, e in entries.items()}
        return super().set_many(kept)


class SaysNothingOfEvictions(InMemory):
    def set_many(self, entries):
        super().set_many(entries)


class CountsReplacedAsEvicted(InMemory):
    def set_many(self, entries):
        replaced = len(entries.keys() & self.entries.keys())
        return super().set_many(entries) + replaced


class CountsKeysAsDeleted(InMemory):
    def delete_many(self, keys):
        keys = list(keys)
        super().delete_many(keys)
        return len(keys)


class DeletesTwice(InMemory):
    """Goes through the keys twice: the second time, a generator has none left."""

    def delete_many(self, keys):
        there = sum(key in self.entries for key in keys)
        super().delete_many(keys)
        return there


class DeletesByPattern(InMemory):
    def delete_many(self, keys):
        return super().delete_many([k for key in keys for k in list(self.entries) if k == key or k.startswith(key)])


class ClearsSomeKeys(InMemory):
    def clear(self):
        self.delete_many([key for key in self.entries if key.isprintable()])


class ComesBackAfterClear(InMemory):
    def clear(self):
        self.cleared = dict(self.entries)
        super().clear()

    def set_many(self, entries):
        self.entries = {**getattr(self, "cleared", {}), **self.entries}
        return super().set_many(entries)


class ForgetsSomeDeletions(InMemory):
    """No short test shows it: after the third purge, the last of several keys is not deleted."""

    purges = 0

    def purge(self, now):
        self.purges += 1
        return super().purge(now)

    def delete_many(self, keys):
        keys = list(dict.fromkeys(keys))
        return super().delete_many(keys[:-1] if self.purges > 2 and len(keys) > 1 else keys)


# Threads, places and processes


class MixesUpThreads(InMemory):
    def get_many(self, keys):
        self.asked = list(keys)
        time.sleep(0.001)
        found = super().get_many(self.asked)
        return dict(zip(keys, [found[key] for key in self.asked if key in found], strict=False))


class CountsADeletionTwice(InMemory):
    def delete_many(self, keys):
        keys = list(keys)
        there = sum(key in self.entries for key in keys)
        time.sleep(0.001)
        super().delete_many(keys)
        return there


class ReplacesInTwoSteps(InMemory):
    def set_many(self, entries):
        for key, entry in entries.items():
            with self.lock:
                self.entries[key] = self.entries.get(key, entry)._replace(value=entry.value)
            time.sleep(0.001)
            with self.lock:
                self.entries[key] = entry
        return 0


class DoesNotPersist(OnDisk):
    def close(self):
        self.clear()
        super().close()


class ForgetsAndPersists(OnDisk):
    """Deletes only what this very store has stored since it was opened."""

    def __init__(self, path):
        super().__init__(path)
        self.mine = set()

    def set_many(self, entries):
        self.mine.update(entries)
        return super().set_many(entries)

    def clear(self):
        self.delete_many(list(self.mine))


class RemembersWhatItRead(OnDisk):
    def __init__(self, path):
        super().__init__(path)
        self.near = {}

    def get_many(self, keys):
        self.near = {**super().get_many(keys), **self.near}
        return {key: self.near[key] for key in keys if key in self.near}

    def set_many(self, entries):
        self.near.update(entries)
        return super().set_many(entries)

    def delete_many(self, keys):
        keys = list(keys)
        for key in keys:
            self.near.pop(key, None)
        return super().delete_many(keys)


class WritesInTwoSteps(OnDisk):
    def store(self, db, entries):
        super().store(db, {key: entry._replace(value=entry.value[:3]) for key, entry in entries.items()})
        db.execute("COMMIT")
        time.sleep(0.05)
        db.execute("BEGIN IMMEDIATE")
        super().store(db, entries)


# Leases


class GrantsToEverybody(OnDisk):
    def acquire(self, key, holder, seconds):
        with self.changing() as db:
            self.lease(db, key, holder, seconds)
        return True


class GrantsOnce(OnDisk):
    """Does not renew what its holder asks for again."""

    def acquire(self, key, holder, seconds):
        with self.changing() as db:
            if self.holder_of(db, key) is not None:
                return False
            self.lease(db, key, holder, seconds)
            return True


class LooksBeforeItGrants(OnDisk):
    def acquire(self, key, holder, seconds):
        with self.lock:
            free = self.holder_of(self.db, key) in (None, holder)
        time.sleep(0.001)
        if free:
            with self.changing() as db:
                self.lease(db, key, holder, seconds)
        return free


class OneLeaseForAll(OnDisk):
    def acquire(self, key, holder, seconds):
        return super().acquire("", holder, seconds)


class RenewsWhatNobodyHolds(OnDisk):
    def renew(self, key, holder, seconds):
        return self.acquire(key, holder, seconds)


class RenewsInWordOnly(OnDisk):
    def renew(self, key, holder, seconds):
        with self.changing() as db:
            return self.holder_of(db, key) == holder


class LetsAnybodyRelease(OnDisk):
    def release(self, key, holder):
        with self.changing() as db:
            self.revoke(db, [key])


class GrantsForEver(OnDisk):
    def lease(self, db, key, holder, seconds):
        super().lease(db, key, holder, 3600)


class EndsLeasesEarly(OnDisk):
    def lease(self, db, key, holder, seconds):
        super().lease(db, key, holder, seconds / 2)


class LooksBeforeItStores(OnDisk):
    def set_held(self, key, entry, holder):
        with self.changing() as db:
            if self.holder_of(db, key) != holder:
                return None
        time.sleep(self.pause)
        return self.set_many({key: entry})

    pause = 0.0


class LooksLongBeforeItStores(LooksBeforeItStores):
    pause = 0.002


class RevokesAfterDeleting(OnDisk):
    def revoke_deleted(self, keys):
        time.sleep(self.pause)
        with self.changing() as db:
            super().revoke(db, keys)

    def delete_many(self, keys):
        keys = list(keys)
        with self.changing() as db:
            self.publish(db, keys)
            deleted = sum(db.execute("DELETE FROM entries WHERE key = ?", [self.key(key)]).rowcount for key in keys)
        self.revoke_deleted(keys)
        return deleted

    pause = 0.0


class RevokesLongAfterDeleting(RevokesAfterDeleting):
    pause = 0.001


class StoresForAnybody(OnDisk):
    def set_held(self, key, entry, holder):
        return self.set_many({key: entry})


class KeepsTheLeaseAfterStoring(OnDisk):
    def set_held(self, key, entry, holder):
        with self.changing() as db:
            if self.holder_of(db, key) != holder:
                return None
            self.store(db, {key: entry})
            self.publish(db, [key])
            return 0


class DoesNotRevokeWhenStoring(OnDisk):
    def set_many(self, entries):
        with self.changing() as db:
            self.store(db, entries)
            self.publish(db, entries)
        return 0


class RevokesOnlyWhereSomethingWas(OnDisk):
    def delete_many(self, keys):
        return super().delete_many(list(self.get_many(list(keys))))


class DoesNotRevokeWhenCleared(OnDisk):
    def clear(self):
        with self.changing() as db:
            db.execute("DELETE FROM entries")
            self.publish(db, [None])


class RevokesWhenPurging(OnDisk):
    def purge(self, now):
        with self.changing() as db:
            db.execute("DELETE FROM leases")
        return super().purge(now)


class CountsLeases(OnDisk):
    def count(self, now):
        return super().count(now) + self.db.execute("SELECT count(*) FROM leases").fetchone()[0]


# Changes


class TellsItsOwnChanges(OnDisk):
    def skipped(self):
        return "nobody"


class TellsNothing(OnDisk):
    def publish(self, db, keys):
        pass


class DoesNotTellOfClear(OnDisk):
    def publish(self, db, keys):
        super().publish(db, [key for key in keys if key is not None])


class DoesNotTellWhatHoldersStore(OnDisk):
    def set_held(self, key, entry, holder):
        with self.changing() as db:
            if self.holder_of(db, key) != holder:
                return None
            self.store(db, {key: entry})
            self.revoke(db, [key])
            return 0


class TellsOnlyOfWhatWasThere(OnDisk):
    def delete_many(self, keys):
        keys = list(keys)
        there = self.get_many(keys)
        with self.changing() as db:
            self.revoke(db, keys)
            self.publish(db, there)
            return sum(db.execute("DELETE FROM entries WHERE key = ?", [self.key(key)]).rowcount for key in there)


class TellsTooEarly(OnDisk):
    def set_many(self, entries):
        with self.changing() as db:
            self.publish(db, entries)
        time.sleep(0.1)
        return super().set_many(entries)


class IsNeverInStep(OnDisk):
    def in_step(self):
        return False


class IsInStepWhenCutOff(OnDisk):
    def in_step(self):
        return True


class ForgetsWhatItMissed(OnDisk):
    """Begins anew after it was cut off, and does not say that changes may have been missed."""

    def look(self, changed, db, last):
        missing = False
        while not self.closing.wait(self.look_every):
            begun = time.monotonic()
            if self.path.with_suffix(".cut").exists():
                missing = True
                continue
            rows = db.execute(
                "SELECT number, key FROM changes WHERE number > ? AND sender IS NOT ? ORDER BY number", [last, self.me]
            ).fetchall()
            for number, key in rows:
                last = number
                if not missing:
                    changed(None if key is None else [key.decode("utf-8", "surrogatepass")])
            missing = False
            self.looked_at = begun
        db.close()


class IsAlwaysInStep(OnDisk):
    """Tells of changes after two seconds and says that it takes half a second."""

    look_every = 2.0

    def in_step(self):
        return True


# What is left behind


class WritesWhenClosed(InMemory):
    """Persistent for whoever closes it: after a crash what was deleted is there again."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        if path.exists():
            self.entries = pickle.loads(path.read_bytes())

    get_objects = set_objects = None

    def close(self):
        self.path.write_bytes(pickle.dumps(self.entries))


class WritesInPlace(WritesWhenClosed):
    """Persistent at once, and in pieces: after a crash while it writes it does not open."""

    def set_many(self, entries):
        super().set_many(entries)
        written = pickle.dumps(self.entries)
        with self.path.open("wb") as file:
            file.write(written[:99])
            file.flush()
            time.sleep(0.05)
            file.write(written[99:])
        return 0

    def delete_many(self, keys):
        deleted = super().delete_many(keys)
        self.close()
        return deleted

    def clear(self):
        super().clear()
        self.close()


# Objects and notices


class CopiesObjects(InMemory):
    def get_objects(self, keys):
        return {
            key: kept._replace(value=list(kept.value) if isinstance(kept.value, list) else kept.value)
            for key, kept in super().get_objects(keys).items()
        }


class ComparesObjects(InMemory):
    def set_objects(self, entries):
        return super().set_objects({key: kept for key, kept in entries.items() if kept.value != "x"})


class ReturnsObjectsAsBytes(InMemory):
    def get_many(self, keys):
        found = {key: StoredEntry(kept.value, kept.expires_at) for key, kept in self.get_objects(keys).items()}
        return {**found, **super().get_many(keys)}


class KeepsBytesBesideObjects(InMemory):
    def set_objects(self, entries):
        self.objects.update(entries)
        return 0


class GivesNoticeInOneText(OnDisk):
    def notices(self):
        return "all is well"
