"""What happens to commands about operations: admission, emission, release, pruning, denial.

Each handler runs on the writer's thread, inside the command's savepoint, and returns the outcome.
"""

from collections.abc import Iterator
from typing import Any

from keyquorum_core_signer.store import commands, events
from keyquorum_core_signer.store.commands import KeyState, OperationKind, OperationState
from keyquorum_core_signer.store.ledger import Ledger, Subject
from keyquorum_core_signer.store.ports import OperationRecord

OPERATION_COLUMNS = "op_id, intent_hash, kind, tenant_id, key_id, initiator, nonce, valid_until_ms, admitted_ms, state"


def operation_record(row: tuple[Any, ...]) -> OperationRecord:
    """A row of ``operations``, its columns as in ``OPERATION_COLUMNS``."""
    op_id, intent_hash, kind, tenant_id, key_id, initiator, nonce, valid_until_ms, admitted_ms, state = row
    return OperationRecord(
        op_id=op_id,
        intent_hash=intent_hash,
        kind=kind,
        tenant_id=tenant_id,
        key_id=key_id,
        initiator=initiator,
        nonce=nonce,
        valid_until_ms=valid_until_ms,
        admitted_ms=admitted_ms,
        state=OperationState(state),
    )


def admit(ledger: Ledger, command: commands.AdmitOperation) -> commands.AdmitOutcome:
    """Bind the operation id to the intent, and reserve, unless something speaks against it.

    What was recorded first stands: a contradiction is reported before anything that could excuse it. An operation that is
    admitted again has its reservation moved to now, if the window of today has room: its last message may leave again, and
    reservations of the past, saved up, must not let more through at once than one window holds.
    """
    now_ms = ledger.time_ms(command.now_ms)
    subject = Subject(command.op_id, command.key_id, command.initiator, command.tenant_id)
    recorded = _find(ledger, command.op_id)
    refusal = next(_objections(ledger, command, recorded, now_ms), None)
    if refusal is not None:
        ledger.refuse(_refusal_name(refusal), now_ms, subject, command.kind.value)
        return refusal
    if recorded is not None and recorded.state is not OperationState.RELEASED:
        if command.spends and now_ms != recorded.admitted_ms:
            ledger.append(_admission(ledger, command, first=False), now_ms, subject, command.kind.value)
            ledger.windows.forget_key(command.key_id)
        ledger.admit_emission(command.op_id, command.valid_until_ms, reserved_now=False)
        return commands.Admitted(command.op_id, recorded.state, repeat=True)
    ledger.append(_admission(ledger, command, first=recorded is None), now_ms, subject, command.kind.value)
    for spend in command.spends:
        ledger.windows.add(command.key_id, spend.asset, now_ms, spend.amount)
    ledger.admit_emission(command.op_id, command.valid_until_ms, reserved_now=True)
    return commands.Admitted(command.op_id, OperationState.RESERVED)


def _admission(ledger: Ledger, command: commands.AdmitOperation, *, first: bool) -> events.Event:
    if not first:
        attempt = ledger.stream_version(f"operation/{command.op_id}") + 1
        return events.OperationReadmitted(command.op_id, attempt, command.spends)
    return events.OperationAdmitted(
        op_id=command.op_id,
        intent_hash=command.intent_hash,
        kind=command.kind.value,
        tenant_id=command.tenant_id,
        key_id=command.key_id,
        initiator=command.initiator,
        nonce=command.nonce,
        valid_until_ms=command.valid_until_ms,
        spends=command.spends,
    )


def _objections(
    ledger: Ledger, command: commands.AdmitOperation, recorded: OperationRecord | None, now_ms: int
) -> Iterator[commands.AdmitOutcome]:
    """What speaks against the admission, in the order in which it counts."""
    bound = ledger.find_event(events.admission_id(command.initiator, command.nonce))
    if isinstance(bound, events.OperationAdmitted):
        if _identity(bound) != _identity(command):
            yield commands.Conflict(command.op_id, bound.intent_hash)
    elif ledger.stream_version(f"operation/{command.op_id}"):
        yield commands.Conflict(command.op_id, b"")  # another (initiator, nonce) has this op_id
    watermark_ms = _watermark(ledger)
    if now_ms >= command.valid_until_ms or command.valid_until_ms < watermark_ms:
        yield commands.Expired(command.op_id, max(now_ms, watermark_ms))
    standing = recorded if recorded is not None and recorded.state is not OperationState.RELEASED else None
    state = _key_state(ledger, command.key_id)
    wanted = KeyState.ACTIVE if command.kind is OperationKind.SIGN else None
    if standing is None and state is not wanted:
        yield commands.KeyUnavailable(command.key_id, state)
    for spend in command.spends:
        reserved = ledger.windows.reserved(command.key_id, spend.asset, spend.window_s, now_ms)
        reserved -= _own_part(ledger, standing, spend, now_ms) if standing is not None else 0
        if reserved + spend.amount > spend.window_cap:
            yield commands.LimitExceeded(command.op_id, spend.asset, spend.window_cap, reserved, spend.amount)


