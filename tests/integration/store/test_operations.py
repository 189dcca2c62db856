"""The operation log: one intent per id for ever, limits that hold, reservations that are given back only when it is safe."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.ports import Claimed, StoreUnavailable
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import ASSET, NOW_MS, admission, make_key, open_store, prepared

HOUR_MS = 3_600_000


async def reserved(store: SqliteShareStore, now_ms: int = NOW_MS) -> int:
    return (await store.spending("key_1", ASSET, 3600, now_ms)).reserved


async def test_same_intent_again_is_a_repeat_without_a_second_reservation(store: SqliteShareStore) -> None:
    """A replaced quorum admits the same operation again and spends nothing twice."""
    await make_key(store)
    admit = admission(amount=400)
    assert await store.execute(admit) == c.Admitted(admit.op_id, c.OperationState.RESERVED)
    head = await store.head()
    assert await store.execute(admit) == c.Admitted(admit.op_id, c.OperationState.RESERVED, repeat=True)
    assert await reserved(store) == 400
    assert await store.head() == head


async def test_other_intent_under_the_same_nonce_is_a_conflict_for_ever(store: SqliteShareStore, path: Path) -> None:
    """(initiator, nonce) belongs to its first intent: at once, after a restart, and after it has been pruned."""
    await make_key(store)
    first = admission(nonce=bytes(32), intent=b"pay alice", amount=1)
    other = admission(nonce=bytes(32), intent=b"pay mallory", amount=1)
    assert isinstance(await store.execute(first), c.Admitted)
    assert await store.execute(other) == c.Conflict(other.op_id, first.intent_hash)
    await store.close()
    again = await open_store(path)
    assert await again.execute(other) == c.Conflict(other.op_id, first.intent_hash)
    later = NOW_MS + 48 * HOUR_MS
    assert isinstance(await again.execute(c.PruneOperations(later, later)), c.Pruned)
    assert await again.get_operation(first.op_id) is None
    revived = replace(other, now_ms=later, valid_until_ms=later + HOUR_MS)
    assert await again.execute(revived) == c.Conflict(other.op_id, first.intent_hash)
    await again.close()


async def test_same_nonce_of_another_initiator_is_another_operation(store: SqliteShareStore) -> None:
    """Initiators do not share a space of nonces."""
    await make_key(store)
    for number in range(2):
        admit = admission(nonce=bytes(32), intent=bytes([number]), initiator=bytes([number]) * 32)
        assert isinstance(await store.execute(admit), c.Admitted)


async def test_op_id_of_another_operation_is_a_conflict(store: SqliteShareStore) -> None:
    """Two operations cannot have one id, whoever made the hashes collide."""
    await make_key(store)
    first = admission()
    assert isinstance(await store.execute(first), c.Admitted)
    outcome = await store.execute(replace(admission(), op_id=first.op_id))
    assert isinstance(outcome, c.Conflict)


@pytest.mark.parametrize("change", [{"key_id": "key_2"}, {"tenant_id": "other"}, {"valid_until_ms": NOW_MS + 1}])
async def test_same_hash_with_other_terms_is_a_conflict(store: SqliteShareStore, change: dict[str, object]) -> None:
    """What follows from the intent cannot differ for one intent hash."""
    await make_key(store)
    first = admission()
    assert isinstance(await store.execute(first), c.Admitted)
    assert isinstance(await store.execute(replace(first, **change)), c.Conflict)


async def test_limit_counts_everything_in_the_window_and_nothing_else(store: SqliteShareStore) -> None:
    """Spends add up to exactly the cap; one more is refused and reserves nothing; after the window they are free again."""
    await make_key(store)
    assert isinstance(await store.execute(admission(amount=600)), c.Admitted)
    assert isinstance(await store.execute(admission(amount=400, now_ms=NOW_MS + 1000)), c.Admitted)
    over = admission(amount=1, now_ms=NOW_MS + 2000)
    assert await store.execute(over) == c.LimitExceeded(over.op_id, ASSET, 1000, 1000, 1)
    assert await store.get_operation(over.op_id) is None
    assert isinstance(await store.execute(admission(amount=600, now_ms=NOW_MS + HOUR_MS)), c.Admitted)
    assert isinstance(await store.execute(admission(amount=1, now_ms=NOW_MS + HOUR_MS)), c.LimitExceeded)
    assert await reserved(store, NOW_MS + HOUR_MS) == 1000


async def test_limit_survives_a_restart(store: SqliteShareStore, path: Path) -> None:
    """What is reserved is read back, not remembered."""
    await make_key(store)
    assert isinstance(await store.execute(admission(amount=1000)), c.Admitted)
    await store.close()
    again = await open_store(path)
    assert isinstance(await again.execute(admission(amount=1)), c.LimitExceeded)
    await again.close()


async def test_limits_of_different_assets_are_read_back_by_asset(store: SqliteShareStore, path: Path) -> None:
    """After a restart each asset's window holds its own spends only."""
    await make_key(store)
    await store.execute(admission(amount=900))
    await store.execute(admission(amount=50, asset="other"))
    await store.close()
    again = await open_store(path)
    outcome = await again.execute(admission(amount=101))
    assert isinstance(outcome, c.LimitExceeded)
    assert outcome.reserved == 900
    assert isinstance(await again.execute(admission(amount=950, asset="other")), c.Admitted)
    await again.close()


