"""What happens to commands about shares, epochs and peers. Handlers as in ``operations``."""

import hashlib

from keyquorum_core_signer.store import commands, events
from keyquorum_core_signer.store.blobs import destroy, keep
from keyquorum_core_signer.store.commands import KeyState
from keyquorum_core_signer.store.ledger import Ledger, Subject
from keyquorum_core_signer.store.pairing import condemn
from keyquorum_core_signer.store.presignatures import void_matching
from keyquorum_core_signer.store.projections import EPOCH_ACTIVE, EPOCH_PREPARED, EPOCH_RETIRED

_Identity = tuple[str, str, str, str]


def prepare(
    ledger: Ledger, command: commands.StorePreparedShare
) -> commands.Prepared | commands.Conflict | commands.KeyUnavailable | commands.NotAdmitted:
    """Store a share that this party is about to promise, for an operation that it has admitted for that key."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(command.op_id, command.key_id, tenant_id=command.tenant_id)
    standing = _epoch(ledger, command.key_id, command.epoch)
    if standing is not None and standing[1] == command.statement and standing[0] != EPOCH_RETIRED:
        return commands.Prepared(command.key_id, command.epoch, repeat=True)
    if standing is not None:
        ledger.refuse("refused-conflict", now_ms, subject, "prepare")
        return commands.Conflict(command.key_id, _hash(standing[1]))
    if not _admitted(ledger, command.op_id, command.key_id):
        ledger.refuse("refused-not-admitted", now_ms, subject, "prepare")
        return commands.NotAdmitted(command.op_id)
    known = _key(ledger, command.key_id)
    if known is not None:
        state, epoch, identity = known
        if identity != (command.wallet_id, command.user_id, command.tenant_id, command.scheme):
            ledger.refuse("refused-conflict", now_ms, subject, "prepare")
            return commands.Conflict(command.key_id, b"")
        if state is not KeyState.ACTIVE or command.epoch <= epoch:
            ledger.refuse("refused-key", now_ms, subject, "prepare")
            return commands.KeyUnavailable(command.key_id, state)
    event = events.SharePrepared(
        op_id=command.op_id,
        key_id=command.key_id,
        epoch=command.epoch,
        version=command.version,
        wallet_id=command.wallet_id,
        user_id=command.user_id,
        tenant_id=command.tenant_id,
        scheme=command.scheme,
        kek_id=command.kek_id,
        statement=command.statement,
        sealed_hash=keep(ledger, command.sealed),
    )
    ledger.append(event, now_ms, subject, command.scheme)
    return commands.Prepared(command.key_id, command.epoch)


def activate(
    ledger: Ledger, command: commands.ActivateEpoch
) -> commands.Activated | commands.Conflict | commands.KeyUnavailable:
    """Make the prepared epoch the active one, if the certificate is on the statement that goes with the share."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(key_id=command.key_id)
    standing, known = _epoch(ledger, command.key_id, command.epoch), _key(ledger, command.key_id)
    if standing is None or known is None:
        ledger.refuse("refused-key", now_ms, subject, "activate")
        return commands.KeyUnavailable(command.key_id, known[0] if known else None)
    state, statement = standing
    if statement != command.statement:
        ledger.refuse("refused-conflict", now_ms, subject, "activate")
        return commands.Conflict(command.key_id, _hash(statement))
    if state == EPOCH_ACTIVE:
        return commands.Activated(command.key_id, command.epoch, repeat=True)
    if state != EPOCH_PREPARED or known[0] is KeyState.DELETED or command.epoch < known[1]:
        ledger.refuse("refused-key", now_ms, subject, "activate")
        return commands.KeyUnavailable(command.key_id, known[0])
    event = events.EpochActivated(command.key_id, command.epoch, _hash(statement), command.signatures)
    ledger.append(event, now_ms, subject, f"epoch {command.epoch}")
    void_matching(ledger, now_ms, "a later epoch", key_id=command.key_id, below_epoch=command.epoch)
    return commands.Activated(command.key_id, command.epoch)


