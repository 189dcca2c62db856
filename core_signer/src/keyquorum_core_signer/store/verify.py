"""Is this store what its party wrote? Chains, audit rows, blobs and read models, checked against one another.

The chains prove that nothing before a remembered head has changed; somebody who can write the file can also compute hashes,
so a verification is worth as much as the head it is given. Heads leave the party in its session headers and receipts.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from keyquorum_core_signer.store import chain, events, schema
from keyquorum_core_signer.store.ownership import Ownership
from keyquorum_core_signer.store.ports import AuditRecord, EventRecord, StoreCorrupt, StoreHead
from keyquorum_core_signer.store.projections import differing_tables

PROBLEMS_MAX = 20
"""Findings reported; a broken link makes many."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and everything that is wrong with it."""

    party: str
    events: int
    audit_rows: int
    head: StoreHead
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify_store(path: Path, remembered: StoreHead | None = None) -> Verification:
    """Verify a store that no process has open; raises StoreOwned, StoreUnavailable, StoreCorrupt (no store at all).

    ``remembered`` is a head that the store once had: a store that does not extend it has been rolled back or forked.
    """
    if not path.exists():
        raise StoreCorrupt(f"{path}: no store")
    ownership = Ownership(path)
    try:
        connection = schema.open_writer(path)  # recovers the write-ahead log of a process that was killed
        try:
            schema.check(connection)
            return verify_connection(connection, remembered)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StoreCorrupt(f"{path}: {type(error).__name__}") from None
    finally:
        ownership.release()


def verify_connection(connection: apsw.Connection, remembered: StoreHead | None = None) -> Verification:
    """Verify one committed state of an open store."""
    with connection:
        identity = list(connection.execute("SELECT party, store_id FROM store"))
        if len(identity) != 1:
            raise StoreCorrupt("the store does not say whose it is")
        ((party, store_id),) = identity
        problems = (
            *_engine(connection),
            *event_problems(connection, party, store_id),
            *_audit_problems(connection, party, store_id),
            *_blob_problems(connection),
            *_remembered_problems(connection, remembered),
            *_read_model_problems(connection),
        )
        counts = [n for t in ("events", "audit") for (n,) in connection.execute(f"SELECT count(*) FROM {t}")]  # noqa: S608
        heads = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
        head = next((StoreHead(*row) for row in heads), StoreHead(0, chain.genesis("events", party, store_id)))
    return Verification(party, counts[0], counts[1], head, tuple(problems[:PROBLEMS_MAX]))


def event_problems(
    connection: apsw.Connection, party: str, store_id: bytes, newest: int | None = None
) -> Iterator[str]:
    """What is wrong with the chain of events; with ``newest``, only with that many at its end."""
    ((last,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM events")
    first = 1 if newest is None else max(1, last - newest + 1)
    previous = chain.genesis("events", party, store_id)
    if first > 1:
        before = connection.execute("SELECT hash FROM events WHERE seq = ?", (first - 1,))
        previous = next((digest for (digest,) in before), b"")
    expected, latest_ms = first, 0
    for row in connection.execute("SELECT * FROM events WHERE seq >= ? ORDER BY seq", (first,)):
        event = EventRecord(*row)
        if event.seq != expected or event.previous != previous or chain.event_hash(event) != event.hash:
            yield f"event {event.seq}: the chain is broken here"
        yield from _content_problems(event)
        if event.at_ms < latest_ms:
            yield f"event {event.seq}: earlier than the one before"
        expected, previous, latest_ms = event.seq + 1, event.hash, event.at_ms


def _content_problems(event: EventRecord) -> Iterator[str]:
    try:
        content = events.decode(event.kind, event.payload)
    except (ValueError, KeyError):
        yield f"event {event.seq}: its content cannot be read"
        return
    if (content.event_id, content.stream) != (event.event_id, event.stream):
        yield f"event {event.seq}: filed under another name"


def _audit_problems(connection: apsw.Connection, party: str, store_id: bytes) -> Iterator[str]:
    expected, previous = 1, chain.genesis("audit", party, store_id)
    # Each transaction writes both rows, so the audit rows of events come in the events' order, one each.
    unaudited = connection.execute("SELECT seq, hash FROM events ORDER BY seq")
    for values in connection.execute("SELECT * FROM audit ORDER BY seq"):
        row = AuditRecord(*values)
        if row.seq != expected or row.previous != previous or chain.audit_hash(row) != row.hash:
            yield f"audit row {row.seq}: the chain is broken here"
        if row.event_hash and next(unaudited, (0, b""))[1] != row.event_hash:
            yield f"audit row {row.seq}: reports another event than the one that happened"
        expected, previous = row.seq + 1, row.hash
    yield from (f"event {seq}: not audited" for seq, _ in unaudited)


def _blob_problems(connection: apsw.Connection) -> Iterator[str]:
    for digest, data in connection.execute("SELECT hash, data FROM blobs"):
        if hashlib.sha256(data).digest() != digest:
            yield f"blob {digest.hex()}: its content is another"
    missing = "SELECT key_id, epoch FROM shares s WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.hash = s.sealed_hash)"
    yield from (f"share of {key_id}, epoch {epoch}: missing" for key_id, epoch in connection.execute(missing))
    unpaired = (
        "SELECT node_id FROM pairs p WHERE living AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.hash = p.sealed_hash)"
    )
    yield from (f"pair set-up with {node_id}: missing" for (node_id,) in connection.execute(unpaired))
    unsealed = "SELECT 1 FROM presignatures p WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.hash = p.sealed_hash)"
    yield from ("a presignature's envelope: missing" for _ in connection.execute(unsealed))
    orphans = """SELECT hash FROM blobs WHERE hash NOT IN (SELECT sealed_hash FROM shares
        UNION ALL SELECT sealed_hash FROM pairs WHERE living UNION ALL SELECT sealed_hash FROM presignatures)"""
    yield from (f"blob {digest.hex()}: belongs to nothing" for (digest,) in connection.execute(orphans))


def _remembered_problems(connection: apsw.Connection, remembered: StoreHead | None) -> Iterator[str]:
    if remembered is None or remembered.seq == 0:
        return
    rows = list(connection.execute("SELECT hash FROM events WHERE seq = ?", (remembered.seq,)))
    if rows != [(remembered.hash,)]:
        yield f"the log does not contain the remembered head at event {remembered.seq}: rolled back, or forked"


def _read_model_problems(connection: apsw.Connection) -> Iterator[str]:
    try:
        yield from (f"read model {table}: not what the events say" for table in differing_tables(connection))
    except (ValueError, KeyError, apsw.Error) as error:
        yield f"read models: the events cannot be replayed ({type(error).__name__})"


def _engine(connection: apsw.Connection) -> Iterator[str]:
    if (found := connection.pragma("integrity_check")) != "ok":
        yield f"database: {str(found).splitlines()[0]}"