async def test_all_assets_are_reserved_or_none(store: SqliteShareStore) -> None:
    """If the second asset's limit is used up, the first one's is not touched."""
    await make_key(store)
    admit = replace(admission(), spends=(c.Spend("a", 10, 10, 60), c.Spend("b", 11, 10, 60)))
    assert isinstance(await store.execute(admit), c.LimitExceeded)
    assert (await store.spending("key_1", "a", 60, NOW_MS)).reserved == 0
    huge = replace(admission(), spends=(c.Spend("a", 2**256 - 1, 2**256 - 1, 60),))
    assert isinstance(await store.execute(huge), c.Admitted)
    assert (await store.spending("key_1", "a", 60, NOW_MS)).reserved == 2**256 - 1


async def test_expired_intents_are_refused_whatever_the_clock_says_later(store: SqliteShareStore, path: Path) -> None:
    """Expiry is judged by the highest time ever seen, which outlives a restart; a clock set back revives nothing."""
    await make_key(store)
    assert isinstance(await store.execute(admission(now_ms=NOW_MS + 2 * HOUR_MS)), c.Admitted)
    stale = admission(now_ms=NOW_MS)
    assert await store.execute(stale) == c.Expired(stale.op_id, NOW_MS + 2 * HOUR_MS)
    await store.close()
    again = await open_store(path)
    assert again.time_ms(NOW_MS) == NOW_MS + 2 * HOUR_MS
    assert isinstance(await again.execute(stale), c.Expired)
    edge = admission(now_ms=NOW_MS, valid_until_ms=NOW_MS + 2 * HOUR_MS)
    assert isinstance(await again.execute(edge), c.Expired)
    assert isinstance(await again.execute(replace(edge, valid_until_ms=NOW_MS + 2 * HOUR_MS + 1)), c.Admitted)
    await again.close()


async def test_denials_raise_the_high_water_mark_too(store: SqliteShareStore, path: Path) -> None:
    """Any row that was written holds the time, also one that says no."""
    await store.execute(c.RecordDenial("", "policy-denied", "asset", "", "", b"", NOW_MS + 5))
    await store.close()
    again = await open_store(path)
    assert again.time_ms(0) == NOW_MS + 5
    await again.close()


async def test_pruned_operations_stay_refused(store: SqliteShareStore) -> None:
    """Ids older than the watermark are refused, and only then forgotten; the watermark never runs ahead of the clock."""
    await make_key(store)
    old = admission(amount=10, valid_until_ms=NOW_MS + 10)
    assert isinstance(await store.execute(old), c.Admitted)
    assert await store.execute(c.PruneOperations(2 * NOW_MS, NOW_MS + 20)) == c.Pruned(NOW_MS + 20)
    assert await store.execute(c.PruneOperations(NOW_MS, NOW_MS + 20)) == c.Pruned(NOW_MS + 20, repeat=True)
    assert await store.get_operation(old.op_id) is None
    assert isinstance(await store.execute(old), c.Expired)
    assert await reserved(store, NOW_MS + 20) == 10


