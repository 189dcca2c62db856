"""What happens to commands about presignatures. Handlers as in ``operations``."""

from collections.abc import Iterator

from keyquorum_core_signer.store import commands, pair_events
from keyquorum_core_signer.store import presignature_commands as presigned
from keyquorum_core_signer.store.blobs import destroy, keep, take
from keyquorum_core_signer.store.ledger import Ledger, Subject
from keyquorum_core_signer.store.limits import PRESIGNATURES_MAX, PRESIGNATURES_OF_POOL_MAX
from keyquorum_core_signer.store.pair_commands import PairUnavailable, PeerIsBanned
from keyquorum_core_signer.store.pairing import banned, destroyed
from keyquorum_core_signer.store.projections import encode_nodes, encode_path, voided

_Refusal = (
    commands.KeyUnavailable | PeerIsBanned | PairUnavailable | presigned.PresignatureConflict | presigned.PoolFull
)


def store(ledger: Ledger, command: presigned.StorePresignatures) -> presigned.PresignaturesStored | _Refusal:
    """Keep presignatures of an active epoch."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(key_id=command.key_id)
    refusal = next(_objections(ledger, command), None)
    if refusal is not None:
        ledger.refuse("refused-presignatures", now_ms, subject, type(refusal).__name__)
        return refusal
    entries = tuple((name, keep(ledger, sealed)) for name, sealed in command.entries)
    event = pair_events.PresignaturesKept(
        key_id=command.key_id,
        epoch=command.epoch,
        path=command.path,
        node_ids=command.node_ids,
        protocol=command.protocol,
        entries=entries,
    )
    ledger.append(event, now_ms, subject, f"{len(entries)} for {', '.join(command.node_ids)}")
    return presigned.PresignaturesStored(len(entries))


def _objections(ledger: Ledger, command: presigned.StorePresignatures) -> Iterator[_Refusal]:
    """What speaks against keeping them."""
    rows = ledger.connection.execute("SELECT state, epoch FROM keys WHERE key_id = ?", (command.key_id,))
    state, epoch = next(iter(rows), (None, 0))
    if (state, epoch) != (commands.KeyState.ACTIVE.value, command.epoch):
        yield commands.KeyUnavailable(command.key_id, None if state is None else commands.KeyState(state))
    for node_id in command.node_ids:
        if banned(ledger, node_id, command.key_id):
            yield PeerIsBanned(node_id)
        if destroyed(ledger, node_id, command.protocol):  # while these were being made
            yield PairUnavailable(node_id)
    for name, _ in command.entries:
        if _find(ledger, name) is not None or _gone(ledger, name):
            yield presigned.PresignatureConflict(name)
    pool = (command.key_id, encode_path(command.path), encode_nodes(command.node_ids))
    of_pool = "SELECT count(*) FROM presignatures WHERE key_id = ? AND path = ? AND node_ids = ?"
    for query, values, most in (
        (of_pool, pool, PRESIGNATURES_OF_POOL_MAX),
        ("SELECT count(*) FROM presignatures", (), PRESIGNATURES_MAX),
    ):
        ((count,),) = ledger.connection.execute(query, values)
        if count + len(command.entries) > most:
            yield presigned.PoolFull(int(count))


def burn(
    ledger: Ledger, command: presigned.BurnPresignatures
) -> presigned.Burned | presigned.PresignatureUnavailable | commands.NotAdmitted:
    """Give envelopes out, once, for an operation that stands admitted on the key."""
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(command.op_id, command.key_id)
    query = "SELECT 1 FROM operations WHERE op_id = ? AND key_id = ? AND kind = 'sign' AND state <> 'released'"
    if not list(ledger.connection.execute(query, (command.op_id, command.key_id))):
        ledger.refuse("refused-not-admitted", now_ms, subject, "burn")
        return commands.NotAdmitted(command.op_id)
    places = []
    for name in command.presignature_ids:
        place = _find(ledger, name)
        if place is None or place[0] != command.key_id:
            ledger.refuse("refused-presignature", now_ms, subject, "burn")
            return presigned.PresignatureUnavailable(name)
        places.append(place)
    if ledger.find_event(f"burn/{command.session_id.hex()}") is not None:  # a session burns once
        ledger.refuse("refused-presignature", now_ms, subject, "burn")
        return presigned.PresignatureUnavailable(command.presignature_ids[0])
    sealed = tuple(take(ledger, sealed_hash) for _, sealed_hash in places)
    event = pair_events.PresignaturesBurned(command.op_id, command.session_id, command.key_id, command.presignature_ids)
    ledger.append(event, now_ms, subject, str(len(sealed)))
    return presigned.Burned(sealed)


def void(ledger: Ledger, command: presigned.VoidPresignatures) -> presigned.Voided:
    """Destroy presignatures unused."""
    now_ms = ledger.time_ms(command.now_ms)
    return presigned.Voided(
        void_matching(
            ledger,
            now_ms,
            command.reason,
            key_id=command.key_id,
            node_id=command.node_id,
            presignature_ids=command.presignature_ids,
        )
    )


def void_matching(
    ledger: Ledger,
    now_ms: int,
    reason: str,
    *,
    key_id: str = "",
    node_id: str = "",
    below_epoch: int = 0,
    presignature_ids: tuple[bytes, ...] = (),
) -> int:
    """Destroy what matches, with an event if there is any; returns how many."""
    doomed = voided(
        ledger.connection,
        key_id=key_id,
        node_id=node_id,
        below_epoch=below_epoch,
        presignature_ids=presignature_ids,
    )
    for _name, sealed_hash in doomed:
        destroy(ledger, sealed_hash)
    if doomed:
        occasion = ledger.stream_version("void") + 1
        event = pair_events.PresignaturesVoided(reason, key_id, node_id, below_epoch, presignature_ids, occasion)
        ledger.append(event, now_ms, Subject(key_id=key_id), f"{len(doomed)}: {reason}")
    return len(doomed)


def _gone(ledger: Ledger, presignature_id: bytes) -> bool:
    query = "SELECT 1 FROM presignatures_gone WHERE presignature_id = ?"
    return any(True for _ in ledger.connection.execute(query, (presignature_id,)))


def _find(ledger: Ledger, presignature_id: bytes) -> tuple[str, bytes] | None:
    query = "SELECT key_id, sealed_hash FROM presignatures WHERE presignature_id = ?"
    for key_id, sealed_hash in ledger.connection.execute(query, (presignature_id,)):
        return str(key_id), bytes(sealed_hash)
    return None
