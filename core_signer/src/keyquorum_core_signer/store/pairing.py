"""What happens to commands about pair set-ups, their checks, and bans. Handlers as in ``operations``."""

import hashlib

from keyquorum_core_signer.store import commands, pair_commands, pair_events
from keyquorum_core_signer.store.blobs import destroy, keep
from keyquorum_core_signer.store.ledger import Ledger, Subject
from keyquorum_core_signer.store.projections import voided

_Row = tuple[int, bytes, bool, bytes]


def store(
    ledger: Ledger, command: pair_commands.StorePairSetup
) -> pair_commands.PairStored | pair_commands.PairConflict | pair_commands.PeerIsBanned:
    """Keep a set-up whose generation is above all that ever were; destroy the one before."""
    now_ms = ledger.time_ms(command.now_ms)
    known = _find(ledger, command.node_id, command.kind)
    if banned(ledger, command.node_id):
        ledger.refuse("refused-banned", now_ms, Subject(), f"pair with {command.node_id}")
        return pair_commands.PeerIsBanned(command.node_id)
    if known is not None and command.generation <= known[0]:
        generation, setup_id, living, sealed_hash = known
        same = (command.generation, command.setup_id, hashlib.sha256(command.sealed).digest())
        if living and (generation, setup_id, sealed_hash) == same:
            return pair_commands.PairStored(command.node_id, command.kind, repeat=True)
        ledger.refuse("refused-conflict", now_ms, Subject(), f"pair with {command.node_id}")
        return pair_commands.PairConflict(command.node_id, command.kind, generation)
    if known is not None and known[2]:
        destroy(ledger, known[3])
    destroy_made_with(ledger, command.node_id)
    event = pair_events.PairSetupStored(
        node_id=command.node_id,
        kind=command.kind,
        generation=command.generation,
        setup_id=command.setup_id,
        kek_id=command.kek_id,
        sealed_hash=keep(ledger, command.sealed),
    )
    ledger.append(event, now_ms, Subject(), f"{command.kind} with {command.node_id}, {command.generation}")
    return pair_commands.PairStored(command.node_id, command.kind)


def destroy_setup(ledger: Ledger, command: pair_commands.DestroyPairSetup) -> pair_commands.PairDestroyed:
    """Destroy a set-up, and what was made with it."""
    now_ms = ledger.time_ms(command.now_ms)
    repeat = not _end(ledger, command.node_id, command.kind, command.reason, now_ms)
    return pair_commands.PairDestroyed(command.node_id, command.kind, repeat=repeat)


def begin_checks(
    ledger: Ledger, command: pair_commands.BeginPairChecks
) -> pair_commands.ChecksBegun | pair_commands.PairUnavailable:
    """Note the pairs of a session, if each is as the session believes and no other session is noted."""
    now_ms = ledger.time_ms(command.now_ms)
    event = pair_events.PairChecksBegun(command.session_id, command.pairs)
    begun = ledger.find_event(event.event_id)
    pending = [_pending(ledger, node_id, kind) for node_id, kind, _ in command.pairs]
    if begun == event and set(pending) == {command.session_id}:
        return pair_commands.ChecksBegun(repeat=True)
    for (node_id, kind, setup_id), session_id in zip(command.pairs, pending, strict=True):
        known = _find(ledger, node_id, kind)
        living = known is not None and known[2] and known[1] == setup_id
        if begun is not None or session_id is not None or not living or banned(ledger, node_id):
            ledger.refuse("refused-pair", now_ms, Subject(), f"{kind} with {node_id}")
            return pair_commands.PairUnavailable(node_id)
    ledger.append(event, now_ms, Subject(), f"with {', '.join(node_id for node_id, _, _ in command.pairs)}")
    return pair_commands.ChecksBegun()


def end_checks(ledger: Ledger, command: pair_commands.EndPairChecks) -> pair_commands.ChecksEnded:
    """Take the note back."""
    now_ms = ledger.time_ms(command.now_ms)
    query = "SELECT 1 FROM pair_checks WHERE session_id = ? LIMIT 1"
    repeat = not list(ledger.connection.execute(query, (command.session_id,)))
    if not repeat:
        ledger.append(pair_events.PairChecksEnded(command.session_id), now_ms, Subject())
    return pair_commands.ChecksEnded(repeat=repeat)


