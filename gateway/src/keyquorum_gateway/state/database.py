"""One SQLite database (APSW), one writer thread, group commit.

Rules:

* ``synchronous=FULL`` and WAL: a write that was awaited survives power loss.
* Every command runs in a savepoint of its own; a command that raises is undone alone and its caller gets the error.
* Commands that arrive while a commit is running share the next one, so that n clients pay for one fsync.
* A command that nobody waits for and that a crash may take back (``lazy``) waits a moment for one that somebody does wait
  for, and shares its fsync: a request pays for one, however much is noted about it afterwards.
* Reads run on the event loop's own connection: a point read takes microseconds and never waits for the writer.
* A commit that fails fails all its commands with :class:`StateUnavailable`; nothing of them is kept.
"""

import asyncio
import fcntl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

import apsw

from keyquorum_gateway.bounds import LAZY_WRITE_S, WRITES_PER_COMMIT_MAX
from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.state.schema import migrate

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
Command: TypeAlias = Callable[[apsw.Connection], T]

_BUSY_MS: Final = 5000


class StateUnavailable(OperationFailed):
    """The database could not make a write durable (disk full, I/O error). Nothing of the write was kept."""

    def __init__(self, detail: str) -> None:
        super().__init__("state-unavailable", detail)


class StateLocked(Exception):
    """Another gateway has the database open: its claims on idempotency keys live in that process's memory."""


def connect(path: Path) -> apsw.Connection:
    """A connection with the settings that durability needs; makes the file, readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(_BUSY_MS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", True)
    return connection


class Database:
    """See the module's rules. Made on the event loop that it serves."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path)
        self._writer = connect(path)
        migrate(self._writer)
        self._reader = connect(path)
        self._reader.pragma("query_only", True)
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_forever, name="state-writer")
        self._thread.start()
        self._closed = False

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query that uses an index."""
        return list(self._reader.execute(sql, parameters))

    def read_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = next(iter(self._reader.execute(sql, parameters)), None)
        return row

    def post(self, command: Command[T], *, lazy: bool = False) -> "asyncio.Future[T]":
        """Queue a write; the future is done once it is durable. Writes keep their order."""
        if self._closed:
            raise StateUnavailable("the database is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Entry(command, future, lazy))
        return future

    async def write(self, command: Command[T]) -> T:
        """Queue a write and wait until it is durable. A cancelled caller does not undo it."""
        return await asyncio.shield(self.post(command))

    async def close(self) -> None:
        """Finish what is queued, then close."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._writer.close()
        self._lock.close()

    def _write_forever(self) -> None:
        running = True
        while running:
            batch = self._next_batch()
            running = None not in batch
            entries = [entry for entry in batch if entry is not None]
            if entries:
                outcomes = self._commit([entry.command for entry in entries])
                self._loop.call_soon_threadsafe(_resolve, [entry.future for entry in entries], outcomes)

    def _next_batch(self) -> "list[_Entry | None]":
        """What is queued; while nothing of it is in a hurry, what comes within a moment as well."""
        batch = [self._queue.get()]
        until = time.monotonic() + LAZY_WRITE_S
        hurry = False
        while len(batch) < WRITES_PER_COMMIT_MAX:
            hurry = hurry or batch[-1] is None or not batch[-1].lazy
            left_s = until - time.monotonic()
            try:
                batch.append(self._queue.get_nowait() if hurry or left_s <= 0 else self._queue.get(timeout=left_s))
            except Empty:
                break
        return batch

    def _commit(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Run all commands in one transaction: what each returned, or the exception that it raised."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._run(command) for command in commands]
            self._writer.execute("COMMIT")
        except apsw.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return [StateUnavailable(str(error)) for _ in commands]
        return outcomes

    def _run(self, command: Command[Any]) -> Any:
        try:
            with self._writer:
                return command(self._writer)
        except (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.ReadOnlyError, apsw.BusyError):
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the command's caller
            return error


@dataclass(frozen=True, slots=True)
class _Entry:
    command: Command[Any]
    future: "asyncio.Future[Any]"
    lazy: bool


def _resolve(futures: Sequence["asyncio.Future[Any]"], outcomes: Sequence[Any]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _lock(path: Path) -> Any:
    """An exclusive lock for as long as the returned file is open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StateLocked(f"{path} is open in another gateway") from None
    return file
