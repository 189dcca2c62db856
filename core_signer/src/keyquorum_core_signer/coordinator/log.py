"""The operation log: every step of every operation, one row each.

What is durable when it is announced, and what a little later, and why: see :mod:`.database`.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Literal

import apsw

from keyquorum_core_signer.coordinator.database import Database, Work
from keyquorum_core_signer.coordinator.events import OperationEvent
from keyquorum_core_signer.coordinator.failures import INTERNAL, Failure
from keyquorum_core_signer.coordinator.limits import OPERATIONS_KEPT_MS, PRUNED_AT_ONCE_MAX
from keyquorum_core_signer.coordinator.states import State
from keyquorum_protos.signer.v1 import signer_pb2

Kind = Literal["create_key", "sign"]


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """An event, what it belongs to, and until when its state may last (wall-clock milliseconds, None if terminal)."""

    event: OperationEvent
    kind: Kind
    valid_until_ms: int
    deadline_ms: int | None


class OperationLog:
    """Steps of operations, by operation id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, step: LoggedStep) -> None:
        """Keep a step of progress; a crash may lose it."""
        self._database.note(partial(_insert, step))

    async def write(self, step: LoggedStep) -> None:
        """Keep a step through a crash of this process; raises STORAGE_ERRORS."""
        await self._database.write(partial(_insert, step))

    async def commit(self, step: LoggedStep, also: Work | None = None) -> None:
        """Keep a step for good, in one transaction with ``also``; raises STORAGE_ERRORS."""

        def work(connection: apsw.Connection) -> None:
            _insert(step, connection)
            if also is not None:
                also(connection)

        await self._database.commit(work)

    def events(self, operation_id: str) -> tuple[OperationEvent, ...]:
        """All steps of an operation in order; none for one that is not known."""
        rows = self._database.read("SELECT body FROM event WHERE operation_id = ? ORDER BY sequence", (operation_id,))
        return tuple(_decode(body) for (body,) in rows)

    def latest(self, limit: int, before: int | None) -> tuple[list[OperationEvent], int | None]:
        """The latest step of up to ``limit`` operations, newest first, and where the next page begins."""
        rows = self._database.read(
            "SELECT number, (SELECT body FROM event WHERE event.operation_id = operation.operation_id"
            " ORDER BY sequence DESC LIMIT 1) FROM operation WHERE number < ? ORDER BY number DESC LIMIT ?",
            (before if before is not None else 2**62, limit + 1),
        )
        page = [_decode(body) for _, body in rows[:limit]]
        return page, (rows[limit - 1][0] if len(rows) > limit else None)

    async def interrupt_unfinished(self, now_ms: int) -> int:
        """Fail what a stopped coordinator left unfinished, as retriable; returns how many operations that were.

        Whether a quorum signed in the meantime is not known here, and does not matter: parties bind the operation id
        to its intent, so the same intent sent again can only lead to signatures over the same messages.
        """
        rows = self._database.read("SELECT operation_id, kind, valid_until_ms, state FROM operation WHERE terminal = 0")
        steps = []
        for operation_id, kind, valid_until_ms, state in rows:
            (last,) = self._database.read("SELECT max(sequence) FROM event WHERE operation_id = ?", (operation_id,))[0]
            failure = Failure(
                code=INTERNAL,
                detail="the coordinator stopped before the operation ended; the same intent may be sent again",
                stage=State(state),
                retriable=True,
            )
            event = OperationEvent(operation_id, last + 1, State.FAILED, now_ms, failure=failure)
            steps.append(LoggedStep(event, kind, valid_until_ms, None))
        await asyncio.gather(*(self.commit(step) for step in steps))  # together, so that they share an fsync
        return len(rows)

    def prune(self, now_ms: int) -> None:
        """Forget some operations that ended long ago and whose intent no party would take any more."""
        self._database.note(partial(_prune, now_ms - OPERATIONS_KEPT_MS))


def _insert(step: LoggedStep, connection: apsw.Connection) -> None:
    event = step.event
    connection.execute(
        "INSERT INTO event (operation_id, sequence, state, deadline_ms, body) VALUES (?, ?, ?, ?, ?)",
        (event.operation_id, event.sequence, int(event.state), step.deadline_ms, event.to_proto().SerializeToString()),
    )
    connection.execute(
        "INSERT INTO operation (operation_id, kind, valid_until_ms, state, terminal, updated_ms)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (operation_id) DO UPDATE"
        " SET state = excluded.state, terminal = excluded.terminal, updated_ms = excluded.updated_ms",
        (event.operation_id, step.kind, step.valid_until_ms, int(event.state), int(event.terminal), event.time_ms),
    )


def _prune(before_ms: int, connection: apsw.Connection) -> None:
    rows = list(
        connection.execute(
            "SELECT operation_id FROM operation WHERE terminal = 1 AND valid_until_ms < ? ORDER BY number LIMIT ?",
            (before_ms, PRUNED_AT_ONCE_MAX),
        )
    )
    connection.executemany("DELETE FROM event WHERE operation_id = ?", rows)
    connection.executemany("DELETE FROM operation WHERE operation_id = ?", rows)


def _decode(body: bytes) -> OperationEvent:
    return OperationEvent.from_proto(signer_pb2.OperationEvent.FromString(body))
