"""The coordinator's SQLite database: one owner, one writer thread, and two kinds of writes.

**What is durable.** The coordinator is believed about nothing, so losing its database costs no money and no safety:
parties bind every operation id to one intent, and keep shares and certificates themselves. What would hurt is to tell
a gateway that a key exists, or that an operation ended, and not to know it after a power cut. So those rows are
*committed*: ``synchronous=FULL``, one fsync of the write-ahead log, awaited before anybody is told. Rows of progress
are *noted*: ``synchronous=NORMAL``, written with the next commit or after :data:`NOTE_DELAY_S`, awaited by nobody;
a crash may lose the last of them, and an operation that is not terminal is failed as retriable at the next start
whichever of its rows survived. A signature therefore pays for one fsync, and group commit shares that one.

**Who owns it.** A lock on a file beside the database refuses a second process while the first lives, and is released
by the kernel when it dies. In case the lock does not do its work (deleted, or on a file system that has none), each
opening also takes the next *epoch* in the owner row, and every write transaction compares it: the older process is
fenced, writes nothing more and is told to stop.
"""

import asyncio
import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import apsw

from keyquorum_core_signer.coordinator.limits import DATABASE_BUSY_MS, NOTE_DELAY_S, WRITES_PENDING_MAX

SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x4B514353
_SCHEMA: Final = """
CREATE TABLE owner (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    process_id INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;
INSERT INTO owner VALUES (1, 0, 0, 0);
CREATE TABLE operation (
    number INTEGER PRIMARY KEY,
    operation_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    state INTEGER NOT NULL,
    terminal INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX operation_unfinished ON operation (operation_id) WHERE terminal = 0;
CREATE TABLE event (
    operation_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    state INTEGER NOT NULL,
    deadline_ms INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (operation_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE key (
    number INTEGER PRIMARY KEY,
    key_id TEXT NOT NULL UNIQUE,
    wallet_id TEXT NOT NULL,
    certificate BLOB NOT NULL
) STRICT;
CREATE INDEX key_of_wallet ON key (wallet_id, number);
"""

Work: TypeAlias = Callable[[apsw.Connection], None]


class OwnedElsewhere(Exception):
    """Proves that another process has the database open."""


class Fenced(Exception):
    """Proves that another process has taken the database over; this one must stop."""


class DatabaseUnusable(Exception):
    """Proves that the file is not a database of ours, or one of a newer version."""


class WriteRefused(Exception):
    """Proves that a write was not taken: too many wait already, or the database is closed."""


STORAGE_ERRORS: Final = (Fenced, WriteRefused, apsw.Error)
"""What :meth:`Database.commit` raises where a row could not be kept."""


@dataclass(frozen=True, slots=True)
class _Write:
    work: Work
    waiter: asyncio.Future[None] | None  # None for a note


