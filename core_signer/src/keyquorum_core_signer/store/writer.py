"""The one thread that writes: commands in, outcomes out, many commands to one fsync.

While a commit waits for the disk the next commands queue up, and all of them share the next commit (group commit). Each runs
in a savepoint of its own, so that one that fails takes nothing with it. Nobody hears of an outcome before COMMIT
has returned.

What a failure means:

==================================== ========================= =====================================
failure                              the commands              the store
==================================== ========================= =====================================
an exception in one handler          that one raises it        goes on
a constraint of a table              that one StoreUnavailable goes on
disk full, database busy             StoreUnavailable          goes on
any other engine error before COMMIT StoreUnavailable          refuses everything until opened anew
any other engine error in COMMIT     OutcomeUnknown            refuses everything until opened anew
==================================== ========================= =====================================

After a failed fsync the kernel may have dropped the pages and forgotten the error, so nothing that is read or written
afterwards can be trusted: only recovery from the log can tell what is there.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import apsw

from keyquorum_core_signer.store.commands import Command
from keyquorum_core_signer.store.ledger import Ledger
from keyquorum_core_signer.store.limits import BATCH_COMMANDS_MAX, QUEUE_COMMANDS_MAX
from keyquorum_core_signer.store.ports import OutcomeUnknown, StoreBusy, StoreUnavailable

Handle: TypeAlias = Callable[[Ledger, Command[Any]], Any]
Deliver: TypeAlias = Callable[[list["Settled"]], None]
"""Takes a batch of settled commands; called on the writer's thread, and must not raise."""

_HARMLESS = (apsw.FullError, apsw.BusyError, apsw.LockedError)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one command: an outcome or an exception. ``ticket`` is the caller's own."""

    ticket: Any
    outcome: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the ledger and its connection from :meth:`start` on."""

    def __init__(self, ledger: Ledger, handle: Handle, deliver: Deliver) -> None:
        self._ledger = ledger
        self._handle = handle
        self._deliver = deliver
        self._queue: queue.SimpleQueue[tuple[Command[Any], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._closing = False
        self.failed: str | None = None

    def start(self) -> None:
        """Begin to take commands."""
        self._thread.start()

    def submit(self, command: Command[Any], ticket: Any) -> None:
        """Queue a command; raises StoreUnavailable and StoreBusy. From one thread only."""
        if self._closing:
            raise StoreUnavailable("the store is closed")
        if self.failed is not None:
            raise StoreUnavailable(self.failed)
        if self._queue.qsize() >= QUEUE_COMMANDS_MAX:
            raise StoreBusy("too many commands wait for the store")
        self._queue.put((command, ticket))

    def stop(self) -> None:
        """Take no more commands; on the thread that submits. Stopping twice does nothing."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    def join(self) -> None:
        """After :meth:`stop`: wait until everything that was taken is settled and the connection is closed. Blocks."""
        self._thread.join()

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            batch, open_for_more = self._next_batch()
            if batch:
                self._deliver(self._settle(batch))
        try:
            self._ledger.connection.close()
        except apsw.Error as error:
            self.failed = f"the database did not close: {type(error).__name__}"

    def _next_batch(self) -> tuple[list[tuple[Command[Any], Any]], bool]:
        """At least one command, unless the store is closing, and whatever has queued up behind it."""
        batch: list[tuple[Command[Any], Any]] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH_COMMANDS_MAX:
                return batch, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _settle(self, batch: list[tuple[Command[Any], Any]]) -> list[Settled]:
        if self.failed is not None:
            error = StoreUnavailable(self.failed)
            return [Settled(ticket, error=error) for _, ticket in batch]
        committing = False
        try:
            self._ledger.connection.execute("BEGIN IMMEDIATE")
            settled = [self._apply(command, ticket) for command, ticket in batch]
            committing = True
            self._ledger.connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, no command of the batch may look done
            failure = self._failure(error, committing=committing)
            return [Settled(ticket, error=failure) for _, ticket in batch]
        self._ledger.committed()
        return settled

    def _apply(self, command: Command[Any], ticket: Any) -> Settled:
        try:
            with self._ledger.savepoint():
                return Settled(ticket, outcome=self._handle(self._ledger, command))
        except apsw.ConstraintError:  # a row that contradicts another is its command's fault, not the disk's
            return Settled(ticket, error=StoreUnavailable("nothing was written: ConstraintError"))
        except apsw.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one command is reported to its caller
            return Settled(ticket, error=error)

    def _failure(self, error: Exception, *, committing: bool) -> Exception:
        """Roll back, decide whether the store can go on, and say what the batch's callers may conclude."""
        name = type(error).__name__
        harmless = isinstance(error, _HARMLESS)
        try:
            if self._ledger.connection.in_transaction:
                self._ledger.connection.execute("ROLLBACK")
        except apsw.Error:
            harmless = False
        self._ledger.rolled_back()
        if not harmless:
            self.failed = f"the store failed ({name}) and has to be opened anew"
        if committing and not harmless:
            return OutcomeUnknown(f"the commit failed ({name}): it is applied, or not")
        return StoreUnavailable(f"nothing was written: {name}")