def abandon_checks(ledger: Ledger, command: pair_commands.AbandonInterruptedChecks) -> pair_commands.Abandoned:
    """Destroy every set-up that a note is left of."""
    now_ms = ledger.time_ms(command.now_ms)
    rows = list(ledger.connection.execute("SELECT node_id, kind FROM pair_checks ORDER BY node_id, kind"))
    pairs = tuple((str(node_id), str(kind)) for node_id, kind in rows)
    for node_id, kind in pairs:
        _end(ledger, node_id, kind, "its checks were interrupted", now_ms)
    return pair_commands.Abandoned(pairs)


def condemn(ledger: Ledger, command: commands.BanPeer) -> commands.Banned:
    """Ban a peer from everything, with all that was made with it. The first reason stands."""
    now_ms = ledger.time_ms(command.now_ms)
    if banned(ledger, command.node_id):
        return commands.Banned(command.node_id, "", repeat=True)
    query = "SELECT sealed_hash FROM pairs WHERE node_id = ? AND living"
    for (sealed_hash,) in list(ledger.connection.execute(query, (command.node_id,))):
        destroy(ledger, sealed_hash)
    destroy_made_with(ledger, command.node_id)
    event = pair_events.PeerCondemned(
        op_id=command.op_id,
        node_id=command.node_id,
        reason=command.reason,
        evidence_hash=command.evidence_hash,
        occasion=_occasion(ledger, command.node_id),
    )
    ledger.append(event, now_ms, Subject(command.op_id), f"{command.node_id}: {command.reason}")
    return commands.Banned(command.node_id, "")


def lift_ban(ledger: Ledger, command: pair_commands.LiftBan) -> pair_commands.BanLifted | pair_commands.NotBanned:
    """An operator pardons a peer."""
    now_ms = ledger.time_ms(command.now_ms)
    if not banned(ledger, command.node_id):
        ledger.refuse("refused-not-banned", now_ms, Subject(), command.node_id)
        return pair_commands.NotBanned(command.node_id)
    event = pair_events.PeerPardoned(command.node_id, command.reason, _occasion(ledger, command.node_id))
    ledger.append(event, now_ms, Subject(), f"{command.node_id}: {command.reason}")
    return pair_commands.BanLifted(command.node_id)


def banned(ledger: Ledger, node_id: str, key_id: str = "") -> bool:
    """Whether nothing is to be done with the peer; or nothing over the key."""
    query = "SELECT 1 FROM bans WHERE node_id = ? AND key_id IN ('', ?)"
    return any(True for _ in ledger.connection.execute(query, (node_id, key_id)))


def destroyed(ledger: Ledger, node_id: str, kind: str) -> bool:
    """Whether the last set-up with the peer was destroyed, and none has come after it."""
    known = _find(ledger, node_id, kind)
    return known is not None and not known[2]


def destroy_made_with(ledger: Ledger, node_id: str) -> None:
    """Destroy the envelopes of presignatures that the peer has a part in; the event that follows drops their rows."""
    for _name, sealed_hash in voided(ledger.connection, node_id=node_id):
        destroy(ledger, sealed_hash)


def _end(ledger: Ledger, node_id: str, kind: str, reason: str, now_ms: int) -> bool:
    known = _find(ledger, node_id, kind)
    if known is None or not known[2]:
        return False
    generation, _, _, sealed_hash = known
    destroy(ledger, sealed_hash)
    destroy_made_with(ledger, node_id)
    event = pair_events.PairSetupDestroyed(node_id, kind, generation, reason)
    ledger.append(event, now_ms, Subject(), f"{kind} with {node_id}: {reason}")
    return True


def _find(ledger: Ledger, node_id: str, kind: str) -> _Row | None:
    query = "SELECT generation, setup_id, living, sealed_hash FROM pairs WHERE node_id = ? AND kind = ?"
    for generation, setup_id, living, sealed_hash in ledger.connection.execute(query, (node_id, kind)):
        return int(generation), bytes(setup_id), bool(living), bytes(sealed_hash)
    return None


def _pending(ledger: Ledger, node_id: str, kind: str) -> bytes | None:
    query = "SELECT session_id FROM pair_checks WHERE node_id = ? AND kind = ?"
    return next((bytes(name) for (name,) in ledger.connection.execute(query, (node_id, kind))), None)


def _occasion(ledger: Ledger, node_id: str) -> int:
    return ledger.stream_version(f"peer/{node_id}") + 1
