"""Stored operations and their events."""

from collections.abc import Callable, Sequence
from typing import Final

import apsw

from keyquorum_gateway.operations.record import EVENTS, OPERATION, Operation, OperationEvent
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.paging import Listing, Page, PageRequest


class StoredOperations:
    """Queries over stored operations; what is still running is fresher in the engine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, operation_id: str) -> Operation | None:
        """An operation."""
        row = self._database.read_one("SELECT document FROM operations WHERE id = ?", (operation_id,))
        return OPERATION.validate_json(row[0]) if row else None

    def events(self, operation_id: str) -> list[OperationEvent]:
        """Its events, in order."""
        rows = self._database.read(
            "SELECT events FROM operation_events WHERE operation_id = ? ORDER BY first", (operation_id,)
        )
        found = {event.sequence: event for row in rows for event in EVENTS.validate_json(row[0])}
        return [found[sequence] for sequence in sorted(found)]

    def page(self, tenant_id: str, page: PageRequest) -> Page[Operation]:
        """Operations of a tenant, newest first."""
        return _OPERATIONS.page(self._database, page, tenant_id=tenant_id)

    def open(self) -> tuple[Operation, ...]:
        """Every operation without a terminal state, oldest first."""
        rows = self._database.read(
            "SELECT document FROM operations WHERE state IN ('running', 'awaiting_initiator') ORDER BY id"
        )
        return tuple(OPERATION.validate_json(row[0]) for row in rows)


def saving(operation: Operation, events: Sequence[OperationEvent]) -> Callable[[apsw.Connection], None]:
    """A command that stores the operation as it is now, and events that are not stored yet, as one row.

    Two commands on their way at once may both hold an event; the later one then holds all that the earlier one does.
    """
    document = OPERATION.dump_json(operation).decode()
    row = (operation.id, events[0].sequence, EVENTS.dump_json(list(events)).decode()) if events else None
    values = (
        operation.id,
        operation.tenant_id,
        operation.kind,
        operation.state,
        document,
        operation.created_ms,
        operation.updated_ms,
    )

    def command(connection: apsw.Connection) -> None:
        connection.execute(
            "INSERT INTO operations (id, tenant_id, kind, state, document, created_ms, updated_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
            " document = excluded.document, updated_ms = excluded.updated_ms",
            values,
        )
        if row is not None:
            connection.execute(
                "INSERT INTO operation_events (operation_id, first, events) VALUES (?, ?, ?)"
                " ON CONFLICT (operation_id, first) DO UPDATE SET events = excluded.events",
                row,
            )

    return command


_OPERATIONS: Final = Listing("operations", "id, document", lambda row: OPERATION.validate_json(row[1]))
