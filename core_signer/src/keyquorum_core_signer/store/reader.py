"""Queries on the read models and on the log. Each sees one committed state, and waits for no writer.

A point read takes some tens of microseconds, less than the way to another thread and back, so these run where they are
called; pages are bounded for the same reason.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import apsw

from keyquorum_core_signer.store.commands import KeyState
from keyquorum_core_signer.store.limits import PAGE_ROWS_MAX
from keyquorum_core_signer.store.operations import OPERATION_COLUMNS, operation_record
from keyquorum_core_signer.store.ports import (
    AuditRecord,
    Ban,
    EventRecord,
    KeyRecord,
    OperationRecord,
    PairSetupRecord,
    PresignatureRecord,
    Spending,
    StoreCorrupt,
    StoredPairSetup,
    StoredShare,
    StoreHead,
)
from keyquorum_core_signer.store.projections import (
    EPOCH_ACTIVE,
    EPOCH_PREPARED,
    decode_nodes,
    decode_path,
    decode_signatures,
)

_KEY = """
SELECT k.key_id, k.wallet_id, k.user_id, k.tenant_id, k.scheme, k.state, e.epoch, e.op_id, e.statement, e.signatures,
    k.created_ms
FROM keys k JOIN epochs e ON e.key_id = k.key_id
"""


class Reader:
    """One read-only connection, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def key(self, key_id: str) -> KeyRecord | None:
        """The key at its current epoch."""
        return next(self._keys(f"{_KEY} AND e.epoch = k.epoch WHERE k.key_id = ?", (key_id,)), None)

    def keys(self, *, user_id: str | None, wallet_id: str | None, after: str, limit: int) -> tuple[KeyRecord, ...]:
        """A page of keys in the order of their ids."""
        conditions, values = ["k.key_id > ?"], [after]
        for column, value in (("user_id", user_id), ("wallet_id", wallet_id)):
            if value is not None:
                conditions.append(f"k.{column} = ?")
                values.append(value)
        query = f"{_KEY} AND e.epoch = k.epoch WHERE {' AND '.join(conditions)} ORDER BY k.key_id LIMIT ?"
        return tuple(self._keys(query, (*values, page_size(limit))))

    def prepared(self, limit: int) -> tuple[KeyRecord, ...]:
        """Keys with a prepared epoch, at that epoch, oldest first."""
        query = f"{_KEY} WHERE e.state = '{EPOCH_PREPARED}' ORDER BY e.prepared_seq LIMIT ?"
        return tuple(self._keys(query, (page_size(limit),)))

    def share(self, key_id: str, epoch: int | None) -> StoredShare | None:
        """A share's envelope, as the log's hash of it says; raises StoreCorrupt if it is another one."""
        condition = f"e.state = '{EPOCH_ACTIVE}'" if epoch is None else "s.epoch = ?"
        query = f"""
            SELECT s.key_id, s.epoch, s.version, s.kek_id, s.sealed_hash, b.data
            FROM shares s JOIN epochs e USING (key_id, epoch) LEFT JOIN blobs b ON b.hash = s.sealed_hash
            WHERE s.key_id = ? AND {condition}
        """  # noqa: S608 - constants of ours
        values = (key_id,) if epoch is None else (key_id, epoch)
        for found_id, found_epoch, version, kek_id, sealed_hash, data in self._connection.execute(query, values):
            if data is None or hashlib.sha256(data).digest() != sealed_hash:
                raise StoreCorrupt("a stored share is not what the log says")
            return StoredShare(found_id, found_epoch, version, kek_id, data)
        return None

    def operation(self, op_id: str) -> OperationRecord | None:
        """An operation."""
        query = f"SELECT {OPERATION_COLUMNS} FROM operations WHERE op_id = ?"  # noqa: S608 - a constant of ours
        return next((operation_record(row) for row in self._connection.execute(query, (op_id,))), None)

    def spending(self, key_id: str, asset: str, after_ms: int) -> Spending:
        """What is reserved since ``after_ms``."""
        query = "SELECT amount FROM spends WHERE key_id = ? AND at_ms > ? AND asset = ?"
        rows = self._connection.execute(query, (key_id, after_ms, asset))
        return Spending(asset, sum(int.from_bytes(amount, "big") for (amount,) in rows))

    def bans(self) -> tuple[Ban, ...]:
        """All bans."""
        query = "SELECT node_id, key_id, reason, evidence_hash, banned_ms FROM bans ORDER BY node_id, key_id"
        return tuple(Ban(*row) for row in self._connection.execute(query))

    def pair_setups(self) -> tuple[PairSetupRecord, ...]:
        """Every pair."""
        query = """SELECT node_id, kind, generation, setup_id, living, since_ms, coalesce(session_id, x'')
            FROM pairs LEFT JOIN pair_checks USING (node_id, kind) ORDER BY node_id, kind"""
        return tuple(
            PairSetupRecord(node_id, kind, generation, setup_id, bool(living), since_ms, pending)
            for node_id, kind, generation, setup_id, living, since_ms, pending in self._connection.execute(query)
        )

    def pair_setup(self, node_id: str, kind: str) -> StoredPairSetup | None:
        """A living one; raises StoreCorrupt if its envelope is another than the log says."""
        query = """SELECT node_id, kind, generation, setup_id, kek_id, sealed_hash, data
            FROM pairs LEFT JOIN blobs ON hash = sealed_hash WHERE node_id = ? AND kind = ? AND living"""
        for found, its_kind, generation, setup_id, kek_id, sealed_hash, data in self._connection.execute(
            query, (node_id, kind)
        ):
            if data is None or hashlib.sha256(data).digest() != sealed_hash:
                raise StoreCorrupt("a stored pair set-up is not what the log says")
            return StoredPairSetup(found, its_kind, generation, setup_id, kek_id, data)
        return None

    def presignatures(self, key_id: str) -> tuple[PresignatureRecord, ...]:
        """In stock, oldest first."""
        query = """SELECT presignature_id, key_id, epoch, path, node_ids, protocol FROM presignatures
            WHERE ? IN ('', key_id) ORDER BY stored_seq, place"""
        return tuple(
            PresignatureRecord(name, key, epoch, decode_path(path), decode_nodes(node_ids), protocol)
            for name, key, epoch, path, node_ids, protocol in self._connection.execute(query, (key_id,))
        )

    def events(self, after: int, limit: int) -> tuple[EventRecord, ...]:
        """A page of the log."""
        query = "SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        return tuple(EventRecord(*row) for row in self._connection.execute(query, (after, page_size(limit))))

    def audit(self, after: int, limit: int) -> tuple[AuditRecord, ...]:
        """A page of audit rows."""
        query = "SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
        return tuple(AuditRecord(*row) for row in self._connection.execute(query, (after, page_size(limit))))

    def head(self, empty: bytes) -> StoreHead:
        """The newest event; ``empty`` is the hash of an empty log."""
        rows = self._connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
        return next((StoreHead(*row) for row in rows), StoreHead(0, empty))

    def projection_lag(self) -> int:
        """Events that are not in the read models yet."""
        query = "SELECT (SELECT coalesce(max(seq), 0) FROM events) - seq FROM projected"
        ((lag,),) = self._connection.execute(query)
        return int(lag)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _keys(self, query: str, values: tuple[object, ...]) -> Iterator[KeyRecord]:
        for row in self._connection.execute(query, values):
            yield _key_record(row)


def _key_record(row: tuple[Any, ...]) -> KeyRecord:
    key_id, wallet_id, user_id, tenant_id, scheme, state, epoch, op_id, statement, signatures, created_ms = row
    return KeyRecord(
        key_id=key_id,
        wallet_id=wallet_id,
        user_id=user_id,
        tenant_id=tenant_id,
        scheme=scheme,
        state=KeyState(state),
        epoch=epoch,
        op_id=op_id,
        statement=statement,
        signatures=decode_signatures(signatures),
        created_ms=created_ms,
    )


def page_size(limit: int) -> int:
    """A page's size, bounded; raises ValueError for none."""
    if limit < 1:
        raise ValueError("a page has at least one row")
    return min(limit, PAGE_ROWS_MAX)
