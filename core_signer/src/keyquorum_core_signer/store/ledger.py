"""The log, as a command's handler sees it inside the transaction: append an event, or write a refusal down.

One event means one row in ``events``, its projection and one row in ``audit``; a refusal is an ``audit`` row alone. The
writer's thread owns the ledger. Nothing here commits.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import apsw

from keyquorum_core_signer.store import chain, events
from keyquorum_core_signer.store.emissions import Emissions
from keyquorum_core_signer.store.ports import AuditRecord, EventRecord, StoreHead
from keyquorum_core_signer.store.projections import project
from keyquorum_core_signer.store.windows import SpendingWindows


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an audit row is about; unknown parts are empty. Written as pseudonyms."""

    op_id: str = ""
    key_id: str = ""
    initiator: bytes = b""
    tenant_id: str = ""


class Ledger:
    """The writer's view of one store: its connection, where both chains stand, and what is derived from them."""

    def __init__(self, connection: apsw.Connection, party: str, store_id: bytes, pseudonyms: chain.Pseudonyms) -> None:
        self.connection = connection
        self.windows = SpendingWindows(self._load_spends)
        self.emissions = Emissions()
        self.touched: list[str] = []  # operations whose emission was withdrawn in the open transaction
        self._admissions: list[tuple[str, int, bool]] = []  # in the open transaction: nothing may leave on them yet
        self._pseudonyms = pseudonyms
        self._events = _head(connection, "events", chain.genesis("events", party, store_id))
        self._audit = _head(connection, "audit", chain.genesis("audit", party, store_id))
        self._committed = (self._events, self._audit)
        self._time = threading.Lock()
        self._high_water_ms = self._persisted_time()

    @property
    def head(self) -> StoreHead:
        """Where the events stand, those of the open transaction included."""
        return self._events

    def time_ms(self, now_ms: int) -> int:
        """The time that something happens at; raises the high-water mark, which is durable with the next row.

        The one method that any thread may call.
        """
        with self._time:
            self._high_water_ms = max(self._high_water_ms, now_ms)
            return self._high_water_ms

    def append(self, event: events.Event, at_ms: int, subject: Subject, detail: str = "") -> None:
        """Write the event, project it, and leave its audit row."""
        seq = self._events.seq + 1
        kind, stream = events.kind_of(event), event.stream
        unhashed = EventRecord(
            seq=seq,
            stream=stream,
            version=self.stream_version(stream) + 1,
            event_id=event.event_id,
            kind=kind,
            at_ms=at_ms,
            payload=events.encode(event),
            previous=self._events.hash,
            hash=b"",
        )
        digest = chain.event_hash(unhashed)
        self.connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq,
                stream,
                unhashed.version,
                unhashed.event_id,
                kind,
                at_ms,
                unhashed.payload,
                unhashed.previous,
                digest,
            ),
        )
        self._events = StoreHead(seq, digest)
        project(self.connection, seq, at_ms, event)
        self._write_audit(at_ms, kind, subject, detail, digest)

    def refuse(self, action: str, at_ms: int, subject: Subject, detail: str = "") -> None:
        """Leave an audit row for something that was not done."""
        self._write_audit(at_ms, action, subject, detail, b"")

    def stream_version(self, stream: str) -> int:
        """How many events the stream has."""
        ((version,),) = self.connection.execute("SELECT max(version) FROM events WHERE stream = ?", (stream,))
        return int(version or 0)

    def find_event(self, event_id: str) -> events.Event | None:
        """The event of that name, however long ago it was."""
        for kind, payload in self.connection.execute(
            "SELECT kind, payload FROM events WHERE event_id = ?", (event_id,)
        ):
            return events.decode(kind, payload)
        return None

    def admit_emission(self, op_id: str, valid_until_ms: int, *, reserved_now: bool) -> None:
        """Have the operation's last message become claimable, once the transaction is durable."""
        self._admissions.append((op_id, valid_until_ms, reserved_now))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """One command: all of it, or nothing and the exception."""
        before = (self._events, self._audit)
        touched_before, admissions_before = len(self.touched), len(self._admissions)
        try:
            with self.connection:
                yield
        except BaseException:
            self._events, self._audit = before
            del self._admissions[admissions_before:]
            self._forget(touched_before)
            raise

    def committed(self) -> None:
        """The transaction is durable."""
        self._committed = (self._events, self._audit)
        for op_id, valid_until_ms, reserved_now in self._admissions:
            self.emissions.admit(op_id, valid_until_ms, reserved_now=reserved_now)
        self._admissions.clear()
        self.touched.clear()

    def rolled_back(self) -> None:
        """The transaction did not happen, or nobody knows: what it had put into memory is forgotten."""
        self._events, self._audit = self._committed
        self._admissions.clear()
        self._forget(0)

    def _forget(self, touched_from: int) -> None:
        self.windows.clear()
        for op_id in self.touched[touched_from:]:
            self.emissions.forget(op_id)
        del self.touched[touched_from:]

    def _write_audit(self, at_ms: int, action: str, subject: Subject, detail: str, event_hash: bytes) -> None:
        unhashed = AuditRecord(
            seq=self._audit.seq + 1,
            at_ms=at_ms,
            action=action,
            operation=self._pseudonyms.of("operation", subject.op_id),
            key=self._pseudonyms.of("key", subject.key_id),
            initiator=self._pseudonyms.of("initiator", subject.initiator),
            tenant=self._pseudonyms.of("tenant", subject.tenant_id),
            detail=detail,
            event_hash=event_hash,
            previous=self._audit.hash,
            hash=b"",
        )
        digest = chain.audit_hash(unhashed)
        self.connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                unhashed.seq,
                at_ms,
                action,
                unhashed.operation,
                unhashed.key,
                unhashed.initiator,
                unhashed.tenant,
                detail,
                event_hash,
                unhashed.previous,
                digest,
            ),
        )
        self._audit = StoreHead(unhashed.seq, digest)

    def _load_spends(self, key_id: str, asset: str, after_ms: int) -> Iterator[tuple[int, int]]:
        query = "SELECT at_ms, asset, amount FROM spends WHERE key_id = ? AND at_ms > ? ORDER BY at_ms"
        for at_ms, found, amount in self.connection.execute(query, (key_id, after_ms)):
            if found == asset:
                yield at_ms, int.from_bytes(amount, "big")

    def _persisted_time(self) -> int:
        # Every row's time is the mark at its writing, so the newest rows hold it.
        times = [
            at_ms
            for table in ("events", "audit")
            for (at_ms,) in self.connection.execute(f"SELECT at_ms FROM {table} ORDER BY seq DESC LIMIT 1")  # noqa: S608
        ]
        return max(times, default=0)


def _head(connection: apsw.Connection, table: str, start: bytes) -> StoreHead:
    query = f"SELECT seq, hash FROM {table} ORDER BY seq DESC LIMIT 1"  # noqa: S608 - names of our own
    return next((StoreHead(seq, digest) for seq, digest in connection.execute(query)), StoreHead(0, start))
