"""The coordinator's SQLite database: one owner, one writer thread, and three kinds of writes.

**What is durable, and when.** The coordinator is believed about nothing, so losing its database costs no money and no
safety: parties bind every operation id to one intent, and keep shares and certificates themselves. What would hurt is
to tell a gateway that a key exists, or that an intent is refused, and not to know it after a power cut.

=========  =================================  ================  =======================  =============================
kind       for                                awaited           survives our crash       survives a power cut
=========  =================================  ================  =======================  =============================
note       steps of progress                  by nobody         after NOTE_DELAY_S       after SYNC_DELAY_S at most
write      completed signatures               until written     when announced           after SYNC_DELAY_S at most
commit     keys, and every failure            until on disk     when announced           when announced
=========  =================================  ================  =======================  =============================

So a signature pays for no fsync, which takes milliseconds on a busy disk and would be the largest part of it. If power
fails within :data:`SYNC_DELAY_S` of its announcement, its operation is failed as retriable at the next start; the
gateway has the signatures, and the same intent sent again can only lead to signatures over the same messages.
Commits run under ``synchronous=FULL``, everything else under NORMAL; what waits at the same time shares a transaction.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import apsw

from keyquorum_core_signer.coordinator.limits import DATABASE_BUSY_MS, NOTE_DELAY_S, SYNC_DELAY_S, WRITES_PENDING_MAX

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
"""What :meth:`Database.write` and :meth:`Database.commit` raise where a row could not be kept."""


@dataclass(frozen=True, slots=True)
class _Write:
    work: Work
    waiter: asyncio.Future[None] | None
    durable: bool


class Database:
    """Reads on the event loop's thread, writes on its own; made by :meth:`open` inside the running loop."""

    def __init__(self, path: Path, lock: int, now_ms: int, on_fenced: Callable[[], None]) -> None:
        self._path = path
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._on_fenced = on_fenced
        self._pending: deque[_Write] = deque()
        self._wanted = threading.Condition()
        self._reminder: asyncio.TimerHandle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._asked = False
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
        """Write without waiting; False where too much is waiting already, and it is not written."""
        if not self._queue(_Write(work, None, durable=False)):
            return False
        if self._reminder is None:  # the writer is not woken for each note: mostly another write comes first
            self._reminder = self._loop.call_later(NOTE_DELAY_S, self._wake)
        return True

    async def write(self, work: Work) -> None:
        """Write after all notes before it; returns once a crash of this process cannot undo it.

        Raises :data:`STORAGE_ERRORS`.
        """
        await self._write_awaited(work, durable=False)

    async def commit(self, work: Work) -> None:
        """Write after all notes before it; returns once a power cut cannot undo it.

        Raises :data:`STORAGE_ERRORS`.
        """
        await self._write_awaited(work, durable=True)

    async def _write_awaited(self, work: Work, *, durable: bool) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        if not self._queue(_Write(work, waiter, durable)):
            raise WriteRefused(f"{self._path}: closed, or too many writes wait")
        self._wake()
        await waiter

    def _queue(self, write: _Write) -> bool:
        with self._wanted:
            if self._closing or len(self._pending) >= WRITES_PENDING_MAX:
                return False
            self._pending.append(write)
        if not write.durable and self._sync_timer is None:
            self._sync_timer = self._loop.call_later(SYNC_DELAY_S, self._sync)
        return True

    def _sync(self) -> None:
        """Make durable what was only written; one fsync for all of it."""
        self._sync_timer = None
        if self._queue(_Write(_touch, None, durable=True)):
            self._wake()

    def _wake(self) -> None:
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None
        with self._wanted:
            self._asked = True
            self._wanted.notify()

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
                self._wanted.wait_for(lambda: self._asked or self._closing)
                self._asked = False
                batch = list(self._pending)
                self._pending.clear()
                ends = self._closing
            # Who waits for a write does not wait for others' fsync.
            for part in ([w for w in batch if not w.durable], [w for w in batch if w.durable]):
                if part:
                    self._write(part)
            if ends:
                return

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

    def _transact(self, batch: Sequence[_Write]) -> None:
        connection = self._writer
        self._set_synchronous("FULL" if batch[0].durable else "NORMAL")
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


def _touch(connection: apsw.Connection) -> None:
    connection.execute("UPDATE owner SET process_id = process_id")


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