class Database:
    """Reads on the event loop's thread, writes on its own; made by :meth:`open` inside the running loop."""

    def __init__(self, path: Path, lock: int, now_ms: int, on_fenced: Callable[[], None]) -> None:
        self._path = path
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._on_fenced = on_fenced
        self._pending: deque[_Write] = deque()
        self._wanted = threading.Condition()
        self._urgent = False
        self._closing = False
        self._fenced = False
        self._synchronous = ""
        self._writer = _connect(path)
        try:
            self._prepare(now_ms)
            self._reader = _connect(path)
        except BaseException:
            self._writer.close()
            raise
        self._thread = threading.Thread(target=self._run, name="operation-log", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, now_ms: int, on_fenced: Callable[[], None]) -> "Database":
        """Open or make the database and become its owner.

        ``on_fenced`` is called on the event loop, once, if another process takes it over. Raises
        :class:`OwnedElsewhere`, :class:`DatabaseUnusable`, or apsw.Error.
        """
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OwnedElsewhere(f"{path}: another coordinator runs on this operation log") from None
            return cls(path, lock, now_ms, on_fenced)
        except BaseException:
            os.close(lock)
            raise

    @property
    def epoch(self) -> int:
        """How many times the database was opened; ours is compared in every write transaction."""
        return self._epoch

    def read(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows as committed so far. A point read; nothing that scans belongs on the event loop."""
        return list(self._reader.execute(sql, bindings))

    def note(self, work: Work) -> bool:
        """Write without waiting and without fsync; False where too much is waiting already, and it is not written."""
        with self._wanted:
            if self._closing or len(self._pending) >= WRITES_PENDING_MAX:
                return False
            self._pending.append(_Write(work, None))
            if len(self._pending) == 1:
                self._wanted.notify()
        return True

    async def commit(self, work: Work) -> None:
        """Write durably, in one transaction with all notes before it; returns after the fsync.

        Raises :class:`Fenced`, :class:`WriteRefused`, or apsw.Error where the disk does not take it.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        with self._wanted:
            if self._closing or len(self._pending) >= WRITES_PENDING_MAX:
                raise WriteRefused(f"{self._path}: {'closed' if self._closing else 'too many writes wait'}")
            self._pending.append(_Write(work, waiter))
            self._urgent = True
            self._wanted.notify()
        await waiter

    def close(self) -> None:
        """Write what waits, then let go of the database. Blocks for as long as that takes; a second call does nothing."""
        with self._wanted:
            if self._closing:
                return
            self._closing = True
            self._wanted.notify()
        self._thread.join()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    def _prepare(self, now_ms: int) -> None:
        connection = self._writer
        application = connection.execute("PRAGMA application_id").get
        version = connection.execute("PRAGMA user_version").get
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
        if (application, version) != ((_APPLICATION_ID, SCHEMA_VERSION) if tables else (0, 0)):
            raise DatabaseUnusable(f"{self._path}: not an operation log of version {SCHEMA_VERSION}")
        connection.execute("PRAGMA journal_mode=WAL")
        self._set_synchronous("FULL")
        connection.execute("BEGIN IMMEDIATE")
        if not tables:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._epoch: int = connection.execute(
            "UPDATE owner SET epoch = epoch + 1, process_id = ?, since_ms = ? RETURNING epoch", (os.getpid(), now_ms)
        ).get
        connection.execute("COMMIT")

    def _run(self) -> None:
        while True:
            with self._wanted:
                while not self._pending and not self._closing:
                    self._wanted.wait()
                if not self._urgent and not self._closing:
                    self._wanted.wait_for(lambda: self._urgent or self._closing, NOTE_DELAY_S)
                batch = list(self._pending)
                self._pending.clear()
                self._urgent = False
                if not batch and self._closing:
                    return
            self._write(batch)

    def _write(self, batch: list[_Write]) -> None:
        try:
            self._transact(batch)
        except Fenced as error:
            self._settle(batch, error)
            if not self._fenced:
                self._fenced = True
                self._call(self._on_fenced)
        except Exception as error:  # noqa: BLE001 - whatever a write raises belongs to whoever waits for it
            if len(batch) == 1:
                self._settle(batch, error)
            else:
                for write in batch:  # one that cannot be written takes no other with it
                    self._write([write])
        else:
            self._settle(batch, None)

    def _transact(self, batch: Iterable[_Write]) -> None:
        connection = self._writer
        self._set_synchronous("FULL" if any(write.waiter for write in batch) else "NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._check_owner()
            for write in batch:
                write.work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # the engine ends it by itself when the disk is full
                connection.execute("ROLLBACK")
            raise

    def _check_owner(self) -> None:
        if self._writer.execute("SELECT epoch FROM owner").get != self._epoch:
            raise Fenced(f"{self._path}: taken over by another coordinator")

    def _set_synchronous(self, mode: str) -> None:
        if mode != self._synchronous:
            self._writer.execute(f"PRAGMA synchronous={mode}")
            self._synchronous = mode

    def _settle(self, batch: Iterable[_Write], error: Exception | None) -> None:
        waiters = [write.waiter for write in batch if write.waiter is not None]
        if waiters:
            self._call(_resolve, waiters, error)

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)


def _resolve(waiters: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(DATABASE_BUSY_MS)
    return connection