def _own_part(ledger: Ledger, standing: OperationRecord, spend: commands.Spend, now_ms: int) -> int:
    """What the window holds of the operation's own earlier reservation, which the new one replaces."""
    if standing.admitted_ms <= now_ms - 1000 * spend.window_s:
        return 0
    query = "SELECT amount FROM spends WHERE key_id = ? AND at_ms = ? AND op_id = ? AND asset = ?"
    place = (standing.key_id, standing.admitted_ms, standing.op_id, spend.asset)
    return sum(int.from_bytes(amount, "big") for (amount,) in ledger.connection.execute(query, place))


def _identity(bound: events.OperationAdmitted | commands.AdmitOperation) -> tuple[object, ...]:
    """What one operation never changes. The intent hash decides; the rest follows from it, unless somebody errs."""
    kind = bound.kind.value if isinstance(bound, commands.AdmitOperation) else bound.kind
    return bound.intent_hash, bound.op_id, kind, bound.tenant_id, bound.key_id, bound.valid_until_ms


def _refusal_name(refusal: commands.AdmitOutcome) -> str:
    names = {
        commands.Conflict: "refused-conflict",
        commands.Expired: "refused-expired",
        commands.LimitExceeded: "refused-limit",
        commands.KeyUnavailable: "refused-key",
    }
    return names[type(refusal)]


def mark_emitted(ledger: Ledger, command: commands.MarkEmitted) -> commands.Marked | commands.NotAdmitted:
    """Record that the last message has left."""
    now_ms = ledger.time_ms(command.now_ms)
    recorded = _find(ledger, command.op_id)
    if recorded is None or recorded.state is OperationState.RELEASED:
        ledger.refuse("refused-not-admitted", now_ms, Subject(command.op_id), "emitted")
        return commands.NotAdmitted(command.op_id)
    if recorded.state is OperationState.EMITTED:
        return commands.Marked(command.op_id, repeat=True)
    ledger.append(events.OperationEmitted(command.op_id), now_ms, _subject(recorded))
    return commands.Marked(command.op_id)


def release(ledger: Ledger, command: commands.ReleaseReservation) -> commands.Released | commands.NotReleasable:
    """Give back what the operation reserved, if its last message cannot have left and cannot leave any more."""
    now_ms = ledger.time_ms(command.now_ms)
    recorded = _find(ledger, command.op_id)
    if recorded is not None and recorded.state is OperationState.RELEASED:
        return commands.Released(command.op_id, repeat=True)
    ledger.touched.append(command.op_id)
    if recorded is None or recorded.state is OperationState.EMITTED or not ledger.emissions.withdraw(command.op_id):
        ledger.refuse("refused-release", now_ms, Subject(command.op_id) if recorded is None else _subject(recorded))
        return commands.NotReleasable(command.op_id)
    attempt = ledger.stream_version(f"operation/{command.op_id}") + 1
    ledger.append(events.OperationReleased(command.op_id, attempt), now_ms, _subject(recorded))
    ledger.windows.forget_key(recorded.key_id)
    return commands.Released(command.op_id)


def prune(ledger: Ledger, command: commands.PruneOperations) -> commands.Pruned:
    """Raise the watermark."""
    now_ms = ledger.time_ms(command.now_ms)
    standing_ms, wanted_ms = _watermark(ledger), min(command.before_ms, now_ms)
    if wanted_ms <= standing_ms:
        return commands.Pruned(standing_ms, repeat=True)
    ledger.append(events.OperationsPruned(wanted_ms), now_ms, Subject())
    return commands.Pruned(wanted_ms)


def record_denial(ledger: Ledger, command: commands.RecordDenial) -> commands.Recorded:
    """Leave the audit row."""
    detail = ": ".join(part for part in (command.code, command.rule, command.detail) if part)
    subject = Subject(command.op_id, command.key_id, command.initiator, command.tenant_id)
    ledger.refuse("denied", ledger.time_ms(command.now_ms), subject, detail)
    return commands.Recorded()


def _find(ledger: Ledger, op_id: str) -> OperationRecord | None:
    query = f"SELECT {OPERATION_COLUMNS} FROM operations WHERE op_id = ?"  # noqa: S608 - a constant of this module
    return next((operation_record(row) for row in ledger.connection.execute(query, (op_id,))), None)


def _subject(recorded: OperationRecord) -> Subject:
    return Subject(recorded.op_id, recorded.key_id, recorded.initiator, recorded.tenant_id)


def _key_state(ledger: Ledger, key_id: str) -> KeyState | None:
    rows = ledger.connection.execute("SELECT state FROM keys WHERE key_id = ?", (key_id,))
    return next((KeyState(state) for (state,) in rows), None)


def _watermark(ledger: Ledger) -> int:
    ((watermark_ms,),) = ledger.connection.execute("SELECT watermark_ms FROM projected WHERE id = 1")
    return int(watermark_ms)