def update(
    ledger: Ledger, command: commands.UpdateShare
) -> commands.Updated | commands.Conflict | commands.KeyUnavailable:
    """Replace a share's envelope, and destroy the one before."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(key_id=command.key_id)
    rows = ledger.connection.execute(
        "SELECT version, sealed_hash FROM shares WHERE key_id = ? AND epoch = ?", (command.key_id, command.epoch)
    )
    standing: tuple[int, bytes] | None = next(iter(rows), None)
    if standing is None:
        known = _key(ledger, command.key_id)
        ledger.refuse("refused-key", now_ms, subject, "update")
        return commands.KeyUnavailable(command.key_id, known[0] if known else None)
    version, sealed_hash = standing
    if (command.version, _hash(command.sealed)) == (version, sealed_hash):
        return commands.Updated(command.key_id, command.epoch, version, repeat=True)
    if command.version != version + 1:
        ledger.refuse("refused-conflict", now_ms, subject, "update")
        return commands.Conflict(command.key_id, sealed_hash)
    kept = keep(ledger, command.sealed)
    event = events.ShareUpdated(command.key_id, command.epoch, command.version, command.kek_id, kept)
    ledger.append(event, now_ms, subject, f"version {command.version}")
    destroy(ledger, sealed_hash)
    return commands.Updated(command.key_id, command.epoch, command.version)


def delete(ledger: Ledger, command: commands.DeleteShares) -> commands.Deleted | commands.KeyUnavailable:
    """Destroy shares. Destroying the key's current epoch destroys everything: a prepared one is of no use without it."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(command.op_id, command.key_id)
    known = _key(ledger, command.key_id)
    if known is None:
        ledger.refuse("refused-key", now_ms, subject, "delete")
        return commands.KeyUnavailable(command.key_id, None)
    state, current, _ = known
    rows = ledger.connection.execute("SELECT epoch, sealed_hash FROM shares WHERE key_id = ?", (command.key_id,))
    shares: list[tuple[int, bytes]] = list(rows)
    through = command.through_epoch
    if through >= current:
        through = max((epoch for epoch, _ in shares), default=through)
    doomed = [sealed_hash for epoch, sealed_hash in shares if epoch <= through]
    if not doomed:
        return commands.Deleted(command.key_id, state, repeat=True)
    ledger.append(events.SharesDeleted(command.op_id, command.key_id, through), now_ms, subject, f"epoch {through}")
    for sealed_hash in doomed:
        destroy(ledger, sealed_hash)
    void_matching(ledger, now_ms, "the share is destroyed", key_id=command.key_id, below_epoch=through + 1)
    return commands.Deleted(command.key_id, KeyState.DELETED if len(doomed) == len(shares) else state)


def ban(ledger: Ledger, command: commands.BanPeer) -> commands.Banned:
    """Ban a peer from one key, for good, or from everything. The first reason stands."""
    if not command.key_id:
        return condemn(ledger, command)
    now_ms = ledger.time_ms(command.now_ms)
    event = events.PeerBanned(command.op_id, command.node_id, command.key_id, command.reason, command.evidence_hash)
    repeat = ledger.find_event(event.event_id) is not None
    if not repeat:
        ledger.append(event, now_ms, Subject(command.op_id, command.key_id), command.node_id)
        void_matching(ledger, now_ms, "a banned peer", key_id=command.key_id, node_id=command.node_id)
    return commands.Banned(command.node_id, command.key_id, repeat=repeat)


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _admitted(ledger: Ledger, op_id: str, key_id: str) -> bool:
    query = "SELECT 1 FROM operations WHERE op_id = ? AND key_id = ? AND state <> 'released'"
    return any(True for _ in ledger.connection.execute(query, (op_id, key_id)))


def _key(ledger: Ledger, key_id: str) -> tuple[KeyState, int, _Identity] | None:
    query = "SELECT state, epoch, wallet_id, user_id, tenant_id, scheme FROM keys WHERE key_id = ?"
    for state, epoch, wallet_id, user_id, tenant_id, scheme in ledger.connection.execute(query, (key_id,)):
        return KeyState(state), epoch, (wallet_id, user_id, tenant_id, scheme)
    return None


def _epoch(ledger: Ledger, key_id: str, epoch: int) -> tuple[str, bytes] | None:
    query = "SELECT state, statement FROM epochs WHERE key_id = ? AND epoch = ?"
    row: tuple[str, bytes] | None = next(iter(ledger.connection.execute(query, (key_id, epoch))), None)
    return row
