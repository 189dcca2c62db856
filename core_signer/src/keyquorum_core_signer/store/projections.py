"""From events to read models: one function per event, the same ones in a command's transaction and in a rebuild.

A projection looks at its event and at the read models only, never at a clock or at a command. That is what makes the
read models rebuildable, and comparable with what a rebuild gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from itertools import zip_longest
from typing import Final

import apsw

from keyquorum_core_signer.store import events, pair_events
from keyquorum_core_signer.store.commands import KeyState, NodeSignature, OperationState, Spend
from keyquorum_core_signer.store.schema import PAIR_MODELS, READ_MODEL_TABLES, READ_MODELS
from keyquorum_core_signer.wire.codec import plain

EPOCH_PREPARED: Final = "prepared"
EPOCH_ACTIVE: Final = "active"
EPOCH_RETIRED: Final = "retired"
AMOUNT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class _Signatures:
    entries: tuple[NodeSignature, ...]


def encode_signatures(signatures: tuple[NodeSignature, ...]) -> bytes:
    """As the ``epochs`` table keeps them."""
    return plain.encode(_Signatures(signatures))


def decode_signatures(data: bytes) -> tuple[NodeSignature, ...]:
    """Inverse of :func:`encode_signatures`."""
    return plain.decode(_Signatures, data).entries


@dataclass(frozen=True, slots=True)
class _At:
    """Where an event stands, and the read models that it changes."""

    connection: apsw.Connection
    seq: int
    at_ms: int


def project(connection: apsw.Connection, seq: int, at_ms: int, event: events.Event) -> None:
    """Bring the read models from event ``seq - 1`` to event ``seq``."""
    _apply(event, _At(connection, seq, at_ms))
    connection.execute("UPDATE projected SET seq = ? WHERE id = 1", (seq,))


@singledispatch
def _apply(event: events.Event, at: _At) -> None:
    raise AssertionError(f"no projection for {type(event).__name__} of event {at.seq}")


@_apply.register
def _(event: events.OperationAdmitted, at: _At) -> None:
    at.connection.execute(
        "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.op_id,
            event.intent_hash,
            event.kind,
            event.tenant_id,
            event.key_id,
            event.initiator,
            event.nonce,
            event.valid_until_ms,
            at.at_ms,
            OperationState.RESERVED.value,
        ),
    )
    _reserve(at, event.key_id, event.op_id, event.spends)


@_apply.register
def _(event: events.OperationReadmitted, at: _At) -> None:
    query = "SELECT key_id, admitted_ms, state FROM operations WHERE op_id = ?"
    ((key_id, admitted_ms, state),) = at.connection.execute(query, (event.op_id,))
    if state == OperationState.RELEASED.value:
        state = OperationState.RESERVED.value
    _give_back(at, key_id, admitted_ms, event.op_id)
    at.connection.execute(
        "UPDATE operations SET state = ?, admitted_ms = ? WHERE op_id = ?", (state, at.at_ms, event.op_id)
    )
    _reserve(at, key_id, event.op_id, event.spends)


@_apply.register
def _(event: events.OperationEmitted, at: _At) -> None:
    at.connection.execute(
        "UPDATE operations SET state = ? WHERE op_id = ?", (OperationState.EMITTED.value, event.op_id)
    )


@_apply.register
def _(event: events.OperationReleased, at: _At) -> None:
    ((key_id, admitted_ms),) = at.connection.execute(
        "UPDATE operations SET state = ? WHERE op_id = ? RETURNING key_id, admitted_ms",
        (OperationState.RELEASED.value, event.op_id),
    )
    _give_back(at, key_id, admitted_ms, event.op_id)


@_apply.register
def _(event: events.SharePrepared, at: _At) -> None:
    at.connection.execute(
        "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key_id) DO NOTHING",
        (
            event.key_id,
            event.wallet_id,
            event.user_id,
            event.tenant_id,
            event.scheme,
            KeyState.PREPARED.value,
            event.epoch,
            at.at_ms,
        ),
    )
    at.connection.execute(
        "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event.key_id, event.epoch, EPOCH_PREPARED, event.op_id, event.statement, encode_signatures(()), at.seq),
    )
    at.connection.execute(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?)",
        (event.key_id, event.epoch, event.version, event.kek_id, event.sealed_hash),
    )


@_apply.register
def _(event: events.EpochActivated, at: _At) -> None:
    at.connection.execute(
        "UPDATE epochs SET state = ? WHERE key_id = ? AND epoch < ?", (EPOCH_RETIRED, event.key_id, event.epoch)
    )
    at.connection.execute(
        "UPDATE epochs SET state = ?, signatures = ? WHERE key_id = ? AND epoch = ?",
        (EPOCH_ACTIVE, encode_signatures(event.signatures), event.key_id, event.epoch),
    )
    at.connection.execute(
        "UPDATE keys SET state = ?, epoch = ? WHERE key_id = ?", (KeyState.ACTIVE.value, event.epoch, event.key_id)
    )


@_apply.register
def _(event: events.ShareUpdated, at: _At) -> None:
    at.connection.execute(
        "UPDATE shares SET version = ?, kek_id = ?, sealed_hash = ? WHERE key_id = ? AND epoch = ?",
        (event.version, event.kek_id, event.sealed_hash, event.key_id, event.epoch),
    )


@_apply.register
def _(event: events.SharesDeleted, at: _At) -> None:
    place = (event.key_id, event.through_epoch)
    at.connection.execute("DELETE FROM shares WHERE key_id = ? AND epoch <= ?", place)
    at.connection.execute("UPDATE epochs SET state = ? WHERE key_id = ? AND epoch <= ?", (EPOCH_RETIRED, *place))
    at.connection.execute(
        "UPDATE keys SET state = ? WHERE key_id = ? AND NOT EXISTS (SELECT 1 FROM shares s WHERE s.key_id = keys.key_id)",
        (KeyState.DELETED.value, event.key_id),
    )


@_apply.register
def _(event: events.PeerBanned, at: _At) -> None:
    at.connection.execute(
        "INSERT INTO bans VALUES (?, ?, ?, ?, ?)",
        (event.node_id, event.key_id, event.reason, event.evidence_hash, at.at_ms),
    )


@_apply.register
def _(event: pair_events.PeerCondemned, at: _At) -> None:
    at.connection.execute(
        "INSERT INTO bans VALUES (?, '', ?, ?, ?)", (event.node_id, event.reason, event.evidence_hash, at.at_ms)
    )
    at.connection.execute("UPDATE pairs SET living = 0, since_ms = ? WHERE node_id = ?", (at.at_ms, event.node_id))
    at.connection.execute("DELETE FROM pair_checks WHERE node_id = ?", (event.node_id,))
    _void(at, node_id=event.node_id)


@_apply.register
def _(event: pair_events.PeerPardoned, at: _At) -> None:
    at.connection.execute("DELETE FROM bans WHERE node_id = ? AND key_id = ''", (event.node_id,))


@_apply.register
def _(event: pair_events.PairSetupStored, at: _At) -> None:
    at.connection.execute(
        "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?, 1, ?, ?, ?)",
        (event.node_id, event.kind, event.generation, event.setup_id, event.kek_id, event.sealed_hash, at.at_ms),
    )
    at.connection.execute("DELETE FROM pair_checks WHERE node_id = ? AND kind = ?", (event.node_id, event.kind))
    _void(at, node_id=event.node_id)


@_apply.register
def _(event: pair_events.PairSetupDestroyed, at: _At) -> None:
    place = (event.node_id, event.kind)
    at.connection.execute(
        "UPDATE pairs SET living = 0, since_ms = ? WHERE node_id = ? AND kind = ?", (at.at_ms, *place)
    )
    at.connection.execute("DELETE FROM pair_checks WHERE node_id = ? AND kind = ?", place)
    _void(at, node_id=event.node_id)


@_apply.register
def _(event: pair_events.PairChecksBegun, at: _At) -> None:
    for node_id, kind, _setup in event.pairs:
        at.connection.execute("INSERT INTO pair_checks VALUES (?, ?, ?)", (node_id, kind, event.session_id))


@_apply.register
def _(event: pair_events.PairChecksEnded, at: _At) -> None:
    at.connection.execute("DELETE FROM pair_checks WHERE session_id = ?", (event.session_id,))


@_apply.register
def _(event: pair_events.PresignaturesKept, at: _At) -> None:
    path, node_ids = encode_path(event.path), encode_nodes(event.node_ids)
    for place, (presignature_id, sealed_hash) in enumerate(event.entries):
        at.connection.execute(
            "INSERT INTO presignatures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (presignature_id, event.key_id, event.epoch, path, node_ids, event.protocol, sealed_hash, at.seq, place),
        )


@_apply.register
def _(event: pair_events.PresignaturesBurned, at: _At) -> None:
    for presignature_id in event.presignature_ids:
        at.connection.execute("DELETE FROM presignatures WHERE presignature_id = ?", (presignature_id,))
        _never_again(at, presignature_id)


@_apply.register
def _(event: pair_events.PresignaturesVoided, at: _At) -> None:
    doomed = voided(
        at.connection,
        key_id=event.key_id,
        node_id=event.node_id,
        below_epoch=event.below_epoch,
        presignature_ids=event.presignature_ids,
    )
    _remove(at, (presignature_id for presignature_id, _blob in doomed))


@_apply.register
def _(event: events.OperationsPruned, at: _At) -> None:
    at.connection.execute("UPDATE projected SET watermark_ms = ? WHERE id = 1", (event.watermark_ms,))
    at.connection.execute("DELETE FROM operations WHERE valid_until_ms < ?", (event.watermark_ms,))
    at.connection.execute("DELETE FROM spends WHERE at_ms + 1000 * window_s < ?", (at.at_ms,))


def voided(
    connection: apsw.Connection,
    *,
    key_id: str = "",
    node_id: str = "",
    below_epoch: int = 0,
    presignature_ids: tuple[bytes, ...] = (),
) -> tuple[tuple[bytes, bytes], ...]:
    """Id and envelope's hash of the presignatures of a key, of a peer, with these ids, or of all; with ``below_epoch`` older
    ones only."""
    query = "SELECT presignature_id, sealed_hash, node_ids FROM presignatures WHERE true"
    values: list[object] = []
    if key_id:
        query += " AND key_id = ?"
        values.append(key_id)
    if below_epoch:
        query += " AND epoch < ?"
        values.append(below_epoch)
    if presignature_ids:  # few against a full stock: looked up, not searched for
        query += f" AND presignature_id IN ({', '.join('?' * len(presignature_ids))})"
        values.extend(presignature_ids)
    rows = connection.execute(query, values)
    return tuple((name, blob) for name, blob, nodes in rows if not node_id or node_id in decode_nodes(nodes))


def encode_path(path: tuple[int, ...]) -> bytes:
    """As the ``presignatures`` table keeps it."""
    return b"".join(element.to_bytes(4, "big") for element in path)


def decode_path(data: bytes) -> tuple[int, ...]:
    """Inverse of :func:`encode_path`."""
    return tuple(int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4))


def encode_nodes(node_ids: tuple[str, ...]) -> bytes:
    """As the ``presignatures`` table keeps them: an id has no slash."""
    return "/".join(node_ids).encode()


def decode_nodes(data: bytes) -> tuple[str, ...]:
    """Inverse of :func:`encode_nodes`."""
    return tuple(data.decode().split("/"))


def _void(at: _At, *, node_id: str) -> None:
    doomed = voided(at.connection, node_id=node_id)
    _remove(at, (presignature_id for presignature_id, _blob in doomed))


def _remove(at: _At, presignature_ids: Iterable[bytes]) -> None:
    for presignature_id in presignature_ids:
        at.connection.execute("DELETE FROM presignatures WHERE presignature_id = ?", (presignature_id,))
        _never_again(at, presignature_id)


def _never_again(at: _At, presignature_id: bytes) -> None:
    at.connection.execute("INSERT INTO presignatures_gone VALUES (?)", (presignature_id,))


def _reserve(at: _At, key_id: str, op_id: str, spends: Iterable[Spend]) -> None:
    for spend in spends:
        at.connection.execute(
            "INSERT INTO spends VALUES (?, ?, ?, ?, ?, ?)",
            (key_id, at.at_ms, op_id, spend.asset, spend.amount.to_bytes(AMOUNT_BYTES, "big"), spend.window_s),
        )


def _give_back(at: _At, key_id: str, admitted_ms: int, op_id: str) -> None:
    at.connection.execute(
        "DELETE FROM spends WHERE key_id = ? AND at_ms = ? AND op_id = ?", (key_id, admitted_ms, op_id)
    )


def replay(log: apsw.Connection, target: apsw.Connection) -> None:
    """Project every event of ``log`` into ``target``, whose read models are empty."""
    for seq, at_ms, kind, payload in log.execute("SELECT seq, at_ms, kind, payload FROM events ORDER BY seq"):
        project(target, seq, at_ms, events.decode(kind, payload))


def differing_tables(connection: apsw.Connection) -> tuple[str, ...]:
    """The read models that are not what a rebuild from the events gives; none, if all is well.

    Reads one state of the store: the caller holds a transaction. Memory grows with the store.
    """
    rebuilt = apsw.Connection(":memory:")
    try:
        rebuilt.execute(READ_MODELS + PAIR_MODELS)
        with rebuilt:
            replay(connection, rebuilt)
        return tuple(table for table in READ_MODEL_TABLES if not _equal(connection, rebuilt, table))
    finally:
        rebuilt.close()


def rebuild(connection: apsw.Connection) -> None:
    """Drop the read models and make them again from the events, in one transaction."""
    with connection:
        for table in READ_MODEL_TABLES:
            connection.execute(f"DROP TABLE {table}")
        connection.execute(READ_MODELS + PAIR_MODELS)
        replay(connection, connection)


def _equal(one: apsw.Connection, other: apsw.Connection, table: str) -> bool:
    # Tables without rowid come in the order of their keys; "projected" has one row.
    query = f"SELECT * FROM {table}"  # noqa: S608 - names from our own list
    return all(mine == theirs for mine, theirs in zip_longest(one.execute(query), other.execute(query)))