@pytest.mark.parametrize("state", ["unknown", "prepared", "deleted"])
async def test_only_active_keys_sign(store: SqliteShareStore, state: str) -> None:
    """No operation is admitted for a key that is unknown, not yet certified, or deleted."""
    if state == "prepared":
        create = admission(kind=c.OperationKind.CREATE_KEY)
        await store.execute(create)
        await store.execute(prepared(create.op_id))
    if state == "deleted":
        await store.execute(c.DeleteShares(await make_key(store), "key_1", 1, NOW_MS))
    expected = None if state == "unknown" else c.KeyState(state)
    assert await store.execute(admission()) == c.KeyUnavailable("key_1", expected)


async def test_existing_key_is_not_created_again(store: SqliteShareStore) -> None:
    """A key id is used once, also after the key was deleted."""
    op_id = await make_key(store)
    create = admission(kind=c.OperationKind.CREATE_KEY)
    assert await store.execute(create) == c.KeyUnavailable("key_1", c.KeyState.ACTIVE)
    await store.execute(c.DeleteShares(op_id, "key_1", 1, NOW_MS))
    assert await store.execute(create) == c.KeyUnavailable("key_1", c.KeyState.DELETED)


async def test_every_refusal_leaves_an_audit_row_and_no_event(store: SqliteShareStore) -> None:
    """A denial is on record, and nothing else has changed."""
    await make_key(store)
    taken = admission(nonce=bytes(32), intent=b"first", amount=1000)
    await store.execute(taken)
    head, rows = await store.head(), len(await store.audit())
    refused = [
        admission(nonce=bytes(32), intent=b"second"),
        admission(valid_until_ms=NOW_MS),
        admission(amount=1),
        admission("key_9"),
    ]
    for command in refused:
        await store.execute(command)
    await store.execute(c.ReleaseReservation("op_none", NOW_MS))
    await store.execute(c.MarkEmitted("op_none", NOW_MS))
    added = (await store.audit())[rows:]
    assert [row.action for row in added] == [
        "refused-conflict",
        "refused-expired",
        "refused-limit",
        "refused-key",
        "refused-release",
        "refused-not-admitted",
    ]
    assert all(row.event_hash == b"" for row in added)
    assert await store.head() == head


async def test_release_gives_back_and_a_second_attempt_reserves_again(store: SqliteShareStore) -> None:
    """An operation that ended before its last message costs nothing, and may be tried again within the limit."""
    await make_key(store)
    admit = admission(amount=900)
    await store.execute(admit)
    assert await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.Released(admit.op_id)
    assert await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.Released(admit.op_id, repeat=True)
    assert await reserved(store) == 0
    other = admission(amount=200)
    assert isinstance(await store.execute(other), c.Admitted)
    assert isinstance(await store.execute(admit), c.LimitExceeded)
    assert isinstance(await store.execute(c.ReleaseReservation(other.op_id, NOW_MS)), c.Released)
    assert await store.execute(admit) == c.Admitted(admit.op_id, c.OperationState.RESERVED)
    assert await reserved(store) == 900
    record = await store.get_operation(admit.op_id)
    assert record is not None
    assert record.state is c.OperationState.RESERVED


async def test_emission_ends_the_right_to_release(store: SqliteShareStore) -> None:
    """Once the last message was allowed to leave, the reservation stands, recorded as emitted or not."""
    await make_key(store)
    admit = admission(amount=10)
    await store.execute(admit)
    assert store.claim_emission(admit.op_id, NOW_MS) == Claimed(admit.op_id)
    assert store.claim_emission(admit.op_id, NOW_MS) == Claimed(admit.op_id)
    assert await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.NotReleasable(admit.op_id)
    assert await store.execute(c.MarkEmitted(admit.op_id, NOW_MS)) == c.Marked(admit.op_id)
    assert await store.execute(c.MarkEmitted(admit.op_id, NOW_MS)) == c.Marked(admit.op_id, repeat=True)
    assert await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.NotReleasable(admit.op_id)
    assert (await store.execute(admit)) == c.Admitted(admit.op_id, c.OperationState.EMITTED, repeat=True)
    assert await reserved(store) == 10


async def test_released_operation_may_not_emit(store: SqliteShareStore) -> None:
    """The other order: after the release the last message stays here, until the operation is admitted anew."""
    await make_key(store)
    admit = admission(amount=10)
    await store.execute(admit)
    await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS))
    assert store.claim_emission(admit.op_id, NOW_MS) == c.NotAdmitted(admit.op_id)
    assert await store.execute(c.MarkEmitted(admit.op_id, NOW_MS)) == c.NotAdmitted(admit.op_id)
    await store.execute(admit)
    assert store.claim_emission(admit.op_id, NOW_MS) == Claimed(admit.op_id)


async def test_emission_is_refused_after_the_validity_has_ended(store: SqliteShareStore) -> None:
    """A session that took too long does not send its last message; the mark makes that final."""
    await make_key(store)
    admit = admission(amount=10, valid_until_ms=NOW_MS + 100)
    await store.execute(admit)
    assert store.claim_emission(admit.op_id, NOW_MS + 100) == c.Expired(admit.op_id, NOW_MS + 100)
    assert store.claim_emission(admit.op_id, NOW_MS) == c.Expired(admit.op_id, NOW_MS + 100)
    assert isinstance(await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS + 100)), c.Released)


async def test_crash_never_leads_to_a_release(store: SqliteShareStore, path: Path) -> None:
    """What an earlier process admitted may have been emitted by it: it is never released, and may be run again."""
    await make_key(store)
    admit = admission(amount=10)
    await store.execute(admit)
    await store.close()
    again = await open_store(path)
    assert again.claim_emission(admit.op_id, NOW_MS) == c.NotAdmitted(admit.op_id)
    assert await again.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.NotReleasable(admit.op_id)
    assert await again.execute(admit) == c.Admitted(admit.op_id, c.OperationState.RESERVED, repeat=True)
    assert await again.execute(c.ReleaseReservation(admit.op_id, NOW_MS)) == c.NotReleasable(admit.op_id)
    assert again.claim_emission(admit.op_id, NOW_MS) == Claimed(admit.op_id)
    assert await reserved(again) == 10
    await again.close()


async def test_unadmitted_operation_may_not_emit(store: SqliteShareStore) -> None:
    """No admission, no last message."""
    assert store.claim_emission("op_none", NOW_MS) == c.NotAdmitted("op_none")


async def test_admission_costs_one_commit(store: SqliteShareStore) -> None:
    """Emission writes nothing: the way that leads to a signature is one event, one audit row, one fsync."""
    await make_key(store)
    head = await store.head()
    admit = admission(amount=10)
    await store.execute(admit)
    store.claim_emission(admit.op_id, NOW_MS)
    assert (await store.head()).seq == head.seq + 1


async def test_closed_store_refuses(store: SqliteShareStore) -> None:
    """After closing nothing is accepted, read or emitted, and what was accepted before is done."""
    await make_key(store)
    admit = admission()
    pending = asyncio.create_task(store.execute(admit))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert isinstance(await pending, c.Admitted)
    assert not store.healthy
    for call in (store.execute(admission()), store.get_key("key_1")):
        with pytest.raises(StoreUnavailable):
            await call
    assert store.claim_emission(admit.op_id, NOW_MS) == c.NotAdmitted(admit.op_id)


async def test_cancelled_caller_hurts_nobody(store: SqliteShareStore) -> None:
    """A caller that gives up may find its command applied by reading the op id; others are served."""
    await make_key(store)
    admit = admission()
    task = asyncio.create_task(store.execute(admit))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await store.execute(admission()), c.Admitted)
    assert await store.get_operation(admit.op_id) is not None
